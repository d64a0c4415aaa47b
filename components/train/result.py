"""What a training gives, however it was done."""

from __future__ import annotations

from typing import Any

import keras

from components.artifacts.artifact import FileRef
from components.artifacts.trained_model import CURVES, weights_digest, write_history, write_model
from components.train.curves import NO_METRICS, training_curves
from components.work import Attempt, Made


def result(
    attempt: Attempt,
    model: keras.Model,
    history: dict[str, Any],
    kept: int,
    vocabulary: str,
    checkpoint: FileRef | None = None,
    kept_step: int | None = None,
    **summary: Any,
) -> Made:
    """Writes a fitted model, its history and pictures of it.

    Args:
        attempt: whose files they are.
        model: the fitted one.
        history: as `TrainedModel.history` returns it.
        kept: the epoch, from 1, whose weights the model has.
        vocabulary: digest of that part of the tokenize artifact.
        checkpoint: the last one, if there is one.
        kept_step: the training step after which the model had these weights; None: the end of the epoch.
        summary: what else is to be known.
    """
    shown = ("best_epoch", "best_step", "validations", "steps_per_epoch")
    settings = {name: history[name] for name in shown if name in history}
    training_curves(history["epochs"], attempt.path(CURVES), **settings)
    made = [write_model(attempt, model), write_history(attempt, history), attempt.add(CURVES)]
    if checkpoint is not None:
        made.append(checkpoint)
    figures = history["epochs"][kept - 1]
    if kept_step is not None:
        figures = next(validation for validation in history["validations"] if validation["step"] == kept_step)
        summary["kept_step"] = kept_step
    metrics = {name: value for name, value in figures.items() if name not in NO_METRICS}
    return Made(
        tuple(made),
        {
            "epochs": len(history["epochs"]),
            "kept_epoch": kept,
            "parameters": int(model.count_params()),
            **summary,
            **metrics,
            "weights": weights_digest(model, vocabulary),
        },
    )
