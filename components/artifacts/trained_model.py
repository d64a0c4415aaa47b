"""The train stage's artifact: the fitted model, and how it got there."""

from __future__ import annotations

from typing import ClassVar

from components.artifacts.artifact import Artifact


class TrainedModel(Artifact):
    """The Keras model, the history of its training, and the last checkpoint."""

    stage = "train"
    parts: ClassVar = {"model": ("model.keras",), "history": ("history.json",), "checkpoint": ("checkpoint",)}
