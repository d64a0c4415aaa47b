"""Configuration of the train stage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from components.evaluate.config import Metric
from components.plugins import is_reference
from components.strict import Strict
from components.train.loss_config import ClassWeight, CrossEntropyLoss, FocalLoss, LossField
from components.train.optimizer_config import Adam, Optimizer, Positive
from components.train.resources import Resources
from components.train.schedule_config import Cosine, ScheduleField

MOST_EPOCHS = 10  # where nothing is said of them
Chance = Annotated[float, Field(ge=0, le=1)]


class ScheduledSampling(Strict):
    """Less and less teacher forcing: the model learns to go on from its mistakes (Bengio et al., 2015)."""

    start: Chance = 1.0
    """Probability of the true token at the first training step."""
    end: Chance = 0.75
    """The same at the last one; the model's best token is read otherwise."""
    schedule: Literal["linear", "exponential", "inverse_sigmoid"] = "linear"
    """How it goes from start to end: in a straight line; by the same factor at every step; or along an S,
    slowly at both ends."""

    @model_validator(mode="after")
    def _exponential_has_a_factor(self) -> ScheduledSampling:
        if self.schedule == "exponential" and not (self.start and self.end):
            raise ValueError(
                f"schedule received 'exponential' from {self.start} to {self.end}, expected start and end "
                "above 0"
            )
        return self


class EarlyStopping(Strict):
    """Ends training when the monitored value no longer improves, and keeps the best checkpoint's weights."""

    patience: Annotated[int, Field(ge=1)] = 2
    """Validations without improvement before training ends."""
    min_delta: Annotated[float, Field(ge=0)] = 0.0
    """Smaller improvements, in the unit of the monitored value, do not count, and do not change which weights
    are kept."""


class EverySteps(Strict):
    """Validates within epochs, too."""

    steps: Annotated[int, Field(ge=1)]
    """Training steps from one validation to the next, counted from the start of the training."""


class TrainConfig(Strict):
    """How the model is fitted."""

    renamed: ClassVar[Mapping[str, str]] = {
        "schedule": "learning_rate_schedule",
        "clip_norm": "global_clipnorm",
        "teacher_forcing": "teacher_forcing_ratio",
        "buckets": "length_buckets",
    }

    epochs: Annotated[int, Field(ge=1)] | None = None
    """How often every example is seen, at most. With `null` 10; in classification as many as read five
    million tokens together, from 4 to 10: over more of them much text is learnt by heart before the cosine
    has lowered the learning rate."""
    batch_size: Annotated[int, Field(ge=1)] = 64
    """Examples in one step."""
    optimizer: Optimizer = Adam(type="adam", learning_rate=0.003)
    """How the weights follow the gradient. The default has three times Keras' learning rate, as `cosine`
    lowers it; a section that is written has Keras' defaults."""
    learning_rate_schedule: ScheduleField = Field(Cosine(type="cosine"))
    """How the learning rate changes from step to step: a word, or a section of that type with its keys.
    `cosine` and `linear` span all epochs: with more epochs training starts again, from the first; with the
    others it goes on from the last checkpoint."""
    global_clipnorm: Positive | None = 1.0
    """Largest global norm of the gradient; larger ones are scaled down to it."""
    loss: LossField = Field(CrossEntropyLoss(type="cross_entropy"))
    """What training makes smaller: a word, or a section of that type with its keys. The validation loss is
    the cross-entropy with both, so that their models can be compared."""
    class_weight: ClassWeight | None = None
    """classification: how much the examples of a label count in the training loss, a weighted mean.
    `balanced`: in inverse proportion to how many there are, n / (labels * count), as in scikit-learn. Or
    weights by label; labels that are not named count 1. Validation loss and metrics are without them."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Part of the probability that the training loss expects spread evenly over all tokens or labels (Szegedy
    et al., 2016). The validation loss is without it."""
    teacher_forcing_ratio: Chance | ScheduledSampling = 1.0
    """seq2seq: probability that the decoder reads the true previous token in training; the model's best one
    otherwise, which makes training slower. A section lets it change from step to step."""
    validate_every: Literal["epoch"] | EverySteps = "epoch"
    """When the model is validated and a checkpoint kept: at the end of every epoch, or, with a section such
    as `{steps: 500}`, every so many training steps as well."""
    monitor: Literal["loss"] | Metric | None = None
    """What checkpoints are compared by, on the validation split: `loss`, or a metric of
    evaluate for the task, measured on the raw texts as evaluate does it (seq2seq: by greedy decoding, with
    `decode`'s lengths, prefix and no_repeat_ngram_size). If it is set, the weights of the best checkpoint are
    kept, of equally good ones the first's, as by Keras' ModelCheckpoint with save_best_only. If not, `loss`
    is what early_stopping and the schedule `plateau` go by, and the last weights are kept unless
    early_stopping is set."""
    early_stopping: EarlyStopping | None = None
    """With it the best checkpoint's weights are kept, as by Keras' EarlyStopping with restore_best_weights;
    with `null` every epoch is trained. Left out it is `{patience: 3}`, but for validation within epochs, a
    schedule `plateau` that waits as long, and a readout in closed form, where it is `null`."""
    shuffle_buffer: Annotated[int, Field(ge=1)] = 100_000
    """How many examples are held in memory to be shuffled."""
    init_from: Annotated[str, Field(min_length=1)] | None = None
    """Warm start: the model whose weights and vocabularies training starts from, a run's id or the directory
    of a served model. Optimizer and schedule are fresh; tokens and labels that it lacks get new rows."""
    length_buckets: Annotated[int, Field(ge=1)] = 8
    """Examples are batched with others of about their length, in this many classes."""
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = "float32"
    """Keras' dtype policy: what the layers compute in. Weights and answers are float32 with all of them;
    mixed_float16 scales the loss so that small gradients do not vanish (Micikevicius et al., 2018)."""
    deterministic: bool = True
    """Whether equal trainings give equal weights, to the bit, on the same hardware. On a GPU false is faster;
    a training that was cut short and continued then differs a little from one that was not."""
    devices: Annotated[int, Field(ge=1)] | Literal["all"] = 1
    """GPUs of the worker that share out the examples of every step, by tf.distribute.MirroredStrategy. The
    result is that of one up to rounding, but for what is drawn at random in training, such as dropout."""
    resources: Resources | None = None
    """What the machine that trains must have, where the engine can choose one: Beam's resource hints. They
    shape no key: on another machine nothing is trained again."""

    @model_validator(mode="after")
    def _plateau_comes_before_the_end(self) -> TrainConfig:
        schedule, stopping = self.learning_rate_schedule, self.early_stopping
        if schedule.type == "plateau" and stopping and stopping.patience <= schedule.patience:
            raise ValueError(
                f"early_stopping received patience {stopping.patience}, by which training ends before the "
                f"schedule plateau (patience {schedule.patience}) has reduced the learning rate; expected "
                "more"
            )
        return self

    @model_validator(mode="after")
    def _focal_loss_is_not_smoothed(self) -> TrainConfig:
        if self.label_smoothing and isinstance(self.loss, FocalLoss):
            raise ValueError(
                f"label_smoothing received {self.label_smoothing} for a focal loss, which is defined for one "
                "target only; expected 0, or loss cross_entropy"
            )
        return self

    @property
    def monitored(self) -> str:
        """What checkpoints are compared by."""
        return self.monitor or "loss"

    @property
    def own_references(self) -> tuple[str, ...]:
        """The monitored metric, if it is in a module of the user's."""
        return (self.monitored,) if is_reference(self.monitored) else ()

    @property
    def keeps_best(self) -> bool:
        """Whether the best checkpoint's weights are kept, and not the last one's."""
        return self.monitor is not None or self.early_stopping is not None

    @property
    def validation_steps(self) -> int | None:
        """Training steps from one validation within epochs to the next; None where there are none."""
        return self.validate_every.steps if isinstance(self.validate_every, EverySteps) else None

    @property
    def most_epochs(self) -> int:
        """The most epochs that it may take, also where their number is not settled."""
        return self.epochs or MOST_EPOCHS

    @property
    def spans_epochs(self) -> str:
        """What of this runs over all epochs, so that more of them train from the start; empty if nothing."""
        if self.learning_rate_schedule.type in ("cosine", "linear"):
            return (
                f"train.learning_rate_schedule is {self.learning_rate_schedule.type}, which spans all epochs"
            )
        if isinstance(self.teacher_forcing_ratio, ScheduledSampling):
            return "train.teacher_forcing_ratio has a schedule, which spans all epochs"
        return ""
