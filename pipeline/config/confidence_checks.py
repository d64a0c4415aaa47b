"""What the types alone cannot say of calibration: whether it fits the task and the splits."""

from __future__ import annotations

from collections.abc import Iterator

from components.evaluate.config import EvaluateConfig
from components.ingest.config import IngestConfig
from components.strict import Task
from pipeline.config.problems import Problem, shown
from pipeline.config.train_checks import VALIDATION_ADVICE, has_validation


def check_confidence(task: Task, evaluate: EvaluateConfig) -> Iterator[Problem]:
    """Yields what does not fit the task, and bounds on what is measured without calibration."""
    if task != "classification":
        for key in ("calibrate", "target_accuracy"):
            value = getattr(evaluate, key)
            if value is not None:
                message = f"received {shown(value)}, but the score of a {task} answer is no probability"
                yield Problem(("evaluate", key), f"{message} of a label; remove it")
    threshold = evaluate.thresholds.get("calibration_error")
    if evaluate.calibrate and threshold and threshold.max_forgetting is not None:
        yield Problem(
            ("evaluate", "bless", "calibration_error"),
            "has a max_forgetting, but on the initial model's test set both models are measured without "
            "calibration; remove it, or remove evaluate.calibrate",
        )


def check_calibration_split(ingest: IngestConfig, evaluate: EvaluateConfig) -> Iterator[Problem]:
    """Yields why nothing can be fitted, where there is no validation split."""
    if evaluate.calibrate and not has_validation(ingest):
        received = f"received '{evaluate.calibrate}', which is fitted to the validation split"
        yield Problem(("evaluate", "calibrate"), f"{received}, but there is none; {VALIDATION_ADVICE}")
