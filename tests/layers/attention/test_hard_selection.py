"""Tests of HardSelection against the papers' equations."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from layer_checks import FLOAT64_ROUNDING, assert_close, examples, random, to_numpy

from layers import HardSelection

ESTIMATORS = ["reinforce", "straight_through"]
tensorflow_only = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="uses a GradientTape")


@pytest.fixture
def scores() -> np.ndarray:
    return 2 * random(4, 5)


@pytest.fixture
def mask() -> np.ndarray:
    """A full row, one with a gap, one with a single position and one without any."""
    return np.array([[1] * 5, [1, 0, 1, 0, 1], [0, 0, 1, 0, 0], [0] * 5], dtype=bool)


def softmax(scores: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Row by row over what is real; 0 elsewhere."""
    weights = np.zeros(scores.shape)
    for row, real in enumerate(mask):
        exponentials = np.exp(scores[row, real] - scores[row].max())
        weights[row, real] = exponentials / exponentials.sum()
    return weights


def numpy_read(chosen: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights, log probability and entropy, given the choices; rows without a choice have -1."""
    weights = np.zeros(probabilities.shape)
    log_prob, entropy = np.zeros((len(chosen), 1)), np.zeros((len(chosen), 1))
    for row, position in enumerate(chosen):
        if position >= 0:
            weights[row, position] = 1
            log_prob[row] = np.log(probabilities[row, position])
            entropy[row] = -sum(p * np.log(p) for p in probabilities[row] if p > 0)
    return weights, log_prob, entropy


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_inference_takes_the_best(estimator, scores, mask):
    selection = HardSelection(estimator)
    probabilities = softmax(scores, mask)
    chosen = np.where(mask.any(axis=1), probabilities.argmax(axis=1), -1)
    assert_close(selection(scores, mask=mask), numpy_read(chosen, probabilities), atol=10 * FLOAT64_ROUNDING)
    everywhere = np.ones_like(mask)
    expected = numpy_read(scores.argmax(axis=1), softmax(scores, everywhere))
    assert_close(selection(scores), expected, atol=10 * FLOAT64_ROUNDING)
    assert_close(selection(scores, mask=everywhere, training=False), expected, atol=10 * FLOAT64_ROUNDING)


def test_the_first_of_equal_scores_is_best():
    weights, _, _ = HardSelection()(np.array([[1.0, 3.0, 2.0, 3.0], [0.0] * 4]))
    assert_close(weights, np.eye(4)[[1, 0]], atol=0)
    # A difference that the logarithm of the softmax rounds away.
    weights, _, _ = HardSelection()(np.array([[1e-8, 2e-8, -20.0]], "float32"))
    assert_close(weights, np.eye(3)[[1]], atol=0)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_training_takes_the_best_after_noise(estimator, scores, mask):
    selection = HardSelection(estimator)
    noise = np.where(np.arange(5) == [[3], [4], [2], [0]], 9.0, random(4, 5, seed=1))
    chosen = [3, 4, 2, -1]
    expected = numpy_read(chosen, softmax(scores, mask))
    assert_close(selection.select(scores, mask, noise=noise), expected, atol=10 * FLOAT64_ROUNDING)
    # Rows of the same batch may differ in the states that a loop carries.
    soft = np.array([[1], [0], [1], [1]])
    weights, log_prob, entropy = selection.select(scores, mask, soft, noise)
    assert_close(weights, np.where(soft, softmax(scores, mask), expected[0]), atol=10 * FLOAT64_ROUNDING)
    assert_close(log_prob, np.where(soft, 0, expected[1]), atol=10 * FLOAT64_ROUNDING)
    assert_close(entropy, expected[2], atol=10 * FLOAT64_ROUNDING)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_samples_follow_the_softmax(estimator):
    draws = 20_000
    scores = np.tile([[0.5, -1.0, 2.0, 5.0, 1.0]], (draws, 1)).astype("float32")
    mask = np.array([[True, True, True, False, True]])
    selection = HardSelection(estimator, soft_mixing=0.0, seed=1)
    weights, log_prob, _ = to_numpy(selection(scores, mask=mask, training=True))
    assert set(np.unique(weights)) == {0, 1}
    assert (weights.sum(axis=1) == 1).all()
    expected = softmax(scores[:1], mask)[0]
    error = np.sqrt(expected * (1 - expected) / draws)
    assert (np.abs(weights.mean(axis=0) - expected) <= 5 * error).all()
    np.testing.assert_allclose(log_prob[:, 0], np.log(weights @ expected), atol=1e-5)
    # Another call draws others.
    again, _, _ = to_numpy(selection(scores, mask=mask, training=True))
    assert (again != weights).any(axis=1).mean() > 0.2


@examples(30)
@given(
    mask=st.lists(st.booleans(), min_size=4, max_size=4).map(lambda row: np.array([row])),
    scale=st.sampled_from([0.0, 1.0, 1e3, 1e20]),
    seed=st.integers(0, 2**32 - 1),
    training=st.booleans(),
)
def test_one_real_position_has_all_the_weight(mask, scale, seed, training):
    selection = HardSelection(soft_mixing=0.0, seed=seed)
    weights, log_prob, entropy = to_numpy(
        selection((scale * random(1, 4, seed=seed)).astype("float32"), mask=mask, training=training)
    )
    assert sorted(weights[0]) == [0, 0, 0, float(mask.any())]
    assert (weights[~mask] == 0).all()
    assert np.isfinite(log_prob).all()
    assert log_prob <= 1e-6
    assert -1e-6 <= entropy <= np.log(max(mask.sum(), 1)) + 1e-6


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_soft_batches_come_as_often_as_told(estimator):
    scores = random(3, 4).astype("float32")
    everywhere = np.ones((3, 4), bool)
    selection = HardSelection(estimator, soft_mixing=0.25, seed=2)
    soft_batches, batches = 0, 200
    for _ in range(batches):
        weights, log_prob, _ = to_numpy(selection(scores, training=True))
        if (weights.max(axis=1) == 1).all():
            assert (log_prob < 0).all()
        else:
            assert_close(weights, softmax(scores, everywhere))
            assert (log_prob == 0).all()
            soft_batches += 1
    assert abs(soft_batches / batches - 0.25) < 4 * np.sqrt(0.25 * 0.75 / batches)
    for probability in (0.0, 1.0):
        selection = HardSelection(estimator, soft_mixing=probability)
        assert {float(selection.draw_soft()) for _ in range(20)} == {probability}


def test_is_computed_in_single_precision_at_least():
    scores = np.zeros((1, 70_000), "float16")
    for dtype in ("float32", "float16", "mixed_float16"):
        weights, log_prob, entropy = HardSelection(dtype=dtype)(scores)
        assert {keras.backend.standardize_dtype(t.dtype) for t in (weights, log_prob, entropy)} == {"float32"}
        assert_close((log_prob[0, 0], entropy[0, 0]), (-np.log(70_000), np.log(70_000)), atol=1e-3)


# The first call has the temperature 2, every later one half of that before it, down to 0.3.
@tensorflow_only
@pytest.mark.parametrize(("calls", "temperature"), [(0, 2.0), (1, 2.0), (2, 1.0), (9, 0.3)])
def test_straight_through_has_the_gradient_of_the_relaxation(calls, temperature, scores, mask):
    """d softmax(z / t)'r / dz = y (r - y'r) / t, at the temperature t of as many training calls."""
    import tensorflow as tf

    selection = HardSelection("straight_through", temperature=2.0, min_temperature=0.3, temperature_decay=0.5)
    for _ in range(calls):
        selection.draw_noise((1,))
    noise, readout = random(4, 5, seed=1), random(4, 5, seed=2)
    variable = tf.Variable(scores)
    with tf.GradientTape() as tape:
        weights, _, _ = selection.select(variable, mask, noise=noise)
        loss = tf.reduce_sum(weights * readout)
    assert set(np.unique(weights)) == {0, 1}
    relaxed = softmax((scores + noise) / temperature, mask)
    expected = relaxed * (readout - (relaxed * readout).sum(axis=1, keepdims=True)) / temperature
    assert_close(tape.gradient(loss, variable), expected, atol=1e-7)  # The temperature is in float32.


@tensorflow_only
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_soft_weights_have_the_gradient_of_the_softmax(estimator, scores, mask):
    import tensorflow as tf

    selection, readout = HardSelection(estimator), random(4, 5, seed=2)
    variable = tf.Variable(scores)
    with tf.GradientTape() as tape:
        weights, _, _ = selection.select(variable, mask, np.ones((4, 1)), random(4, 5, seed=1))
        loss = tf.reduce_sum(weights * readout)
    probabilities = softmax(scores, mask)
    expected = probabilities * (readout - (probabilities * readout).sum(axis=1, keepdims=True))
    assert_close(tape.gradient(loss, variable), expected, atol=1e-12)


def gradients_of_small_batches(selection, scores, loss_of_positions, batches, rows, with_reinforce_loss=True):
    """Gradients of the mean loss by the scores, one for each batch."""
    import tensorflow as tf

    @tf.function
    def gradients(noise):
        def gradient(noise):
            variable = tf.constant(scores)
            with tf.GradientTape() as tape:
                tape.watch(variable)
                weights, log_prob, entropy = selection.select(
                    tf.tile(variable[None], (rows, 1)), None, None, noise
                )
                losses = tf.linalg.matvec(weights, tf.constant(loss_of_positions))
                if with_reinforce_loss:
                    losses += selection.reinforce_loss(
                        losses, log_prob[:, 0], entropy[:, 0], tf.ones(rows, scores.dtype)
                    )
                loss = tf.reduce_mean(losses)
            return tape.gradient(loss, variable, unconnected_gradients="zero")

        return tf.map_fn(gradient, noise, parallel_iterations=1, fn_output_signature=scores.dtype)

    return gradients(selection.draw_noise((batches, rows, len(scores)))).numpy()


@tensorflow_only
def test_reinforce_is_unbiased_and_a_baseline_makes_it_steadier():
    """In batches of 2, where a baseline that knew the batch's own losses would show."""
    scores, loss_of_positions = np.array([0.5, -0.3, 1.0]), np.array([4.0, 6.0, 5.0])
    probabilities = softmax(scores[None], np.ones((1, 3), bool))[0]
    expected = probabilities * (loss_of_positions - probabilities @ loss_of_positions)
    spread = {}
    for decay in (0.5, 1.0):
        selection = HardSelection(baseline_decay=decay, entropy=0.0, seed=3, dtype="float64")
        found = gradients_of_small_batches(selection, scores, loss_of_positions, batches=4000, rows=2)
        spread[decay] = found.std(axis=0)
        assert (np.abs(found.mean(axis=0) - expected) <= 5 * spread[decay] / np.sqrt(len(found))).all()
    # Without a baseline the estimate is no further off, but varies far more.
    assert (spread[0.5] < spread[1.0] / 3).all()
    assert (np.abs(expected) > 15 * spread[0.5] / np.sqrt(4000)).all(), "expected a test with power"


@tensorflow_only
def test_reinforce_rewards_entropy(scores, mask):
    """The entropy's gradient is -p (log p + H); choices without an advantage leave nothing else."""
    import tensorflow as tf

    selection = HardSelection(entropy=0.7)
    variable = tf.Variable(scores)
    with tf.GradientTape() as tape:
        _, log_prob, entropy = selection.select(variable, mask, noise=random(4, 5, seed=1))
        zeros = tf.zeros(4, "float64")
        loss = tf.reduce_sum(selection.reinforce_loss(zeros, log_prob[:, 0], entropy[:, 0], zeros))
    probabilities = softmax(scores, mask)
    logarithms = np.log(np.where(probabilities > 0, probabilities, 1))
    entropies = -(probabilities * logarithms).sum(axis=1, keepdims=True)
    expected = 0.7 * probabilities * (logarithms + entropies)
    assert_close(tape.gradient(loss, variable), expected, atol=1e-7)


def test_the_baseline_is_the_average_loss_per_token_of_earlier_batches():
    selection = HardSelection(baseline_decay=0.75, entropy=0.5, dtype="float64")
    losses, counts = np.array([8.0, 1.0, 0.0]), np.array([4.0, 2.0, 0.0])
    log_probs, entropies = np.array([-1.0, -3.0, 0.0]), np.array([0.5, 1.0, 0.0])

    def credit(factor, **arguments):
        return selection.reinforce_loss(factor * losses, log_probs, entropies, counts, **arguments)

    nothing = np.zeros(3)
    assert_close(selection.reinforce_loss(nothing, nothing, nothing, nothing), nothing, atol=0)
    # The first batch with a token has nothing to compare with.
    assert_close(credit(1), np.array([-8.25, -3.5, 0]))
    # 9 in 6 tokens make 1.5 for each.
    assert_close(credit(1), np.array([-(8 - 6) - 0.25, -3 * (1 - 3) - 0.5, 0]))
    assert_close(credit(3), np.array([-(24 - 6) - 0.25, -3 * (3 - 3) - 0.5, 0]))
    # Batches weigh 1, 3/4 and 9/16: (1 * 27 + 3/4 * 9 + 9/16 * 9) in (1 + 3/4 + 9/16) * 6 tokens.
    baseline = (27 + 0.75 * 9 + 0.5625 * 9) / (2.3125 * 6)
    assert_close(credit(1, training=False), nothing, atol=0)
    assert_close(credit(0), np.array([4 * baseline - 0.25, 6 * baseline - 0.5, 0]))


def test_straight_through_adds_nothing_to_the_loss():
    selection = HardSelection("straight_through")
    ones = np.ones(3, "float32")
    assert_close(selection.reinforce_loss(ones, ones, ones, ones), np.zeros(3), atol=0)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_configuration(estimator):
    arguments = {
        "estimator": estimator,
        "baseline_decay": 0.8,
        "entropy": 0.1,
        "soft_mixing": 0.3,
        "temperature": 2.0,
        "min_temperature": 0.1,
        "temperature_decay": 0.99,
        "seed": 5,
    }
    selection = HardSelection(**arguments)
    config = selection.get_config()
    assert arguments.items() <= config.items()
    clone = HardSelection.from_config(config)
    assert clone.get_config() == config
    assert len(clone.non_trainable_weights) == len(clone.weights) == 3 - len(estimator.split("_"))
    scores = random(50, 4)
    assert_close(clone(scores, training=True), selection(scores, training=True), atol=0)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"estimator": "gumbel"}, "expected one of 'reinforce', 'straight_through', got 'gumbel'"),
        ({"baseline_decay": 1.1}, r"expected a float in \[0, 1\], got 1.1"),
        ({"soft_mixing": -0.1}, r"expected a float in \[0, 1\], got -0.1"),
        ({"entropy": -1.0}, "expected a non-negative float, got -1.0"),
        ({"temperature": 0.0}, "expected a positive float, got 0.0"),
        ({"min_temperature": 0.0}, "expected a positive float, got 0.0"),
        ({"min_temperature": 1.5}, r"expected at most `temperature` \(1.0\), got 1.5"),
        ({"temperature_decay": 0.0}, r"expected a float in \(0, 1\], got 0.0"),
    ],
)
def test_invalid_arguments(arguments, expected):
    message = f"Received an invalid value for argument `{next(iter(arguments))}`, {expected}\\."
    with pytest.raises(ValueError, match=message):
        HardSelection(**arguments)
