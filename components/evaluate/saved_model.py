"""A model that was exported before, to be measured beside others."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from components.export.plain_path import plain_path


class SavedModelAnswers:
    """Answers as a SavedModel does.

    Args:
        directory: the SavedModel.
    """

    signatures: Mapping[str, Any] = {}

    def __init__(self, directory: str) -> None:
        import tensorflow as tf
        import tensorflow_text  # noqa: F401 (its operations are in the model)

        with plain_path(directory) as path:
            self._loaded = tf.saved_model.load(path)  # what it holds goes with it
        self._answer = self._loaded.signatures["serving_default"]

    @cached_property
    def labels(self) -> list[str]:
        """The label of each class, as the model itself says it; none if it is no classifier."""
        import tensorflow as tf

        if "classify" not in self._loaded.signatures:
            return []
        feature = tf.train.Feature(bytes_list=tf.train.BytesList(value=[b""]))
        example = tf.train.Example(features=tf.train.Features(feature={"text": feature}))
        answered = self._loaded.signatures["classify"](inputs=tf.constant([example.SerializeToString()]))
        return [label.decode("utf-8", errors="replace") for label in answered["classes"].numpy()[0]]

    def __call__(self, text: Any) -> Any:
        """Answers a batch of texts."""
        return self._answer(text=text)
