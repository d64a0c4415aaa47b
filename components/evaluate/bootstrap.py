"""How far a metric could be off by the choice of the examples: the bootstrap of Efron and Tibshirani (1993).

Every resample counts each example as often as a Poisson distribution of mean 1 says. How often follows from
nothing but the example's number and the resample's, so that

- no machine needs to see all examples: sums of parts add up to the same, however the examples are sharded
  (Chamandy et al., 2012, "Estimating uncertainty for massive data streams");
- resamples of two models on the same examples are the same, and their differences a paired bootstrap (Koehn,
  2004).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

CONFIDENCE = 0.95

BLOCK = 64  # resamples that are drawn together
_SEED = 20040725
_DRAWS_A_WORD = 4  # of 16 bits each
_WORDS_A_STEP = 4  # of Philox's counter

Array = np.ndarray[Any, Any]


def _poisson_quantiles() -> Array:
    """The Poisson-distributed number of mean 1 for each of the 65,536 draws."""
    cumulated = np.cumsum([math.exp(-1) / math.factorial(count) for count in range(12)])
    return np.searchsorted(cumulated, (np.arange(1 << 16) + 0.5) / (1 << 16)).astype(np.uint8)


_QUANTILES = _poisson_quantiles()


def block_counts(numbers: Array, block: int) -> Array:
    """How often each of 64 resamples counts each example.

    Args:
        numbers: of the examples, from 0, all near to each other [n]; at least one.
        block: which resamples: 0 for the first 64.

    Returns:
        [n, 64], unsigned bytes.
    """
    first, last = int(numbers.min()), int(numbers.max())
    words = BLOCK // _DRAWS_A_WORD
    stream = np.random.Philox(key=[_SEED, block])
    stream.advance(first * words // _WORDS_A_STEP)
    draws = stream.random_raw((last - first + 1) * words).astype("<u8").view("<u2").reshape(-1, BLOCK)
    return _QUANTILES[draws[numbers - first]]


def counts(numbers: Array, resamples: int) -> Array:
    """How often each example counts: once in the first row, which is no resample, then in each resample.

    Args:
        numbers: of the examples, from 0, all near to each other [n].
        resamples: how many.

    Returns:
        [1 + resamples, n], float64.
    """
    rows = np.ones((1 + resamples, len(numbers)))
    if len(numbers):
        for block in range(math.ceil(resamples / BLOCK)):
            start = 1 + block * BLOCK
            drawn = block_counts(numbers, block).T
            rows[start : start + BLOCK] = drawn[: 1 + resamples - start]
    return rows


def interval(resampled: Array) -> tuple[float, float] | None:
    """The range that holds the middle 95 % of the resamples (the percentile interval).

    Args:
        resampled: a metric, or a difference, in each resample; not a number where it is not defined.

    Returns:
        Its ends; None if it is defined in no resample.
    """
    defined = resampled[np.isfinite(resampled)]
    if not defined.size:
        return None
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(defined, [tail, 100 - tail])
    return float(low), float(high)
