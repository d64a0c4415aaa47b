"""The next tokens of a beam search's hypotheses: the best ones, drawn ones, and those to be avoided."""

from __future__ import annotations

import math
from typing import NamedTuple, TypeAlias

import keras
import numpy as np
from keras import ops

Tensor: TypeAlias = keras.KerasTensor

IMPOSSIBLE = float("-inf")


class Continuations(NamedTuple):
    """Continuations of each row's hypotheses, best first."""

    ranks: Tensor  # float32 (rows, count), by which they are sorted; -inf if impossible
    parents: Tensor  # int32 (rows, count), the hypotheses they continue
    tokens: Tensor  # int32 (rows, count)
    token_log_probs: Tensor  # float32 (rows, count)


class Allowed(NamedTuple):
    """Which tokens may come next."""

    forbidden_ids: tuple[int, ...]  # those that never may
    end_id: int
    may_end: Tensor | bool  # whether `end_id` may


def best_continuations(
    log_probs: Tensor, base: Tensor, count: int, allowed: Allowed, ranked: Tensor | None = None
) -> Continuations:
    """Finds the best continuations of all hypotheses of a row together, those of equal rank by position.

    `top_k` over the whole vocabulary is slow, so it is run only on those chunks of the vocabulary that have
    the highest maxima. This is exact, ties included: ahead of a chunk that is left out are `count` others,
    and so are their maxima. Chunks with a masked id are not counted among these, as it may be their maximum.

    Args:
        log_probs: Of any float type and of shape `(rows, width, vocabulary)`.
        base: Float32 of shape `(rows, width)`, what each hypothesis adds to the rank of its continuations.
        count: How many to find; fewer, if there are fewer.
        allowed: Which tokens may come next.
        ranked: What counts in place of `log_probs`, if they do not.
    """
    ranked = log_probs if ranked is None else ranked
    (rows, width), vocabulary = ops.shape(base), log_probs.shape[-1]
    size = _chunk_size(vocabulary)
    n_chunks = -(-vocabulary // size)
    chunks = ops.reshape(_padded(ranked, n_chunks * size), (rows, width * n_chunks, size))

    masked_ids = {token for token in allowed.forbidden_ids if token < vocabulary}
    mask = _mask(masked_ids, (n_chunks, size))
    if allowed.may_end is not True:
        masked_ids.add(allowed.end_id)
        mask = ops.where(allowed.may_end, mask, _mask(masked_ids, (n_chunks, size)))

    n_masked_chunks = len({token // size for token in masked_ids})
    n_best_chunks = min(count + width * n_masked_chunks, width * n_chunks)
    maxima = ops.reshape(ops.max(chunks, axis=-1), (rows, width, n_chunks))
    maxima = ops.cast(maxima, "float32") + base[:, :, None]
    _, best_chunks = ops.top_k(ops.reshape(maxima, (rows, width * n_chunks)), n_best_chunks)
    best_chunks = ops.sort(best_chunks, axis=-1)  # `top_k` prefers the first of equals: the lowest id.

    ranks = ops.cast(gather(chunks, best_chunks), "float32")
    ranks += gather(base, best_chunks // n_chunks)[:, :, None]
    ranks += ops.take(mask, best_chunks % n_chunks, axis=0)
    ranks = ops.where(ranks > IMPOSSIBLE, ranks, IMPOSSIBLE)  # NaN is no probability.
    ranks, places = ops.top_k(
        ops.reshape(ranks, (rows, n_best_chunks * size)), min(count, n_best_chunks * size)
    )
    best_chunks = gather(best_chunks, places // size)
    parents = best_chunks // n_chunks
    tokens = best_chunks % n_chunks * size + places % size
    tokens = ops.minimum(tokens, vocabulary - 1)  # Impossible ones may lie in the padding.
    return Continuations(ranks, parents, tokens, _token_log_probs(log_probs, parents, tokens))


def drawn_continuations(
    log_probs: Tensor,
    base: Tensor,
    uniforms: Tensor,
    allowed: Allowed,
    temperature: float,
    top_k: int,
    top_p: float,
) -> Continuations:
    """Draws one continuation of each hypothesis.

    Args:
        log_probs: Of any float type and of shape `(rows, width, vocabulary)`.
        base: Float32 of shape `(rows, width)`, what each hypothesis adds to the rank of its continuation.
        uniforms: Float32 of shape `(rows, width)`, drawn uniformly from [0, 1].
        allowed: Which tokens may come next.
        temperature: What the log probabilities are divided by.
        top_k: Draw from so many most probable tokens only; 0 for all.
        top_p: Draw from the fewest most probable tokens only that are together at least this probable.
    """
    (rows, width), vocabulary = ops.shape(base), log_probs.shape[-1]
    masked_ids = {token for token in allowed.forbidden_ids if token < vocabulary}
    mask = _mask(masked_ids, (vocabulary,))
    if allowed.may_end is not True:
        mask = ops.where(allowed.may_end, mask, _mask(masked_ids | {allowed.end_id}, (vocabulary,)))
    values = ops.cast(log_probs, "float32") + mask
    values = ops.where(values > IMPOSSIBLE, values, IMPOSSIBLE)
    values, tokens = ops.top_k(values, min(top_k or vocabulary, vocabulary))
    weights = ops.exp((values - ops.maximum(values[:, :, :1], -1e30)) / temperature)
    if top_p < 1:
        sums = ops.cumsum(weights, axis=-1)
        # The first one that makes the sum large enough still counts.
        weights = ops.where(sums - weights < top_p * sums[:, :, -1:], weights, 0.0)
    # From the smallest up: added to a sum near 1, many small ones together would be rounded away.
    sums = ops.cumsum(ops.flip(weights, axis=-1), axis=-1)
    below = ops.sum(ops.cast(sums <= uniforms[:, :, None] * sums[:, :, -1:], "int32"), axis=-1)
    drawn = ops.maximum(weights.shape[-1] - 1 - below, 0)  # A uniform may be rounded to 1.
    parents = ops.broadcast_to(ops.arange(width, dtype="int32"), (rows, width))
    # Of each hypothesis' sorted tokens the drawn one: the same lookup as that of a token's probability.
    tokens = _at(tokens, parents, drawn)
    token_log_probs = _at(values, parents, drawn)
    ranks = base + token_log_probs
    ranks, places = ops.top_k(ranks, width)
    return Continuations(ranks, *(gather(each, places) for each in (parents, tokens, token_log_probs)))


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


def hashed_uniforms(seeds: Tensor, time: Tensor, count: int) -> Tensor:
    """Returns numbers from [0, 1] that depend on a row's seed, the time and the place alone.

    The finalizer of MurmurHash3, twice.

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
    mixed = _mix(_mix(ops.cast(seeds, "uint32") ^ golden)[:, None] ^ (places * golden))
    return ops.cast(mixed, "float32") * 2.0**-32


def gather(values: Tensor, places: Tensor) -> Tensor:
    """Returns, of each row of `values` (rows, n, ...), those at its `places` (rows, m): (rows, m, ...)."""
    n, *rest = ops.shape(values)[1:]
    rows, m = ops.shape(places)
    flat_places = ops.reshape(places + n * ops.arange(rows, dtype="int32")[:, None], (-1,))
    return ops.reshape(ops.take(ops.reshape(values, (-1, *rest)), flat_places, axis=0), (rows, m, *rest))


def _token_log_probs(log_probs: Tensor, parents: Tensor, tokens: Tensor) -> Tensor:
    return ops.cast(_at(log_probs, parents, tokens), "float32")


def _at(values: Tensor, parents: Tensor, places: Tensor) -> Tensor:
    """Returns `values[row, parent, place]`, of shape `(rows, count)`."""
    rows, width, size = ops.shape(values)
    return gather(ops.reshape(values, (rows, width * size)), parents * size + places)


def _mix(bits: Tensor) -> Tensor:
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        bits = (bits ^ ops.right_shift(bits, ops.cast(shift, "uint32"))) * ops.cast(factor, "uint32")
    return bits ^ ops.right_shift(bits, ops.cast(16, "uint32"))


def _padded(log_probs: Tensor, size: int) -> Tensor:
    padding = size - log_probs.shape[-1]
    if not padding:
        return log_probs
    return ops.pad(log_probs, [[0, 0], [0, 0], [0, padding]], constant_values=IMPOSSIBLE)


def _chunk_size(vocabulary: int) -> int:
    """Returns the size from 32 to 64, the fastest ones, that needs the least padding: that costs a copy."""
    return vocabulary if vocabulary <= 64 else min(range(32, 65), key=lambda size: -vocabulary % size)


def _mask(ids: set[int], shape: tuple[int, ...]) -> np.ndarray:
    """Returns -inf at these ids and 0 elsewhere."""
    mask = np.zeros(math.prod(shape), "float32")
    mask[list(ids)] = IMPOSSIBLE
    return mask.reshape(shape)
