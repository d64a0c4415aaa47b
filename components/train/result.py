"""What a training gives, however it was done."""

from __future__ import annotations

from typing import Any

import keras

from components.artifacts.artifact import FileRef
from components.artifacts.trained_model import CURVES, weights_digest, write_history, write_model
from components.train.curves import training_curves
from components.work import Attempt, Made


def result(
    attempt: Attempt,
    model: keras.Model,
    history: dict[str, Any],
    kept: int,
    vocabulary: str,
    checkpoint: FileRef | None = None,
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
        summary: what else is to be known.
    """
    training_curves(history["epochs"], attempt.path(CURVES), history["best_epoch"])
    made = [write_model(attempt, model), write_history(attempt, history), attempt.add(CURVES)]
    if checkpoint is not None:
        made.append(checkpoint)
    metrics = {
        name: value for name, value in history["epochs"][kept - 1].items() if name not in ("epoch", "seconds")
    }
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
