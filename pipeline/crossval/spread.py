"""How a metric spreads over folds, and where its mean lies."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Spread:
    """A metric over folds.

    Args:
        folds: in which it is defined.
        mean: of their values, every fold counting alike.
        deviation: their standard deviation, of the sample; None of fewer than two folds.
        interval: where the metric lies with 95 % confidence; None of fewer than two folds.
    """

    folds: int
    mean: float
    deviation: float | None = None
    interval: tuple[float, float] | None = None


def spread_of(values: Sequence[float], tested_to_trained: float, bounds: tuple[float, float]) -> Spread:
    """Returns the mean over folds and its interval.

    The interval is Student's t with k - 1 degrees of freedom around the mean of k folds. Its variance is not
    s² / k, as if the folds were independent: they share records that they are trained on, so that this is too
    small. It is (1 / k + n_test / n_train) s², the correction of Nadeau and Bengio, "Inference for the
    Generalization Error" (Machine Learning 52, 2003), which they derive for repeated random splits; for k
    folds there is no unbiased estimate (Bengio and Grandvalet, "No Unbiased Estimator of the Variance of
    K-Fold Cross-Validation", JMLR 5, 2004).

    Args:
        values: of the folds, at least one.
        tested_to_trained: how many records are tested for one that is trained on, on average over the folds.
        bounds: the least and the greatest value that the metric can have, where the interval ends.
    """
    folds, mean = len(values), fmean(values)
    if folds < 2:
        return Spread(folds, mean)
    from scipy.stats import t

    deviation = stdev(values)
    half = (
        float(t.ppf((1 + CONFIDENCE) / 2, folds - 1)) * deviation * math.sqrt(1 / folds + tested_to_trained)
    )
    low, high = bounds
    return Spread(folds, mean, deviation, (max(mean - half, low), min(mean + half, high)))
