"""How hypotheses of a beam search may continue, and the best of these continuations."""

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
    chunks = ops.reshape(_with_padding(ranked, n_chunks * size), (rows, width * n_chunks, size))

    masked_ids = {token for token in allowed.forbidden_ids if token < vocabulary}
    mask = mask_of(masked_ids, (n_chunks, size))
    if allowed.may_end is not True:
        masked_ids.add(allowed.end_id)
        mask = ops.where(allowed.may_end, mask, mask_of(masked_ids, (n_chunks, size)))

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
    return Continuations(ranks, parents, tokens, ops.cast(look_up(log_probs, parents, tokens), "float32"))


def ends_or_none(log_probs: Tensor, base: Tensor, end_id: int) -> Continuations:
    """Returns what may follow the largest number of tokens: an end, or nothing where none is possible.

    Args:
        log_probs: Of any float type and of shape `(rows, width, vocabulary)`.
        base: Float32 of shape `(rows, width)`, what each hypothesis adds to the rank of its end.
        end_id: The token that ends a sequence.

    Returns:
        Continuations of shape `(rows, 2 * width)`: first the ends, best first, then the hypotheses that
        cannot end, as they are, with -1 for a token.
    """
    rows, width = ops.shape(base)
    end_log_probs = ops.cast(log_probs[:, :, end_id], "float32")
    ranks = end_log_probs + base
    can_end = ranks > IMPOSSIBLE  # Of NaN, too, this is false.
    ranks, parents = ops.top_k(ops.where(can_end, ranks, IMPOSSIBLE), width)
    kept = ops.broadcast_to(ops.arange(width, dtype="int32"), (rows, width))
    return Continuations(
        ops.concatenate([ranks, ops.where(can_end, IMPOSSIBLE, base)], axis=1),
        ops.concatenate([parents, kept], axis=1),
        ops.concatenate([ops.full_like(parents, end_id), ops.full_like(kept, -1)], axis=1),
        ops.concatenate([gather(end_log_probs, parents), ops.zeros_like(base)], axis=1),
    )


def padded(continuations: Continuations, count: int) -> Continuations:
    """Adds impossible continuations until there are `count`."""
    missing = count - continuations.ranks.shape[1]
    if not missing:
        return continuations
    padding = [[0, 0], [0, missing]]
    ranks = ops.pad(continuations.ranks, padding, constant_values=IMPOSSIBLE)
    return Continuations(ranks, *(ops.pad(values, padding) for values in continuations[1:]))


def choose(condition: Tensor, ones: Continuations, others: Continuations) -> Continuations:
    """Takes the first continuations where the condition holds, else the others."""
    return Continuations(*(ops.where(condition, *both) for both in zip(ones, others, strict=True)))


def gather(values: Tensor, places: Tensor) -> Tensor:
    """Returns, of each row of `values` (rows, n, ...), those at its `places` (rows, m): (rows, m, ...)."""
    n, *rest = ops.shape(values)[1:]
    rows, m = ops.shape(places)
    flat_places = ops.reshape(places + n * ops.arange(rows, dtype="int32")[:, None], (-1,))
    size = rows * n if isinstance(rows, int) else -1  # JAX infers no size beside one of 0.
    return ops.reshape(ops.take(ops.reshape(values, (size, *rest)), flat_places, axis=0), (rows, m, *rest))


def look_up(values: Tensor, parents: Tensor, places: Tensor) -> Tensor:
    """Returns `values[row, parent, place]`, of shape `(rows, count)`."""
    rows, width, size = ops.shape(values)
    return gather(ops.reshape(values, (rows, width * size)), parents * size + places)


def _with_padding(log_probs: Tensor, size: int) -> Tensor:
    padding = size - log_probs.shape[-1]
    if not padding:
        return log_probs
    return ops.pad(log_probs, [[0, 0], [0, 0], [0, padding]], constant_values=IMPOSSIBLE)


def _chunk_size(vocabulary: int) -> int:
    """Returns the size from 32 to 64, the fastest ones, that needs the least padding: that costs a copy."""
    return vocabulary if vocabulary <= 64 else min(range(32, 65), key=lambda size: -vocabulary % size)


def mask_of(ids: set[int], shape: tuple[int, ...]) -> np.ndarray:
    """Returns -inf at these ids and 0 elsewhere."""
    mask = np.zeros(math.prod(shape), "float32")
    mask[list(ids)] = IMPOSSIBLE
    return mask.reshape(shape)
