"""Configuration of the train stage."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from components.strict import Strict

Positive = Annotated[float, Field(gt=0)]
Momentum = Annotated[float, Field(ge=0, lt=1)]
Chance = Annotated[float, Field(ge=0, le=1)]


class Adam(Strict):
    """Kingma and Ba (2015)."""

    type: Literal["adam"]
    learning_rate: Positive = 0.001
    """Step size."""


class SGD(Strict):
    """Stochastic gradient descent."""

    type: Literal["sgd"]
    learning_rate: Positive = 0.01
    """Step size."""
    momentum: Momentum = 0.0
    """How much of the last step is kept in the next."""
    nesterov: bool = False
    """Nesterov's momentum instead of the plain one."""


class RMSprop(Strict):
    """Tieleman and Hinton (2012)."""

    type: Literal["rmsprop"]
    learning_rate: Positive = 0.001
    """Step size."""
    momentum: Momentum = 0.0
    """How much of the last step is kept in the next."""


Optimizer = Annotated[Adam | SGD | RMSprop, Field(discriminator="type")]


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
    """Ends training when the validation loss no longer falls, and keeps the best epoch's weights."""

    patience: Annotated[int, Field(ge=1)] = 2
    """Epochs without improvement before training ends."""
    min_delta: Annotated[float, Field(ge=0)] = 0.0
    """Smaller improvements do not count."""


class TrainConfig(Strict):
    """How the model is fitted."""

    renamed: ClassVar = {
        "schedule": "learning_rate_schedule",
        "clip_norm": "global_clipnorm",
        "teacher_forcing": "teacher_forcing_ratio",
        "buckets": "length_buckets",
    }

    epochs: Annotated[int, Field(ge=1)] = 10
    """How often every example is seen, at most."""
    batch_size: Annotated[int, Field(ge=1)] = 64
    """Examples in one step."""
    optimizer: Optimizer = Adam(type="adam")
    """How the weights follow the gradient."""
    learning_rate_schedule: Literal["constant", "cosine"] = "constant"
    """`cosine` lets the learning rate fall to 0 over all epochs (Loshchilov and Hutter, 2017)."""
    global_clipnorm: Positive | None = 1.0
    """Largest global norm of the gradient; larger ones are scaled down to it."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Part of the probability that the training loss expects spread evenly over all tokens or labels (Szegedy
    et al., 2016). The validation loss is without it."""
    teacher_forcing_ratio: Chance | ScheduledSampling = 1.0
    """seq2seq: probability that the decoder reads the true previous token in training; the model's best one
    otherwise, which makes training slower. A section lets it change from step to step."""
    early_stopping: EarlyStopping | None = None
    """Without it every epoch is trained and the last one's weights are kept."""
    shuffle_buffer: Annotated[int, Field(ge=1)] = 100_000
    """How many examples are held in memory to be shuffled."""
    init_from: Annotated[str, Field(min_length=1)] | None = None
    """Warm start: the model whose weights and vocabularies training starts from, a run's id or the directory
    of a served model. Optimizer and schedule are fresh; tokens and labels that it lacks get new rows."""
    length_buckets: Annotated[int, Field(ge=1)] = 8
    """Examples are batched with others of about their length, in this many classes."""
