import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.evaluate.bootstrap import BLOCK, block_counts, counts, interval


@given(st.integers(0, 10**9), st.integers(1, 40), st.integers(0, 3), st.data())
@settings(deadline=None)
def test_an_example_counts_the_same_wherever_it_is_met(first, length, block, data):
    numbers = np.arange(first, first + length)
    whole = block_counts(numbers, block)
    places = data.draw(st.lists(st.integers(0, length - 1), min_size=1, max_size=10))
    np.testing.assert_array_equal(block_counts(numbers[places], block), whole[places])


def test_counts_are_poisson_distributed_and_unrelated():
    drawn = counts(np.arange(4000), 3 * BLOCK)[1:]
    frequencies = np.bincount(drawn.astype(int).ravel(), minlength=5)[:5] / drawn.size
    # Four standard errors of 768,000 draws, for the likeliest counts.
    np.testing.assert_allclose(frequencies, np.exp(-1) / np.array([1, 1, 2, 6, 24]), atol=2.2e-3)
    assert drawn.mean() == pytest.approx(1, abs=5e-3)
    among_resamples = np.corrcoef(drawn)[np.triu_indices(len(drawn), 1)]
    among_examples = np.corrcoef(drawn[:, :200].T)[np.triu_indices(200, 1)]
    assert np.abs(among_resamples).max() < 6 / np.sqrt(4000)
    assert np.abs(among_examples).max() < 6 / np.sqrt(3 * BLOCK)


def test_the_first_row_counts_each_example_once():
    rows = counts(np.array([7, 3, 9]), 70)
    assert rows.shape == (71, 3)
    np.testing.assert_array_equal(rows[0], 1)
    np.testing.assert_array_equal(counts(np.array([7]), 0), [[1.0]])
    assert counts(np.zeros(0, int), 5).shape == (6, 0)


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    """Of 400 samples of 300 draws each the interval should miss the true mean in about 5 %."""
    truth, samples, size = 0.8, 400, 300
    values = np.random.default_rng(0).random((samples, size)) < truth
    drawn = counts(np.arange(size), 400)[1:]
    missed = 0
    for sample in values:
        low, high = interval(drawn @ sample / drawn.sum(axis=1))
        missed += not low <= truth <= high
    assert 0.02 < missed / samples < 0.09


def test_the_interval_leaves_undefined_resamples_out():
    assert interval(np.array([np.nan, 2.0, 2.0])) == (2.0, 2.0)
    assert interval(np.array([np.nan])) is None
    assert interval(np.arange(1001.0)) == pytest.approx((25.0, 975.0))
