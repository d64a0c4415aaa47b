"""A sequence to one vector, without weights."""

from __future__ import annotations

from typing import Any

from keras import ops


def pool(outputs: Any, states: Any, mask: Any, pooling: str) -> Any:
    """Summarises what an encoder made of a text.

    Args:
        outputs: [B, T, D].
        states: the encoder's final states, by layer.
        mask: booleans [B, T]; False is padding.
        pooling: `last` takes the top layer's final hidden state (in both directions, so the backward one has
            read the whole text too); `mean` and `max` go over the real steps.

    Returns:
        [B, D]; zeros for a row without any real step.
    """
    if pooling == "last":
        return states[-1][0]
    real = ops.expand_dims(ops.cast(mask, outputs.dtype), -1)
    if pooling == "mean":
        return ops.sum(outputs * real, axis=1) / ops.maximum(ops.sum(real, axis=1), 1)
    lowest = ops.where(ops.expand_dims(mask, -1), outputs, ops.full_like(outputs, -1e4))
    return ops.where(ops.any(mask, axis=1, keepdims=True), ops.max(lowest, axis=1), 0)
