"""The softmax of attention scores, of which padding gets nothing."""

from __future__ import annotations

import keras
from keras import ops

# Far below any score, yet finite: a row of infinities would give NaN.
_MASKED_SCORE = -1e30


def masked_softmax(
    scores: keras.KerasTensor, mask: keras.KerasTensor | None, axis: int = -1
) -> keras.KerasTensor:
    """Turns scores into weights that add up to 1 over what is real.

    Args:
        scores: Tensor of any shape.
        mask: Boolean tensor that broadcasts with `scores`, `False` where the weight has to be exactly 0;
            `None` if all are real. Where nothing is real along `axis`, all weights are 0.
        axis: Along which the weights add up to 1. Defaults to the last one.

    Returns:
        The weights, in float32 or the wider dtype of `scores`.
    """
    scores = ops.cast(scores, keras.backend.result_type(scores.dtype, "float32"))
    if mask is not None:
        scores = ops.where(mask, scores, _MASKED_SCORE)
    # Keras warns of a softmax over a single entry.
    weights = ops.ones_like(scores) if scores.shape[axis] == 1 else ops.softmax(scores, axis=axis)
    # Changes only what is masked everywhere, whose softmax is uniform.
    return weights if mask is None else ops.where(mask, weights, 0.0)
