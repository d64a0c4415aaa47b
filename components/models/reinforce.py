"""Training of models whose hard attention has no gradient of its own, by REINFORCE (Williams, 1992)."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from components.models.config import ModelConfig
from layers import HardSelection


class ReinforcedModel(keras.Model):
    """Base of models that return logits and may choose what they read by a `HardSelection`.

    Where such choices are sampled (see `samples`), `call` returns, instead of the logits alone, a dict of

    - "logits": float32 [B, ..., classes];
    - "log_probs": [B, ...], log probabilities of the choices, one for each label;
    - "entropies": [B, ...], entropies of their distributions.

    `compute_loss` credits the choices of a row with the cross-entropy of its labels. That has a gradient
    only: the value stays the compiled loss, comparable with the validation's. Metrics see the logits.
    """

    config: ModelConfig

    @property
    def selection(self) -> HardSelection | None:
        """What chooses, if anything does."""
        raise NotImplementedError(f"{type(self).__name__} does not say what chooses.")

    def samples(self, training: bool | None) -> bool:
        """Whether a forward pass samples choices that only `compute_loss` can train."""
        return bool(training) and self.selection is not None and self.selection.estimator == "reinforce"

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """Returns the compiled loss, with the gradient of the choices in training.

        Args:
            x: inputs, unused.
            y: integer labels [B, ...].
            y_pred: what `call` returned.
            sample_weight: weights of the labels [B, ...], 0 where there is none; all 1 by default.
            training: whether this is a training step.
        """
        loss = super().compute_loss(x, y, _logits(y_pred), sample_weight, training)
        selection = self.selection
        if not training or selection is None or not isinstance(y_pred, dict):
            return loss
        cross_entropies = keras.losses.sparse_categorical_crossentropy(y, _logits(y_pred), from_logits=True)
        weights = ops.ones_like(cross_entropies)
        if sample_weight is not None:
            weights = ops.cast(sample_weight, weights.dtype)
        real = ops.cast(weights > 0, weights.dtype)
        credits = selection.reinforce_loss(
            _row_sums(weights * cross_entropies),
            _row_sums(real * y_pred["log_probs"]),
            _row_sums(weights * y_pred["entropies"]),
            _row_sums(weights),
        )
        credit = ops.divide_no_nan(ops.sum(credits), ops.sum(weights))
        return loss + (credit - ops.stop_gradient(credit))

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        """Updates the compiled metrics with the logits, and returns them by name."""
        return super().compute_metrics(x, y, _logits(y_pred), sample_weight)


def _logits(y_pred: Any) -> Any:
    return y_pred["logits"] if isinstance(y_pred, dict) else y_pred


def _row_sums(tensor: Any) -> Any:
    """Sums over all axes but the first."""
    axes = tuple(range(1, len(tensor.shape)))
    return ops.sum(tensor, axis=axes) if axes else tensor
