"""Tests of AttentionPooling against the papers' equations."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from layer_checks import (
    FLOAT64_ROUNDING,
    assert_close,
    check_gradients,
    check_layer,
    examples,
    random,
    to_numpy,
)

from layers import AttentionPooling, HardSelection

BATCH, TIME, FEATURES, UNITS = 4, 6, 3, 5


@pytest.fixture
def inputs() -> np.ndarray:
    return random(BATCH, TIME, FEATURES).astype("float32")


@pytest.fixture
def mask() -> np.ndarray:
    """A full row, one padded on the right, one with gaps, and one without any real step."""
    return np.array([[1] * 6, [1, 1, 1, 1, 0, 0], [0, 1, 0, 1, 1, 0], [0] * 6], dtype=bool)


def numpy_pooling(inputs, mask, weights):
    """Yang et al. (2016), equations 5 to 7, over the real steps of each row; returns vectors and weights."""
    kernel, bias, score = weights
    pooled, attention = np.zeros((len(inputs), inputs.shape[2])), np.zeros(inputs.shape[:2])
    for row, steps in enumerate(inputs):
        real = np.flatnonzero(mask[row])
        exponentials = np.array([np.exp(np.tanh(steps[t] @ kernel + bias) @ score[:, 0]) for t in real])
        for t, exponential in zip(real, exponentials, strict=True):
            attention[row, t] = exponential / exponentials.sum()
            pooled[row] += attention[row, t] * steps[t]
    return pooled, attention


@pytest.mark.parametrize("units", [UNITS, None])
def test_layer(units, inputs, mask, tmp_path):
    check_layer(
        lambda **kwargs: AttentionPooling(**{"units": units, **kwargs}),
        {"inputs": inputs, "mask": mask},
        expected_shapes=[(BATCH, FEATURES)],
        expected_trainable_weights=3,
        tmp_path=tmp_path,
        invalid_arguments={"units": [0, -1, 2.5]},
    )


@pytest.mark.parametrize("units", [UNITS, None])
def test_equals_the_equations(units, inputs, mask):
    layer = AttentionPooling(units, bias_initializer="random_normal", dtype="float64")
    pooled, attention = to_numpy(layer(inputs, mask=mask, return_attention_scores=True))
    assert layer.get_weights()[1].shape == (units or FEATURES,)
    expected = numpy_pooling(inputs.astype("float64"), mask, layer.get_weights())
    assert_close((pooled, attention), expected, atol=FLOAT64_ROUNDING)
    assert_close(layer(inputs, mask=mask), pooled, atol=0)
    assert (pooled[3] == 0).all()
    assert (attention[~mask] == 0).all()
    expected = numpy_pooling(inputs.astype("float64"), np.ones_like(mask), layer.get_weights())
    assert_close(layer(inputs, return_attention_scores=True), expected, atol=FLOAT64_ROUNDING)


def test_gradients_equal_finite_differences(inputs, mask):
    layer = AttentionPooling(UNITS, bias_initializer="random_normal", dtype="float64")
    layer.build(inputs.shape)
    check_gradients(
        layer,
        {"inputs": inputs.astype("float64")},
        lambda inputs, weights: numpy_pooling(inputs, mask, weights)[0],
        mask=mask,
    )


@examples(20)
@given(
    mask=st.lists(st.booleans(), min_size=TIME, max_size=TIME).map(lambda row: np.array([row])),
    scale=st.floats(0, 1e3),
    seed=st.integers(0, 2**32 - 1),
)
def test_pooled_vector_is_an_average_of_the_real_steps(mask, scale, seed):
    layer = AttentionPooling(UNITS, keras.initializers.RandomNormal(stddev=3.0, seed=seed))
    inputs = (scale * random(1, TIME, FEATURES, seed=seed)).astype("float32")
    junk = np.where(mask[..., None], inputs, np.inf)
    pooled, attention = to_numpy(layer(junk, mask=mask, return_attention_scores=True))
    assert (attention[~mask] == 0).all()
    np.testing.assert_allclose(attention.sum(), float(mask.any()), atol=1e-6)
    np.testing.assert_allclose(pooled[0], attention[0] @ inputs[0], rtol=1e-5, atol=1e-5 * (scale + 1e-3))


def test_small_weights_survive_half_precision():
    """A softmax that sums in float16 would overflow at 65504."""
    layer = AttentionPooling(1, dtype="float16")
    pooled, weights = layer(np.ones((1, 70_000, 1), "float16"), return_attention_scores=True)
    np.testing.assert_allclose(to_numpy(weights), 1 / 70_000, rtol=0.01)
    np.testing.assert_allclose(to_numpy(pooled), 1.0, rtol=0.01)


def test_initializers_and_regularizers_reach_the_weights(inputs):
    layer = AttentionPooling(2, "ones", "zeros", kernel_regularizer="l1", bias_regularizer="l1")
    layer(inputs)
    # Every kernel entry costs 0.01.
    assert_close(sorted(layer.losses, key=float), [0.0, 0.01 * 2, 0.01 * 2 * FEATURES])


@pytest.mark.parametrize("seed", [None, 3])
def test_kernel_and_score_start_different(seed):
    layer = AttentionPooling(1, keras.initializers.RandomNormal(seed=seed))
    layer.build((None, None, 1))
    assert layer.get_weights()[0] != layer.get_weights()[2]


def test_an_initializer_may_be_a_function():
    layer = AttentionPooling(2, lambda shape, dtype: keras.ops.full(shape, 7, dtype))
    layer.build((None, None, 3))
    assert (layer.get_weights()[2] == 7).all()


def test_mask_is_not_passed_on(inputs, mask):
    masked = keras.layers.Masking()(np.where(mask[..., None], inputs, 0))
    layer = AttentionPooling(UNITS)
    pooled = layer(masked)
    assert getattr(pooled, "_keras_mask", None) is None
    assert_close(pooled, layer(inputs, mask=mask))


def test_hard_layer(inputs, mask, tmp_path):
    """Trained through its result alone, by the relaxation."""
    # Large enough that rounding to half precision changes no choice.
    initializer = keras.initializers.RandomNormal(stddev=1.0, seed=1)
    check_layer(
        lambda **kwargs: AttentionPooling(
            UNITS, initializer, **{"selection": HardSelection("straight_through"), **kwargs}
        ),
        {"inputs": inputs, "mask": mask},
        expected_shapes=[(BATCH, FEATURES)],
        expected_trainable_weights=3,
        expected_non_trainable_weights=1,
        tmp_path=tmp_path,
        invalid_arguments={"selection": ["reinforce", True]},
    )


def test_hard_pooling_takes_the_step_with_the_largest_weight(inputs, mask):
    layer = AttentionPooling(UNITS, bias_initializer="random_normal", selection=HardSelection())
    pooled, weights, log_prob, entropy = to_numpy(layer(inputs, mask=mask, return_selection=True))
    trained = [weight.numpy() for weight in layer.trainable_weights]
    _, soft = numpy_pooling(inputs.astype("float64"), mask, trained)
    chosen = np.eye(TIME)[soft.argmax(axis=1)] * mask.any(axis=1, keepdims=True)
    assert_close(weights, chosen, atol=0)
    assert_close(pooled, (chosen[..., None] * inputs).sum(axis=1))
    logarithms = np.log(np.where(soft > 0, soft, 1))
    assert_close(log_prob, (chosen * logarithms).sum(axis=1))
    assert_close(entropy, -(soft * logarithms).sum(axis=1))
    assert_close(layer(inputs, mask=mask), pooled, atol=0)
    assert_close(layer(inputs, mask=mask, return_attention_scores=True), (pooled, weights), atol=0)
    assert_close(layer(inputs, mask=mask, training=False), pooled, atol=0)


def test_hard_pooling_samples_in_training(inputs, mask):
    rows = 4000
    layer = AttentionPooling(UNITS, selection=HardSelection(soft_mixing=0.0, seed=1))
    inputs, mask = np.repeat(inputs[1:2], rows, axis=0), np.repeat(mask[1:2], rows, axis=0)
    pooled, weights, log_prob, _ = to_numpy(layer(inputs, mask=mask, training=True, return_selection=True))
    _, soft = numpy_pooling(inputs[:1], mask[:1], [weight.numpy() for weight in layer.trainable_weights])
    assert (weights.max(axis=1) == 1).all()
    np.testing.assert_allclose(pooled, (weights[..., None] * inputs).sum(axis=1), atol=1e-6)
    assert (np.abs(weights.mean(axis=0) - soft[0]) <= 5 * np.sqrt(soft[0] * (1 - soft[0]) / rows)).all()
    np.testing.assert_allclose(log_prob, np.log((weights * soft).sum(axis=1)), atol=1e-5)


def test_soft_pooling_has_no_selection_to_return(inputs):
    message = "Received an invalid value for argument `return_selection`, expected `False` for a pooling"
    with pytest.raises(ValueError, match=message):
        AttentionPooling()(inputs, return_selection=True)
