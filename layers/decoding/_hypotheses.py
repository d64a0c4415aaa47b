"""What a beam search carries from step to step."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import keras
from keras import ops

Tensor: TypeAlias = keras.KerasTensor

# What hypotheses went through, by name and of shape (rows, n, max_length or more, ...): "sequences",
# "token_log_probs" and, if wanted, "attention".
Trace: TypeAlias = dict[str, Tensor]


class Live(NamedTuple):
    """The unfinished hypotheses of each row. Those of a settled row are all impossible."""

    tokens: Tensor  # int32 (rows, width), the last token of each
    log_probs: Tensor  # float32 (rows, width)
    coverage: Tensor  # float32 (rows, width, source), the sum of the attention; no `source` if not needed
    trace: Trace


class Pool(NamedTuple):
    """Hypotheses that may be returned, best first. An empty place has the score -inf."""

    scores: Tensor  # float32 (rows, size)
    log_probs: Tensor  # float32 (rows, size)
    lengths: Tensor  # int32 (rows, size)
    trace: Trace


def write(values: Tensor, new: Tensor, time: Tensor) -> Tensor:
    """Writes `new` (rows, n, ...) into `values` (rows, n, length, ...) at this time, if it exists."""
    length, *rest = ops.shape(values)[2:]
    is_now = ops.reshape(ops.equal(ops.arange(length, dtype="int32"), time), (length, *[1] * len(rest)))
    return ops.where(is_now, new[:, :, None], values)
