"""The accuracy that is watched while a model is trained."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="rnnpipe")
class Accuracy(keras.metrics.SparseCategoricalAccuracy):
    """The share of right answers among the targets with a weight above 0, whatever their weights."""

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Counts a batch.

        Args:
            y_true: integers [...].
            y_pred: logits [..., V].
            sample_weight: weights [...]; None: all targets count.
        """
        counted = None if sample_weight is None else ops.cast(ops.greater(sample_weight, 0), "float32")
        super().update_state(y_true, y_pred, counted)
