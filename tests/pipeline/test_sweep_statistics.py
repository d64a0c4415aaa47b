"""Intervals over seeds."""

import numpy as np
import pytest
from scipy import stats

from pipeline.sweep.statistics import interval_over_seeds


@pytest.mark.parametrize("count", [2, 3, 5, 30])
def test_the_interval_is_that_of_student(count):
    values = np.random.default_rng(count).normal(0.8, 0.05, count)
    wanted = stats.t.interval(0.95, count - 1, loc=values.mean(), scale=stats.sem(values))
    assert interval_over_seeds(values.tolist()) == pytest.approx(wanted)


def test_three_values_by_hand():
    """The quantile of t with 2 degrees of freedom is 4.3027, the standard error 1 / sqrt(3)."""
    assert interval_over_seeds([1.0, 2.0, 3.0]) == pytest.approx((2 - 2.48414, 2 + 2.48414), abs=1e-4)


def test_equal_values_have_an_interval_of_no_width():
    assert interval_over_seeds([0.5, 0.5, 0.5]) == (0.5, 0.5)


@pytest.mark.parametrize("values", [[], [0.5]])
def test_fewer_than_two_values_have_none(values):
    assert interval_over_seeds(values) is None


def test_the_mean_of_normal_draws_is_in_it_in_95_of_100_cases():
    draws = np.random.default_rng(3).normal(1.0, 2.0, (2000, 4))
    inside = [low <= 1.0 <= high for low, high in map(interval_over_seeds, draws.tolist())]
    assert 0.935 < np.mean(inside) < 0.965
