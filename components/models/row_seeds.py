"""Seeds that belong to a text, whatever batch it is in."""

from __future__ import annotations

from typing import Any

from keras import ops

from layers.decoding._hashes import mix


def row_seeds(tokens: Any, seed: int) -> Any:
    """Hashes the tokens of each row, padding not counted.

    Args:
        tokens: integers [B, S], padded with 0 on the right.
        seed: changes all hashes.

    Returns:
        int32 [B], of at least 0; the same for the same tokens and seed on every machine.
    """
    places = mix(ops.cast(ops.arange(1, ops.shape(tokens)[1] + 1, dtype="int32"), "uint32"))
    each = mix(ops.cast(tokens, "uint32") + places)
    total = ops.sum(ops.where(ops.not_equal(tokens, 0), each, ops.zeros_like(each)), axis=1)
    mixed = mix(ops.cast(total, "uint32") + ops.cast(seed % 2**32, "uint32"))
    return ops.cast(ops.right_shift(mixed, ops.cast(1, "uint32")), "int32")
