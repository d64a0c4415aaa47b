"""What all sequences of a row begin with."""

from __future__ import annotations

from typing import TypeAlias

import keras
from keras import ops

from layers.decoding._continuations import Continuations, choose, padded
from layers.decoding.search_options import SearchOptions

Tensor: TypeAlias = keras.KerasTensor


class Prefix:
    """The forced tokens of each row.

    Args:
        tokens: int32 of shape `(rows, n)`; those of a row stop before its first `pad_id` or `end_id`.
        options: What is looked for.

    Attributes:
        lengths: int32 of shape `(rows, 1)`, how many tokens are forced.
    """

    def __init__(self, tokens: Tensor, options: SearchOptions) -> None:
        self._tokens = ops.cast(tokens, "int32")
        goes_on = ops.logical_and(self._tokens != options.pad_id, self._tokens != options.end_id)
        self.lengths = ops.sum(ops.cumprod(ops.cast(goes_on, "int32"), axis=1), axis=1, keepdims=True)

    def force(self, continuations: Continuations, base: Tensor, time: Tensor) -> Continuations:
        """Replaces the continuations of those rows whose prefix goes on.

        Args:
            continuations: Those of all rows.
            base: Float32 of shape `(rows, width)`, the ranks of the hypotheses, which they keep.
            time: How many tokens the hypotheses have, a scalar.
        """
        ranks, parents = ops.top_k(base, base.shape[1])
        token = ops.take(self._tokens, ops.minimum(time, self._tokens.shape[1] - 1), axis=1)[:, None]
        forced = Continuations(
            ranks, parents, ops.broadcast_to(token, ops.shape(parents)), ops.zeros_like(ranks)
        )
        return choose(time < self.lengths, padded(forced, continuations.ranks.shape[1]), continuations)


def check_prefix(prefix: Tensor, batch_size: int | Tensor, max_length: int) -> None:
    """Raises an error unless the prefix has a row for each of the batch, and room in a sequence."""
    shape = tuple(prefix.shape)
    if len(shape) != 2 or shape[1] is None or shape[1] > max_length:
        raise ValueError(
            f"Received a prefix of shape {shape} with max_length={max_length}; expected (batch, n) with a "
            "static n of at most max_length. Raise max_length, or shorten it."
        )
    if isinstance(batch_size, int) and shape[0] not in (None, batch_size):
        raise ValueError(
            f"Received a prefix of shape {shape} with batch_size={batch_size}; expected a row for each of "
            "the batch. Repeat the prefix for each row."
        )
