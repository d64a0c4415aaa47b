"""Tests of IdentityRNN against the paper's equation and keras.layers.SimpleRNN."""

import keras
import numpy as np
import pytest
from layer_checks import FLOAT64_ROUNDING, assert_close, check_gradients, check_layer, random, to_numpy

from layers import RecurrentStack
from layers.rnn.identity_rnn import IdentityRNN

BATCH, TIME, FEATURES, UNITS = 4, 6, 3, 5


@pytest.fixture
def inputs() -> np.ndarray:
    return random(BATCH, TIME, FEATURES).astype("float32")


@pytest.fixture
def mask() -> np.ndarray:
    """Rows of all lengths, the last one without any real step."""
    return np.arange(TIME) < np.array([TIME, 4, 1, 0])[:, None]


def numpy_irnn(sequence, kernel, recurrent_kernel, bias):
    """h(t) = relu(W x(t) + U h(t-1) + b), for one row; returns all h."""
    outputs, state = [], np.zeros(len(bias))
    for x in sequence:
        state = np.maximum(x @ kernel + state @ recurrent_kernel + bias, 0)
        outputs.append(state)
    return np.array(outputs)


@pytest.mark.parametrize("options", [{}, {"return_sequences": True, "return_state": True, "dropout": 0.2}])
def test_layer(options, inputs, mask, tmp_path):
    sequences = options.get("return_sequences", False)
    check_layer(
        # The default kernel lets so little in that nothing would show.
        lambda **kwargs: IdentityRNN(**{"units": UNITS, "kernel_initializer": "ones", **options, **kwargs}),
        {"sequences": inputs, "mask": mask},
        expected_shapes=[(BATCH, TIME, UNITS), (BATCH, UNITS)] if sequences else [(BATCH, UNITS)],
        expected_trainable_weights=3,
        tmp_path=tmp_path,
        invalid_arguments={"units": [0, -1]},
    )


def test_initial_weights():
    layer = IdentityRNN(300)
    layer.build((None, None, 200))
    kernel, recurrent_kernel, bias = layer.get_weights()
    np.testing.assert_allclose([kernel.mean(), kernel.std()], [0, 1e-3], atol=2e-5)
    np.testing.assert_array_equal(recurrent_kernel, np.eye(300))
    np.testing.assert_array_equal(bias, np.zeros(300))
    other = IdentityRNN(300)
    other.build((None, None, 200))
    assert (other.get_weights()[0] != kernel).all()


def test_equals_the_equation(inputs):
    weights = [random(FEATURES, UNITS), random(UNITS, UNITS, seed=1), random(UNITS, seed=2)]
    layer = IdentityRNN(UNITS, return_sequences=True, dtype="float64")
    layer.build(inputs.shape)
    layer.set_weights(weights)
    expected = np.array([numpy_irnn(row.astype("float64"), *weights) for row in inputs])
    # Relative, since nothing keeps the states small.
    np.testing.assert_allclose(to_numpy(layer(inputs)), expected, rtol=10 * FLOAT64_ROUNDING, atol=1e-6)


def test_is_a_simple_rnn_with_other_defaults(inputs, mask):
    layer = IdentityRNN(UNITS, return_sequences=True)
    simple = keras.layers.SimpleRNN(UNITS, activation="relu", return_sequences=True)
    simple.build(inputs.shape)
    layer.build(inputs.shape)
    simple.set_weights(layer.get_weights())
    assert_close(layer(inputs, mask=mask), simple(inputs, mask=mask), atol=0)


def test_untrained_it_remembers_forever():
    layer = IdentityRNN(UNITS)
    initial = random(1, UNITS).astype("float32")
    outputs = layer(np.zeros((1, 1000, FEATURES), "float32"), initial_state=[np.abs(initial)])
    assert_close(outputs, np.abs(initial), atol=0)


def test_any_argument_of_simple_rnn_can_be_given_and_comes_back():
    options = {
        "activation": "tanh",
        "use_bias": False,
        "kernel_initializer": "ones",
        "recurrent_initializer": "orthogonal",
        "bias_initializer": "ones",
        "recurrent_dropout": 0.25,
        "dropout": 0.5,
        "seed": 3,
        "go_backwards": True,
    }
    layer = IdentityRNN(UNITS, **options)
    assert layer.activation is keras.activations.tanh
    assert isinstance(layer.recurrent_initializer, keras.initializers.Orthogonal)
    serialized = keras.saving.serialize_keras_object(layer)
    assert serialized["registered_name"] == "rnnpipe>IdentityRNN"
    clone = keras.saving.deserialize_keras_object(serialized)
    assert isinstance(clone, IdentityRNN)
    assert clone.get_config() == layer.get_config()
    assert (clone.dropout, clone.recurrent_dropout, clone.cell.seed) == (0.5, 0.25, 3)
    assert clone.go_backwards
    assert not clone.use_bias


def test_can_be_stacked(inputs, mask):
    outputs, states = RecurrentStack(IdentityRNN(UNITS), depth=2, bidirectional=True)(inputs, mask=mask)
    assert outputs.shape == (BATCH, TIME, 2 * UNITS)
    assert [[state.shape for state in layer] for layer in states] == [[(BATCH, 2 * UNITS)]] * 2


def test_gradients_equal_finite_differences(inputs):
    layer = IdentityRNN(UNITS, return_sequences=True, dtype="float64")
    layer.build(inputs.shape)
    layer.set_weights([random(FEATURES, UNITS), random(UNITS, UNITS, seed=1) / 2, random(UNITS, seed=2)])
    check_gradients(
        layer,
        {"sequences": inputs.astype("float64")},
        lambda sequences, weights: np.array([numpy_irnn(row, *weights) for row in sequences]),
    )
