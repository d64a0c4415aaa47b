"""The mean over folds and its interval, against another reckoning."""

import math

import numpy as np
import pytest
from scipy import stats

from pipeline.crossval.spread import spread_of

UNBOUNDED = (-math.inf, math.inf)


@pytest.mark.parametrize("values", [[0.8, 0.9], [0.71, 0.74, 0.69, 0.77, 0.73], [3.0, 1.0, 2.0]])
@pytest.mark.parametrize("ratio", [0.25, 1.0])
def test_the_interval_is_a_student_t_with_the_corrected_variance(values, ratio):
    spread = spread_of(values, ratio, UNBOUNDED)
    numbers = np.asarray(values)
    assert spread.folds == len(values)
    assert spread.mean == pytest.approx(numbers.mean())
    assert spread.deviation == pytest.approx(numbers.std(ddof=1))
    scale = math.sqrt(numbers.var(ddof=1) * (1 / len(values) + ratio))
    expected = stats.t(len(values) - 1, numbers.mean(), scale).interval(0.95)
    assert spread.interval == pytest.approx(expected)


def test_without_a_correction_it_would_be_that_of_a_t_test():
    values = [0.71, 0.74, 0.69, 0.77, 0.73]
    test = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert spread_of(values, 0.0, UNBOUNDED).interval == pytest.approx((test.low, test.high))


def test_the_correction_covers_what_folds_that_share_records_hide():
    """Accuracy of a nearest mean: the interval of five folds holds what other data say, in most samples."""
    draw = np.random.default_rng(5)
    centers = np.array([[0.0], [1.2]])

    def sample(count):
        labels = np.arange(count) % 2
        return centers[labels, 0] + draw.normal(size=count), labels

    def accuracy(train, test):
        means = [train[0][train[1] == label].mean() for label in (0, 1)]
        return np.mean((abs(test[0] - means[1]) < abs(test[0] - means[0])) == test[1])

    other, covered, plain = sample(20_000), 0, 0
    for _ in range(300):
        values, labels = sample(60)
        order = draw.permutation(60)
        folds = np.array_split(order, 5)
        scores, trained_on = [], []
        for fold in folds:
            rest = np.setdiff1d(order, fold)
            scores.append(accuracy((values[rest], labels[rest]), (values[fold], labels[fold])))
            trained_on.append(accuracy((values[rest], labels[rest]), other))
        truth = np.mean(trained_on)
        low, high = spread_of(scores, 0.25, (0, 1)).interval
        covered += low <= truth <= high
        low, high = spread_of(scores, 0.0, (0, 1)).interval
        plain += low <= truth <= high
    assert covered > plain
    assert covered / 300 > 0.95


def test_one_fold_has_no_interval():
    spread = spread_of([0.5], 0.25, (0, 1))
    assert (spread.mean, spread.deviation, spread.interval) == (0.5, None, None)


def test_an_interval_ends_where_the_metric_does():
    low, high = spread_of([0.9, 1.0, 1.0], 0.5, (0, 1)).interval
    assert high == 1.0
    assert 0 < low < 0.9
