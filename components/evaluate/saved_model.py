"""A model that was exported before, to be measured beside the one of this run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from components.artifacts.artifact import Reference
from components.models.decode import DecodeConfig
from components.strict import Task


class SavedModelAnswers:
    """Answers as a SavedModel does.

    Args:
        directory: the SavedModel.
    """

    signatures: Mapping[str, Any] = {}

    def __init__(self, directory: str) -> None:
        import tensorflow as tf
        import tensorflow_text  # noqa: F401 (its operations are in the model)

        self._loaded = tf.saved_model.load(directory)  # what it holds goes with it
        self._answer = self._loaded.signatures["serving_default"]

    def __call__(self, text: Any) -> Any:
        """Answers a batch of texts."""
        return self._answer(text=text)


@dataclass(frozen=True)
class LoadSavedModel:
    """Loads a SavedModel in place of what the run has trained.

    Args:
        directory: the SavedModel, on the machine that measures it.
    """

    directory: str

    def __call__(
        self, inputs: Mapping[str, Reference], task: Task, decode: DecodeConfig | None
    ) -> SavedModelAnswers:
        """Loads it; it has its own tokenizer and decoder."""
        return SavedModelAnswers(self.directory)
