"""Which tokens would repeat an n-gram."""

from __future__ import annotations

from typing import TypeAlias

import keras
from keras import ops

from layers.decoding._continuations import IMPOSSIBLE

Tensor: TypeAlias = keras.KerasTensor


def without_repeated_ngrams(log_probs: Tensor, sequences: Tensor, time: Tensor, size: int) -> Tensor:
    """Makes those tokens impossible that would end an n-gram which the hypothesis already contains.

    Args:
        log_probs: Of shape `(rows, width, vocabulary)`.
        sequences: int32 of shape `(rows, width, max_length)`.
        time: How many tokens of each sequence there are.
        size: The n of the n-grams.
    """
    rows, width, max_length = ops.shape(sequences)
    vocabulary, starts = log_probs.shape[-1], max_length - size + 1
    if starts < 1:
        return log_probs
    repeats = ops.broadcast_to(ops.arange(starts) + size - 1 < time, (rows, width, starts))
    for offset in range(size - 1):
        last = ops.take(sequences, ops.maximum(time - size + 1 + offset, 0), axis=-1)
        repeats = ops.logical_and(
            repeats, ops.equal(sequences[:, :, offset : offset + starts], last[:, :, None])
        )
    hypotheses = ops.reshape(ops.arange(rows * width), (rows, width, 1))
    places = ops.cast(hypotheses, "int32") * vocabulary + sequences[:, :, size - 1 :]
    counts = ops.scatter(
        ops.reshape(places, (-1, 1)),
        ops.reshape(ops.cast(repeats, "int32"), (-1,)),
        (rows * width * vocabulary,),
    )
    counts = ops.reshape(counts, (rows, width, vocabulary))
    return ops.where(counts > 0, ops.cast(IMPOSSIBLE, log_probs.dtype), log_probs)
