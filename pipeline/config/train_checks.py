"""What the types alone cannot say of the section train: whether it fits the task and the other sections."""

from __future__ import annotations

from collections.abc import Iterator

from components.evaluate.metrics import metric_info
from components.ingest.config import IngestConfig
from components.models.config import ModelConfig
from components.strict import Task
from components.train.config import TrainConfig
from components.train.monitor import is_measured, monitors
from pipeline.config.problems import Problem, quoted


def check_train(task: Task, train: TrainConfig) -> Iterator[Problem]:
    """Yields what does not fit the task."""
    if task == "classification" and train.teacher_forcing_ratio != 1.0:
        yield Problem(
            ("train", "teacher_forcing_ratio"),
            "classification has no decoder to teach; remove it, or set task to seq2seq",
        )

    if is_measured(train) and task not in metric_info(train.monitored).tasks:
        message = f"'{train.monitored}' does not fit {task}; expected {quoted(monitors(task))}"
        yield Problem(("train", "monitor"), message)


def check_validation(ingest: IngestConfig, train: TrainConfig) -> Iterator[Problem]:
    """Yields what needs a validation split, where there is none."""
    files = ingest.files if isinstance(ingest.files, dict) else {}
    if "validation" in {*files, *ingest.holdout}:
        return
    advice = "name files for validation in ingest.files, or give it a fraction in ingest.holdout"
    if is_measured(train):
        received = f"received '{train.monitored}', which is measured on the validation split"
        yield Problem(("train", "monitor"), f"{received}, but there is none; {advice}")
    elif train.validation_steps:
        received = f"received steps {train.validation_steps} without a validation split"
        yield Problem(("train", "validate_every"), f"{received}; {advice}")


def check_readout(model: ModelConfig, train: TrainConfig) -> Iterator[Problem]:
    """Yields what has no meaning for a readout in closed form."""
    if model.readout is None:
        return
    for key in ("monitor", "validate_every", "precision"):
        if getattr(train, key) != TrainConfig.model_fields[key].default:
            message = f"has no effect on a readout of type {model.readout.type}, which is solved; remove it"
            yield Problem(("train", key), message)
