"""Tests of RidgeSums and fit_ridge against NumPy's moments and scikit-learn's Ridge."""

import functools
import operator
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge
from sklearn.metrics import mean_squared_error

from layers.rnn import ridge_readout
from layers.rnn.ridge_readout import RidgeSums, fit_ridge

ROWS, FEATURES, TARGETS = 60, 7, 2


def data(
    rows: int = ROWS, offset: float = 3.0, noise: float = 1.0, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Features and targets with a mean, a linear relation and noise."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(rows, FEATURES)) + offset
    y = x @ np.arange(FEATURES * TARGETS).reshape(FEATURES, TARGETS) - 5
    return x, y + noise * random.normal(size=(rows, TARGETS))


def assert_equal_sums(one: RidgeSums, other: RidgeSums, rtol: float = 1e-10) -> None:
    """Relative to the largest entry of each array: a sum of large terms may come out near 0."""
    assert one.count == other.count
    for name in ("feature_mean", "target_mean", "feature_products", "cross_products", "target_squares"):
        expected = getattr(other, name)
        scale = np.abs(expected).max()
        np.testing.assert_allclose(getattr(one, name), expected, rtol=0, atol=rtol * scale, err_msg=name)


def test_sums_are_the_moments():
    x, y = data()
    sums = RidgeSums.of(x, y)
    assert sums.count == ROWS
    np.testing.assert_allclose(sums.feature_mean, x.mean(axis=0))
    np.testing.assert_allclose(sums.target_mean, y.mean(axis=0))
    covariance = np.cov(np.concatenate([x, y], axis=1).T) * (ROWS - 1)
    np.testing.assert_allclose(sums.feature_products, covariance[:FEATURES, :FEATURES])
    np.testing.assert_allclose(sums.cross_products, covariance[:FEATURES, FEATURES:])
    np.testing.assert_allclose(sums.target_squares, np.diag(covariance)[FEATURES:])
    assert all(getattr(sums, name).dtype == "float64" for name in ("feature_products", "cross_products"))


@pytest.mark.parametrize("ridge", [0.0, 1e-6, 1.0, 1e4])
def test_equals_scikit_learn(ridge):
    x, y = data()
    kernel, bias = RidgeSums.of(x, y).solve(ridge)
    expected = Ridge(alpha=ridge).fit(x, y)
    np.testing.assert_allclose(kernel, expected.coef_.T, rtol=1e-9)
    np.testing.assert_allclose(bias, expected.intercept_, rtol=1e-9)
    error = RidgeSums.of(x, y).squared_error(kernel, bias)
    np.testing.assert_allclose(error, mean_squared_error(y, expected.predict(x)), rtol=1e-9)


def test_squared_error_of_other_data_and_of_any_readout():
    train, validation = data(), data(rows=31, seed=1)
    kernel, bias = RidgeSums.of(*train).solve(10.0)
    for outputs in [(kernel, bias), (np.ones((FEATURES, TARGETS)), np.array([4.0, -2.0]))]:
        expected = mean_squared_error(validation[1], validation[0] @ outputs[0] + outputs[1])
        np.testing.assert_allclose(RidgeSums.of(*validation).squared_error(*outputs), expected, rtol=1e-10)


def test_a_perfect_readout_has_no_error():
    x, _ = data()
    kernel, bias = np.ones((FEATURES, TARGETS)), np.ones(TARGETS)
    assert 0 <= RidgeSums.of(x, x @ kernel + bias).squared_error(kernel, bias) < 1e-12


@settings(deadline=None, max_examples=50)
@given(
    sizes=st.lists(st.integers(0, 20), min_size=1, max_size=8),
    offset=st.sampled_from([0.0, 3.0, 1e4]),
    order=st.randoms(use_true_random=False),
)
def test_any_sharding_and_order_gives_the_same(sizes, offset, order):
    x, y = data(sum(sizes), offset)
    whole = RidgeSums.of(x, y)
    bounds = np.cumsum(sizes)[:-1]
    pieces = [RidgeSums.of(*piece) for piece in zip(np.split(x, bounds), np.split(y, bounds), strict=True)]
    order.shuffle(pieces)
    middle = order.randint(0, len(pieces))
    empty = RidgeSums.zeros(FEATURES, TARGETS)
    halves = [functools.reduce(operator.add, half, empty) for half in (pieces[:middle], pieces[middle:])]
    assert_equal_sums(halves[0] + halves[1], whole)


@pytest.mark.parametrize("block", [7, 25])
@pytest.mark.parametrize("leading", [(60,), (6, 10), (2, 3, 10)])
def test_blocks_add_up(leading, block, monkeypatch):
    x, y = data()
    whole = RidgeSums.of(x, y)
    monkeypatch.setattr(ridge_readout, "_BLOCK", block)
    assert_equal_sums(RidgeSums.of(x.reshape(*leading, -1), y.reshape(*leading, -1)), whole)


def test_adding_changes_neither_summand():
    one, other = RidgeSums.of(*data()), RidgeSums.of(*data(seed=1))
    before = pickle.dumps((one, other))
    assert (one + other).count == 2 * ROWS
    assert pickle.dumps((one, other)) == before


def test_large_means_lose_no_digits():
    """Means 1e8 times the deviation, of which raw sums of squares would leave no digit."""
    x, y = data(offset=0.0)
    x, y = np.round(x * 2**20) / 2**20, np.round(y * 2**20) / 2**20  # Exact beside the means.
    kernel, _ = RidgeSums.of(x, y).solve(1.0)
    far = RidgeSums.of(x[:20] + 2.0**27, y[:20]) + RidgeSums.of(x[20:] + 2.0**27, y[20:])
    np.testing.assert_allclose(far.solve(1.0)[0], kernel, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "float32", "int64", "bool"])
def test_other_dtypes_are_summed_in_float64(dtype):
    x, y = data()
    x, y = np.sign(x - 3).clip(0).astype(dtype), y.astype("float32")
    assert_equal_sums(RidgeSums.of(x, y), RidgeSums.of(x.astype("float64"), y.astype("float64")))


def test_masked_steps_do_not_enter():
    x, y = (array.reshape(6, 10, -1) for array in data())
    mask = np.random.default_rng(1).random((6, 10)) < 0.5
    mask[2] = False
    expected = RidgeSums.of(x[mask], y[mask])
    assert_equal_sums(RidgeSums.of(x, y, mask), expected)
    junk = [np.where(mask[..., None], array, np.nan) for array in (x, y)]
    assert_equal_sums(RidgeSums.of(*junk, mask), expected)


@pytest.mark.parametrize("washout", [0, 1, 3, 100])
def test_washout_counts_real_steps(washout):
    x, y = (array.reshape(6, 10, -1) for array in data())
    mask = np.random.default_rng(1).random((6, 10)) < 0.7
    rows = [(i, t) for i in range(6) for t in [t for t in range(10) if mask[i, t]][washout:]]
    expected = RidgeSums.of(*(np.array([a[i, t] for i, t in rows]).reshape(-1, a.shape[-1]) for a in (x, y)))
    if expected.count:
        assert_equal_sums(RidgeSums.of(x, y, mask, washout), expected)
    else:
        assert RidgeSums.of(x, y, mask, washout).count == 0
    if washout < 10:
        assert_equal_sums(RidgeSums.of(x, y, washout=washout), RidgeSums.of(x[:, washout:], y[:, washout:]))


def test_everything_masked_adds_nothing():
    x, y = data()
    nothing = RidgeSums.of(x, y, np.zeros(ROWS, bool))
    assert nothing.count == 0
    assert_equal_sums(nothing + RidgeSums.of(x, y), RidgeSums.of(x, y))
    assert (nothing + nothing).count == 0
    for use in (lambda: nothing.solve(1.0), lambda: nothing.squared_error(np.zeros((7, 2)), np.zeros(2))):
        with pytest.raises(ValueError, match="Received sums of no rows, expected at least one unmasked step"):
            use()


def test_the_ridge_with_the_smallest_validation_error_is_chosen():
    train, validation = data(rows=12, noise=30.0), data(rows=500, noise=30.0, seed=1)
    alphas = [0.0, 1.0, 10.0, 1000.0]
    fit = fit_ridge(RidgeSums.of(*train), RidgeSums.of(*validation), alphas)
    models = [Ridge(alpha=ridge).fit(*train) for ridge in alphas]
    errors = [mean_squared_error(validation[1], model.predict(validation[0])) for model in models]
    np.testing.assert_allclose(fit.errors, errors, rtol=1e-8)
    best = int(np.argmin(errors))
    assert 0 < best < 3, "the test needs a minimum inside"
    assert fit.ridge == alphas[best]
    np.testing.assert_allclose(fit.kernel, models[best].coef_.T, rtol=1e-8)
    np.testing.assert_allclose(fit.bias, models[best].intercept_, rtol=1e-8)


def test_one_ridge_needs_no_validation():
    x, y = data()
    ridge, kernel, bias, errors = fit_ridge(RidgeSums.of(x, y), None, [0.5])
    assert ridge == 0.5
    np.testing.assert_allclose(errors, [mean_squared_error(y, x @ kernel + bias)])


def test_equal_errors_choose_the_first():
    sums = RidgeSums.of(data()[0], np.ones((ROWS, 1)))
    assert fit_ridge(sums, sums, [3.0, 1.0, 2.0]).ridge == 3.0


@pytest.mark.parametrize("flaw", ["constant", "repeated", "few rows"])
def test_dependent_features_need_a_ridge(flaw):
    x, y = data(rows=5 if flaw == "few rows" else ROWS)
    if flaw == "constant":
        x[:, 2] = 0.1
    if flaw == "repeated":
        x[:, 2] = x[:, 3]
    sums = RidgeSums.of(x, y)
    message = "argument `ridge`, expected a larger one, that makes X'X positive definite .* got 0.0"
    with pytest.raises(np.linalg.LinAlgError, match=message):
        sums.solve(0.0)
    with pytest.raises(ValueError, match=r"got 1e-20\."):
        fit_ridge(sums, sums, [1e-20, 0.0])
    fit = fit_ridge(sums, sums, [0.0, 0.1])
    assert fit.ridge == 0.1
    assert fit.errors[0] == np.inf
    np.testing.assert_allclose(fit.kernel, Ridge(alpha=0.1).fit(x, y).coef_.T, rtol=1e-8)


def test_weights_count_like_that_many_equal_rows():
    x, y = data()
    repeats = np.random.default_rng(1).integers(0, 4, ROWS)
    weighted = RidgeSums.of(x, y, weights=repeats)
    assert_equal_sums(weighted, RidgeSums.of(np.repeat(x, repeats, axis=0), np.repeat(y, repeats, axis=0)))
    assert RidgeSums.of(x, y, weights=np.zeros(ROWS)).count == 0


def test_weighted_sums_follow_the_normal_equations_and_add_up():
    x, y = data()
    weights = np.random.default_rng(1).uniform(0.1, 9, ROWS)
    with_bias = np.hstack([x, np.ones((ROWS, 1))])
    penalty = np.diag([0.5] * FEATURES + [0.0])
    expected = np.linalg.solve(
        with_bias.T @ (weights[:, None] * with_bias) + penalty, with_bias.T @ (weights[:, None] * y)
    )
    pieces = [
        RidgeSums.of(x[some], y[some], weights=weights[some]) for some in np.split(np.arange(ROWS), [9, 40])
    ]
    sums = functools.reduce(operator.add, pieces)
    kernel, bias = sums.solve(0.5)
    np.testing.assert_allclose(np.vstack([kernel, bias]), expected, rtol=1e-9)
    errors = ((x @ kernel + bias - y) ** 2).mean(axis=-1)
    np.testing.assert_allclose(sums.squared_error(kernel, bias), np.average(errors, weights=weights))


def test_weights_go_with_mask_and_washout():
    x, y = data()
    mask = np.random.default_rng(2).random((6, 10)) < 0.7
    weights = np.random.default_rng(1).uniform(0.1, 9, (6, 10))
    sequences = x.reshape(6, 10, -1), y.reshape(6, 10, -1)
    kept = mask & (np.cumsum(mask, axis=-1) > 2)
    masked = RidgeSums.of(*sequences, mask, washout=2, weights=np.where(mask, weights, np.nan))
    assert_equal_sums(masked, RidgeSums.of(*(array[kept] for array in sequences), weights=weights[kept]))
    washed = RidgeSums.of(*sequences, washout=2, weights=weights)
    assert_equal_sums(washed, RidgeSums.of(*(array[:, 2:] for array in sequences), weights=weights[:, 2:]))


def test_invalid_arguments():
    x, y = data()
    sums = RidgeSums.of(x, y)
    for bad in (-1.0, np.nan, np.inf):
        for use in (sums.solve, lambda ridge: fit_ridge(sums, sums, [1.0, ridge])):
            with pytest.raises(ValueError, match=f"`ridge`, expected a non-negative float, got {bad}"):
                use(bad)
    message = "argument `alphas`, expected at least one, and just one without `validation`, got "
    with pytest.raises(ValueError, match=message):
        fit_ridge(sums, sums, [])
    with pytest.raises(ValueError, match=message):
        fit_ridge(sums, None, [0.1, 1.0])
    with pytest.raises(
        ValueError, match=r"equal numbers of \(features, targets\), got \(7, 2\) and \(7, 3\)"
    ):
        sums + RidgeSums.zeros(FEATURES, 3)


def test_invalid_arrays():
    x, y = data()
    for features, targets in [(x, y[:-1]), (x[0], y[0]), (x, y[:, 0]), (x[None], y)]:
        with pytest.raises(ValueError, match="`features` and `targets`, expected arrays of rank 2 or more"):
            RidgeSums.of(features, targets)
    with pytest.raises(ValueError, match=r"`mask`, expected an array of shape \(60,\), got shape \(59,\)"):
        RidgeSums.of(x, y, np.ones(59, bool))
    with pytest.raises(ValueError, match=r"`weights`, expected an array of shape \(60,\), got shape \(2,\)"):
        RidgeSums.of(x, y, weights=np.ones(2))
    for bad in (-1.0, np.nan, np.inf):
        with pytest.raises(ValueError, match="`weights`, expected finite numbers of at least 0"):
            RidgeSums.of(x, y, weights=np.full(60, bad))
    with pytest.raises(ValueError, match=r"`washout`, expected a non-negative integer, got -1\."):
        RidgeSums.of(x[None], y[None], washout=-1)
    with pytest.raises(ValueError, match=r"`washout`, expected 0 for .* got 1 for shape \(60, "):
        RidgeSums.of(x, y, washout=1)
    x[3, 2] = np.nan
    for features, targets, name in [(x, y, "features"), (y, x, "targets")]:
        message = f"`{name}`, expected finite numbers at all unmasked steps, got NaN"
        with pytest.raises(ValueError, match=message):
            RidgeSums.of(features, targets)
