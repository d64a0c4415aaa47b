"""Hashes of integers, for draws that depend on nothing but what they belong to."""

from __future__ import annotations

from typing import TypeAlias

import keras
from keras import ops

Tensor: TypeAlias = keras.KerasTensor


def mix(bits: Tensor) -> Tensor:
    """Mixes the bits of uint32 numbers, so that every bit changes all others with even chances.

    The finalizer of MurmurHash3 (Appleby, 2011).
    """
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        bits = (bits ^ ops.right_shift(bits, ops.cast(shift, "uint32"))) * ops.cast(factor, "uint32")
    return bits ^ ops.right_shift(bits, ops.cast(16, "uint32"))


def hashed_uniforms(seeds: Tensor, time: Tensor, count: int) -> Tensor:
    """Returns numbers from [0, 1] that depend on a row's seed, the time and the place alone.

    Args:
        seeds: int32 of shape `(rows,)`.
        time: Scalar int32.
        count: How many numbers for each row.

    Returns:
        Float32 of shape `(rows, count)`.
    """
    places = ops.cast(ops.arange(count, dtype="int32") + time * count, "uint32")
    golden = ops.cast(0x9E3779B9, "uint32")
    # The finalizer makes 0 of 0, hence the constant: seed 0 would always draw 0 first.
    mixed = mix(mix(ops.cast(seeds, "uint32") ^ golden)[:, None] ^ (places * golden))
    return ops.cast(mixed, "float32") * 2.0**-32
