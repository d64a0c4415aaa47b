"""Seeds that belong to a text, whatever batch it is in."""

from __future__ import annotations

from typing import Any

from keras import ops


def row_seeds(tokens: Any, seed: int) -> Any:
    """Hashes the tokens of each row, padding not counted.

    Args:
        tokens: integers [B, S], padded with 0 on the right.
        seed: changes all hashes.

    Returns:
        int32 [B], of at least 0; the same for the same tokens and seed on every machine.
    """
    places = _mixed(ops.cast(ops.arange(1, ops.shape(tokens)[1] + 1, dtype="int32"), "uint32"))
    each = _mixed(ops.cast(tokens, "uint32") + places)
    total = ops.sum(ops.where(ops.not_equal(tokens, 0), each, ops.zeros_like(each)), axis=1)
    mixed = _mixed(ops.cast(total, "uint32") + ops.cast(seed % 2**32, "uint32"))
    return ops.cast(ops.right_shift(mixed, _number(1)), "int32")


def _mixed(values: Any) -> Any:
    """The last steps of MurmurHash3, in which every bit of 32 changes all others with even chances."""
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        values = ops.bitwise_xor(values, ops.right_shift(values, _number(shift))) * _number(factor)
    return ops.bitwise_xor(values, ops.right_shift(values, _number(16)))


def _number(value: int) -> Any:
    return ops.convert_to_tensor(value, "uint32")
