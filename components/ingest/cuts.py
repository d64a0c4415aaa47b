"""Where ordered examples are cut into splits: exact quantiles, in memory that does not grow with the data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

# One example: what it is ordered within (a label, a kind of times), and what it is ordered by.
POSITION = np.dtype([("stratum", "<u8"), ("key", "<u8")])

_BITS = np.uint64(8)  # of the keys that one pass over them finds
_DIGITS = 1 << 8

Array = np.ndarray[Any, Any]


class Cut(NamedTuple):
    """Where one stratum is cut.

    Args:
        stratum: which one.
        total: how many examples it has.
        firsts: the least key of every split after the first one; 2**64 where no key is large enough.
    """

    stratum: int
    total: int
    firsts: tuple[int, ...]


def find_cuts(chunks: Iterable[Array], fractions: Sequence[float]) -> list[Cut]:
    """Cuts every stratum in the order of its keys, so that the last splits get fractions of it.

    A split's size differs from its fraction by less than one example, where keys are different. Equal keys
    are never cut apart: they go where more of them belong. The first split is never empty.

    The order of the chunks, and how the examples are spread over them, changes nothing. It is a radix
    selection: each of eight passes finds eight more bits of the keys at all cuts.

    Args:
        chunks: arrays `[n]` of POSITION, which can be iterated over again and again.
        fractions: of the splits after the first one, in order; positive, together less than 1.
    """
    tails = np.cumsum(fractions[::-1])[::-1]

    def ranks(totals: Array, drawn: Array) -> Array:
        tail = np.floor(totals[:, None] * tails + drawn[:, None]).astype(np.int64)
        return np.maximum(totals[:, None] - tail, 1)

    return cut_at(chunks, ranks)


def cut_at(chunks: Iterable[Array], ranks_of: Callable[[Array, Array], Array]) -> list[Cut]:
    """Cuts every stratum in the order of its keys, behind a number of examples.

    Args:
        chunks: as for `find_cuts`.
        ranks_of: takes the sizes of the strata `[s]` and a number from 0 to 1 that is drawn for each `[s]`;
            returns how many examples are before every cut `[s, c]`, the least first. Whether a fraction of an
            example is one or none follows from what is drawn: so fractions also hold over many small strata,
            and for a kind of times it is ordinary rounding.
    """
    strata, totals = _strata(chunks)
    ranks = ranks_of(totals, (strata >> np.uint64(11)) / 2.0**53)
    keys, below, equal = _select(chunks, strata, np.minimum(ranks, totals[:, None] - 1))
    later = (ranks - below <= below + equal - ranks) & (below > 0)
    return [
        Cut(
            int(stratum),
            int(total),
            tuple(
                int(key) + (not with_later) if rank else 0
                for key, with_later, rank in zip(of, are_later, before, strict=True)
            ),
        )
        for stratum, total, of, are_later, before in zip(strata, totals, keys, later, ranks, strict=True)
    ]


def _strata(chunks: Iterable[Array]) -> tuple[Array, Array]:
    """Which strata there are, sorted, and how many examples each has."""
    totals: dict[int, int] = {}
    for chunk in chunks:
        for stratum, count in zip(*np.unique(chunk["stratum"], return_counts=True), strict=True):
            totals[int(stratum)] = totals.get(int(stratum), 0) + int(count)
    strata = sorted(totals)
    return np.array(strata, np.uint64), np.array([totals[stratum] for stratum in strata], np.int64)


def _select(chunks: Iterable[Array], strata: Array, ranks: Array) -> tuple[Array, Array, Array]:
    """Selects keys by their rank in their stratum.

    Args:
        chunks: as above.
        strata: `[s]`, sorted.
        ranks: `[s, c]`, from 0.

    Returns:
        The keys `[s, c]`, how many are less `[s, c]`, and how many are equal `[s, c]`.
    """
    keys = np.zeros(ranks.shape, np.uint64)
    below = np.zeros(ranks.shape, np.int64)
    equal = below
    for shift in range(64 - int(_BITS), -1, -int(_BITS)):
        counts = np.zeros((*ranks.shape, _DIGITS), np.int64)
        for chunk in chunks:
            of = np.searchsorted(strata, chunk["stratum"])
            bits = chunk["key"] >> np.uint64(shift)
            begun, digits = bits >> _BITS, (bits % _DIGITS).astype(np.int64)
            for cut in range(ranks.shape[1]):
                chosen = begun == keys[of, cut]
                np.add.at(counts, (of[chosen], cut, digits[chosen]), 1)
        up_to = below[..., None] + counts.cumsum(-1)
        digit = (up_to <= ranks[..., None]).sum(-1)[..., None]
        equal = np.take_along_axis(counts, digit, -1)[..., 0]
        below = np.take_along_axis(up_to, digit, -1)[..., 0] - equal
        keys = keys << _BITS | digit[..., 0].astype(np.uint64)
    return keys, below, equal
