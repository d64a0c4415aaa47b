"""What the types alone cannot say of the section train: whether it fits the task and the other sections."""

from __future__ import annotations

from collections.abc import Iterator

from components.evaluate.metrics import metric_info
from components.ingest.config import IngestConfig
from components.models.config import ModelConfig
from components.models.pooling import HardSelectionConfig
from components.strict import Task
from components.train.config import TrainConfig
from components.train.monitor import is_measured, monitors
from pipeline.config.problems import Problem, quoted, shown
from pipeline.config.sweep import SweepConfig

VALIDATION_ADVICE = "name files for validation in ingest.files, or give it a fraction in ingest.holdout"


def check_train(task: Task, train: TrainConfig) -> Iterator[Problem]:
    """Yields what does not fit the task."""
    if task == "classification" and train.teacher_forcing_ratio != 1.0:
        yield Problem(
            ("train", "teacher_forcing_ratio"),
            "classification has no decoder to teach; remove it, or set task to seq2seq",
        )
    if task == "seq2seq" and train.class_weight is not None:
        message = "seq2seq has no labels to weigh; remove it, or set task to classification"
        yield Problem(("train", "class_weight"), message)
    if is_measured(train) and task not in metric_info(train.monitored).tasks:
        message = f"'{train.monitored}' does not fit {task}; expected {quoted(monitors(task))}"
        yield Problem(("train", "monitor"), message)


def check_validation(ingest: IngestConfig, train: TrainConfig) -> Iterator[Problem]:
    """Yields what needs a validation split, where there is none."""
    if has_validation(ingest):
        return
    if is_measured(train):
        received = f"received '{train.monitored}', which is measured on the validation split"
        yield Problem(("train", "monitor"), f"{received}, but there is none; {VALIDATION_ADVICE}")
    elif train.validation_steps:
        received = f"received steps {train.validation_steps} without a validation split"
        yield Problem(("train", "validate_every"), f"{received}; {VALIDATION_ADVICE}")


def check_sweep(ingest: IngestConfig, train: TrainConfig, sweep: SweepConfig | None) -> Iterator[Problem]:
    """Yields why the trials of a sweep cannot be compared."""
    if sweep is None:
        return
    if not has_validation(ingest):
        received = "ranks trials on the validation split, but there is none"
        yield Problem(("sweep",), f"{received}; {VALIDATION_ADVICE}")
    if train.init_from is not None:
        message = "does not go with a sweep, whose trials start from drawn weights; remove one of them"
        yield Problem(("train", "init_from"), message)


def has_validation(ingest: IngestConfig) -> bool:
    """Whether the configuration gives validation any records."""
    files = ingest.files if isinstance(ingest.files, dict) else {}
    return "validation" in {*files, *ingest.holdout}


def check_readout(model: ModelConfig, train: TrainConfig) -> Iterator[Problem]:
    """Yields what has no meaning for a readout in closed form."""
    if model.readout is None:
        return
    for key in ("loss", "validate_every", "precision", "devices"):
        if getattr(train, key) != TrainConfig.model_fields[key].default:
            message = f"has no effect on a readout of type {model.readout.type}, which is solved; remove it"
            yield Problem(("train", key), message)


def check_devices(model: ModelConfig, train: TrainConfig) -> Iterator[Problem]:
    """Yields what cannot be shared out to several devices."""
    if train.devices == 1:
        return
    for key in ("attention", "pooling"):
        selection = getattr(model, key)
        if isinstance(selection, HardSelectionConfig) and selection.estimator == "reinforce":
            yield Problem(
                ("train", "devices"),
                f"received {shown(train.devices)} for a hard model.{key} that is trained by reinforce, whose "
                f"baseline is a mean over whole batches, expected 1; remove it, or set model.{key}.estimator "
                "to straight_through",
            )
