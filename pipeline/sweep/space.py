"""Points of the search space: positions between 0 and 1 for every swept key, and the values there."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any, Literal

from pipeline.config.sweep import Range, Values

_DIGITS = 4  # of numbers that are drawn

Point = Sequence[float]
"""A position in [0, 1) for every swept key."""


def points(search: Literal["random", "sobol"], seed: int, count: int, dimensions: int) -> list[Point]:
    """Draws positions; number i depends on the seed and on i alone, not on the count.

    Args:
        search: `random` for independent ones, `sobol` for scrambled Sobol points (Owen, 1998).
        seed: of the draws.
        count: how many.
        dimensions: swept keys.
    """
    if search == "random":
        import numpy as np

        return [np.random.default_rng([seed, number]).random(dimensions).tolist() for number in range(count)]
    from scipy.stats import qmc

    # scipy warns of other counts than powers of 2; the sequence is the same.
    drawn = qmc.Sobol(dimensions, scramble=True, rng=seed).random_base2(math.ceil(math.log2(count)))
    sobol: list[Point] = drawn[:count].tolist()
    return sobol


def grid(over: Mapping[str, Values]) -> Iterator[dict[str, Any]]:
    """Yields all combinations of lists, the last key changing fastest.

    Args:
        over: by swept key.
    """
    lists = [values for values in over.values() if isinstance(values, list)]
    for chosen in product(*lists):
        yield dict(zip(over, chosen, strict=True))


def value_at(values: Values, position: float, whole: bool) -> Any:
    """Returns the value of a swept key at a position.

    Args:
        values: of the key.
        position: in [0, 1).
        whole: whether the key takes whole numbers only; ranges of integers give such anyway.
    """
    if not isinstance(values, Range):
        return values[int(position * len(values))]
    low, high = ends(values, whole)
    if isinstance(low, int):
        # Every whole number has the part of the range up to the next one.
        number = math.floor(_between(low, high + 1, position, values.log_uniform is not None))
        return min(max(number, low), int(high))
    drawn = _between(low, high, position, values.log_uniform is not None)
    return min(max(float(f"{drawn:.{_DIGITS}g}"), low), high)


def ends(values: Range, whole: bool) -> tuple[int, int] | tuple[float, float]:
    """Returns the smallest and the largest value that may be drawn.

    Args:
        values: a range.
        whole: whether the key takes whole numbers only. There may be none: the first is larger then.
    """
    low, high = values.bounds
    if whole or values.integers is not None:
        return math.ceil(low), math.floor(high)
    return float(low), float(high)


def _between(low: float, high: float, position: float, logarithmic: bool) -> float:
    if logarithmic:
        return math.exp(math.log(low) + position * (math.log(high) - math.log(low)))
    return low + position * (high - low)
