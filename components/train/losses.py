"""The training loss."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from components.train.config import TrainConfig
from components.train.loss_config import FocalLoss


def training_loss(config: TrainConfig) -> CrossEntropy:
    """Makes the loss that a configuration names."""
    if isinstance(config.loss, FocalLoss):
        return FocalCrossEntropy(config.loss.gamma)
    return CrossEntropy(config.label_smoothing)


@keras.saving.register_keras_serializable(package="rnnpipe")
class CrossEntropy(keras.losses.Loss):
    """Cross-entropy of integer targets and logits, with label smoothing (Szegedy et al., 2016, section 7).

    With smoothing e the expected probabilities of V classes are e / V each, and 1 - e more for the target.
    The loss of a batch is the weighted mean over its targets, 0 if all weights are.

    Args:
        label_smoothing: e, in [0, 1).
    """

    def __init__(self, label_smoothing: float = 0.0) -> None:
        super().__init__(name="cross_entropy", reduction="mean_with_sample_weight")
        self.label_smoothing = label_smoothing
        # A variable, because graphs keep the values of Python.
        self._smoothing = tf.Variable(label_smoothing, trainable=False, dtype="float32", name="smoothing")

    def call(self, targets: Any, logits: Any) -> Any:
        """Returns the loss of each target.

        Args:
            targets: integers [...].
            logits: [..., V].
        """
        losses = keras.losses.sparse_categorical_crossentropy(targets, logits, from_logits=True)
        if not self.label_smoothing:
            return losses
        evenly = ops.logsumexp(logits, axis=-1) - ops.mean(logits, axis=-1)
        return losses + self._smoothing * (evenly - losses)

    @contextmanager
    def plain(self) -> Iterator[None]:
        """Is the plain cross-entropy in the meantime, which models with any loss can be compared by."""
        self._smoothing.assign(0.0)
        try:
            yield
        finally:
            self._smoothing.assign(self.label_smoothing)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {"label_smoothing": self.label_smoothing}


@keras.saving.register_keras_serializable(package="rnnpipe")
class FocalCrossEntropy(CrossEntropy):
    """The focal loss of integer targets and logits (Lin et al., 2017, section 3.2).

    With the probability p of the target it is `-(1 - p) ** gamma * log(p)`: the better a target is answered,
    the less it counts. The weights alpha of the labels are those of the examples: `train.class_weight`.

    Args:
        gamma: at least 0, where it is the cross-entropy.
    """

    def __init__(self, gamma: float = 2.0) -> None:
        super().__init__()
        self.gamma = gamma
        self._focus = tf.Variable(gamma, trainable=False, dtype="float32", name="focus")

    def call(self, targets: Any, logits: Any) -> Any:
        """Returns the loss of each target; see CrossEntropy."""
        losses = super().call(targets, logits)
        # -expm1(-loss) is 1 - p without cancellation; the least keeps the gradient of a power below 1 finite.
        missed = ops.maximum(-ops.expm1(-losses), keras.config.epsilon())
        return missed**self._focus * losses

    @contextmanager
    def plain(self) -> Iterator[None]:
        """See CrossEntropy."""
        self._focus.assign(0.0)
        try:
            yield
        finally:
            self._focus.assign(self.gamma)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {"gamma": self.gamma}
