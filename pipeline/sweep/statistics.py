"""What the seeds of a setting say of it together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, stdev

_CONFIDENCE = 0.95


def interval_over_seeds(values: Sequence[float]) -> tuple[float, float] | None:
    """Returns where the mean over all seeds lies with 95 % confidence, by Student's t distribution.

    It takes scores of seeds as draws from a normal distribution.

    Args:
        values: the score of every seed.

    Returns:
        Both ends; None of fewer than two values, which say nothing of their spread.
    """
    if len(values) < 2:
        return None
    from scipy.stats import t

    center, spread = fmean(values), stdev(values)
    half = float(t.ppf((1 + _CONFIDENCE) / 2, len(values) - 1)) * spread / math.sqrt(len(values))
    return center - half, center + half
