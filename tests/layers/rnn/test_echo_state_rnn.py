"""Tests of EchoStateRNN against the equation, keras.layers.SimpleRNN and reservoirpy."""

from collections.abc import Callable
from functools import cache
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from layer_checks import FLOAT64_ROUNDING, assert_close, check_layer, examples, random, to_numpy
from reservoirpy.nodes import Reservoir

from layers import EchoStateRNN, EchoStateRNNCell, RecurrentStack
from layers.rnn import echo_state_rnn

BATCH, TIME, FEATURES, UNITS = 4, 6, 3, 5
# So many units for three features that the inputs are projected step by step.
MANY_UNITS = 60


@pytest.fixture
def inputs() -> np.ndarray:
    return random(BATCH, TIME, FEATURES).astype("float32")


@pytest.fixture
def mask() -> np.ndarray:
    """Rows of all lengths, the last one without any real step."""
    return np.arange(TIME) < np.array([TIME, 4, 1, 0])[:, None]


@pytest.fixture(params=["dense", "sparse"])
def products(request, monkeypatch) -> None:
    """Runs a test with both kinds of products, whatever would be faster."""
    if request.param == "sparse":
        if keras.backend.backend() != "tensorflow":
            pytest.skip("JAX has dense products only")
        monkeypatch.setattr(echo_state_rnn, "_SPARSE_UNITS", 1)
        monkeypatch.setattr(echo_state_rnn, "_SPARSE_CONNECTIVITY", 1.0)


def built(layer: keras.Layer, features: int = FEATURES) -> keras.Layer:
    layer.build((None, None, features) if isinstance(layer, keras.layers.RNN) else (None, features))
    return layer


def numpy_states(sequence, weights, leak_rate, activation=np.tanh, state=0.0):
    """x <- (1 - a) x + a f(W x + W_in u + b), for one row; returns the states after all steps."""
    kernel, recurrent_kernel, bias = weights
    states = []
    for u in sequence:
        state = np.zeros(len(bias)) + state
        new = activation(recurrent_kernel.T @ state + kernel.T @ u + bias)
        state = (1 - leak_rate) * state + leak_rate * new
        states.append(state)
    return np.array(states)


@pytest.mark.usefixtures("products")
@pytest.mark.parametrize(
    ("units", "options"),
    [
        (UNITS, {}),
        (UNITS, {"return_sequences": True, "return_state": True, "leak_rate": 0.3, "bias_scaling": 0.5}),
        (MANY_UNITS, {"return_sequences": True}),
    ],
)
def test_layer(units, options, inputs, mask, tmp_path):
    sequences = (BATCH, TIME, units) if "return_sequences" in options else (BATCH, units)
    invalid = {
        "units": [0, -1, 1.5],
        "spectral_radius": [0.0, -0.9, np.inf, np.nan],
        "leak_rate": [0.0, -0.1, 1.1, np.nan],
        "input_scaling": [-1.0, np.inf],
        "bias_scaling": [-1.0, np.nan],
        "connectivity": [0, 0.0, -0.1, 1.1],
        "seed": [-1, 0.5],
    }
    check_layer(
        lambda **kwargs: EchoStateRNN(**{"units": units, **options, **kwargs}),
        {"sequences": inputs, "mask": mask},
        expected_shapes=[sequences] + [(BATCH, units)] * ("return_state" in options),
        expected_trainable_weights=0,
        expected_non_trainable_weights=3,
        tmp_path=tmp_path,
        invalid_arguments=invalid if not options else None,
    )


@pytest.mark.usefixtures("products")
@pytest.mark.parametrize("go_backwards", [False, True])
@pytest.mark.parametrize("units", [UNITS, MANY_UNITS])
@pytest.mark.parametrize("leak_rate", [0.3, 1.0])
def test_equals_the_equation(leak_rate, units, go_backwards, inputs, mask):
    layer = EchoStateRNN(
        units,
        leak_rate=leak_rate,
        bias_scaling=0.5,
        return_sequences=True,
        return_state=True,
        go_backwards=go_backwards,
        dtype="float64",
    )
    initial = random(BATCH, units)
    outputs, final = to_numpy(layer(inputs, initial_state=[initial], mask=mask))
    if go_backwards:
        inputs, mask = inputs[:, ::-1], mask[:, ::-1]
    for row in range(BATCH):
        real = inputs[row, mask[row]].astype("float64")
        expected = numpy_states(real, layer.get_weights(), leak_rate, state=initial[row])
        assert_close(outputs[row, mask[row]], expected.reshape(-1, units), atol=FLOAT64_ROUNDING)
        assert_close(final[row], expected[-1] if len(real) else initial[row], atol=FLOAT64_ROUNDING)


def test_activations_beside_tanh(inputs):
    for activation, function in [("relu", lambda x: np.maximum(x, 0)), (None, lambda x: x)]:
        layer = EchoStateRNN(UNITS, activation=activation, return_sequences=True, dtype="float64")
        outputs = to_numpy(layer(inputs))
        for row, sequence in zip(outputs, inputs.astype("float64"), strict=True):
            expected = numpy_states(sequence, layer.get_weights(), 1.0, function)
            assert_close(row, expected, atol=FLOAT64_ROUNDING)


@pytest.mark.usefixtures("products")
@pytest.mark.parametrize("units", [UNITS, MANY_UNITS])
def test_without_leak_it_is_a_simple_rnn(units, inputs, mask):
    options = {"return_sequences": True, "return_state": True}
    layer, simple = EchoStateRNN(units, bias_scaling=1.0, **options), keras.layers.SimpleRNN(units, **options)
    built(simple).set_weights(built(layer).get_weights())
    assert_close(layer(inputs, mask=mask), simple(inputs, mask=mask))


@pytest.mark.usefixtures("products")
@pytest.mark.parametrize("units", [UNITS, MANY_UNITS])
def test_options_of_keras_rnn_do_what_they_do_there(units, inputs, mask):
    layer = EchoStateRNN(units, leak_rate=0.5, return_sequences=True)
    expected = layer(inputs, mask=mask)
    for options in [{"unroll": True}, {"zero_output_for_mask": True}]:
        other = built(EchoStateRNN.from_config({**layer.get_config(), **options}))
        other.set_weights(layer.get_weights())
        zeroed = mask[..., None] if "zero_output_for_mask" in options else 1
        assert_close(other(inputs, mask=mask), to_numpy(expected) * zeroed)
    cell = built(EchoStateRNNCell(units, leak_rate=0.5))
    cell.set_weights(layer.get_weights())
    assert_close(keras.layers.RNN(cell, return_sequences=True)(inputs, mask=mask), expected)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="JAX has dense products only")
def test_sparse_products_are_for_large_sparse_reservoirs_on_a_cpu(monkeypatch):
    assert not EchoStateRNN(1000).supports_jit
    assert not EchoStateRNN(1000, connectivity=0.05, activation="relu", dtype="float64").supports_jit
    dense = [
        {"units": 500},
        {"connectivity": 0.1},
        {"activation": "softmax"},  # Mixes units.
        {"dtype": "mixed_float16"},
        {"unroll": True},
        {"zero_output_for_mask": True},
    ]
    assert all(EchoStateRNN(**{"units": 1000, **options}).supports_jit for options in dense)
    devices = [SimpleNamespace(device_type="CPU"), SimpleNamespace(device_type="GPU")]
    monkeypatch.setattr("tensorflow.config.list_physical_devices", lambda: devices)
    assert EchoStateRNN(1000).supports_jit


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="JAX has dense products only")
@pytest.mark.parametrize("return_sequences", [False, True])
@pytest.mark.parametrize("go_backwards", [False, True])
def test_sparse_products_change_nothing(go_backwards, return_sequences, inputs):
    """Nor do they where no step is real yet, in compiled functions, and for gradients of all but R."""
    import tensorflow as tf

    layer = built(
        EchoStateRNN(
            MANY_UNITS,
            leak_rate=0.3,
            bias_scaling=0.5,
            return_sequences=return_sequences,
            return_state=True,
            go_backwards=go_backwards,
            dtype="float64",
        )
    )
    kernel, recurrent_kernel, bias = layer.get_weights()
    layer.set_weights([kernel, random(*recurrent_kernel.shape) / MANY_UNITS, bias])  # Other zeros: none.
    sources = [tf.constant(inputs, "float64"), tf.constant(random(BATCH, MANY_UNITS))]
    sources += [layer.cell.kernel.value, layer.cell.bias.value]
    holes = np.random.default_rng(0).random((BATCH, TIME)) < 0.5
    holes[:3] = [[False] * TIME, [True] * TIME, [False] + [True] * (TIME - 1)]

    def results(mask):
        with tf.GradientTape() as tape:
            tape.watch(sources)
            outputs = layer(sources[0], initial_state=[sources[1]], mask=mask)
            loss = sum(tf.reduce_sum(tensor**3) for tensor in outputs)
        return outputs, tape.gradient(loss, sources)

    for run in (results, tf.function(results)):
        for mask in (None, tf.constant(holes)):
            layer._is_sparse = False
            expected = results(mask)
            layer._is_sparse = True
            assert_close(run(mask), expected, atol=1e-12)


@pytest.mark.usefixtures("products")
def test_equals_reservoirpy():
    layer = EchoStateRNN(MANY_UNITS, leak_rate=0.3, bias_scaling=0.5, return_sequences=True, dtype="float64")
    kernel, recurrent_kernel, bias = built(layer).get_weights()
    long = random(2, 50, FEATURES)
    for sequence, states in zip(long, to_numpy(layer(long)), strict=True):
        reservoir = Reservoir(W=recurrent_kernel.T, Win=kernel.T, bias=bias, lr=0.3)
        assert_close(states, reservoir.run(sequence), atol=10 * FLOAT64_ROUNDING)


def test_no_weight_is_trainable(inputs):
    layer = built(EchoStateRNN(UNITS))
    layer.trainable = True
    assert layer.trainable_weights == []
    model = keras.Sequential([keras.layers.Input(inputs.shape[1:]), layer, keras.layers.Dense(1)])
    before = layer.get_weights()
    model.compile("sgd", "mse")
    model.train_on_batch(inputs, np.ones((BATCH, 1)))
    assert_close(layer.get_weights(), before, atol=0)


@pytest.mark.usefixtures("products")
@pytest.mark.parametrize("units", [UNITS, MANY_UNITS])
def test_gradient_of_the_inputs_equals_finite_differences(units, inputs, mask):
    if keras.backend.backend() != "tensorflow":
        pytest.skip("uses a GradientTape")
    import tensorflow as tf

    layer = EchoStateRNN(units, leak_rate=0.6, return_sequences=True, dtype="float64")
    tensor = tf.constant(inputs.astype("float64"))
    readout = random(TIME, units)
    with tf.GradientTape() as tape:
        tape.watch(tensor)
        outputs = layer(tensor, mask=mask)
        loss = tf.reduce_sum(outputs * readout * mask[..., None])
    gradient = tape.gradient(loss, tensor).numpy()
    assert (gradient[~mask] == 0).all()
    row, weights, step = inputs[0].astype("float64"), layer.get_weights(), 1e-6
    for index in np.ndindex(row.shape):
        losses = []
        for sign in (1, -1):
            moved = row.copy()
            moved[index] += sign * step
            losses.append((numpy_states(moved, weights, 0.6) * readout).sum())
        np.testing.assert_allclose(gradient[0][index], (losses[0] - losses[1]) / (2 * step), rtol=1e-6)


def states_from(layer: EchoStateRNN) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """A compiled function from inputs and initial states to the states after all steps."""
    sequences, initial = keras.Input((None, 1)), keras.Input((layer.cell.units,))
    model = keras.Model([sequences, initial], layer(sequences, initial_state=[initial]))
    return lambda *arrays: np.asarray(model.predict_on_batch([a.astype("float32") for a in arrays]))


@cache
def forgetful_states() -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """The largest singular value, 0.9, bounds how far two states stay apart."""
    layer = EchoStateRNN(MANY_UNITS, return_sequences=True, leak_rate=0.5, seed=0)
    kernel, recurrent_kernel, bias = built(layer, features=1).get_weights()
    layer.set_weights([kernel, 0.9 * recurrent_kernel / np.linalg.norm(recurrent_kernel, 2), bias])
    return states_from(layer)


@examples(30)
@given(seed=st.integers(0, 2**32 - 1), scale=st.floats(0, 10))
def test_echo_state_property(seed, scale):
    """Whatever the inputs and the initial states, these are forgotten, here by 5% a step or more."""
    inputs, initial = scale * random(1, 50, 1, seed=seed), random(2, MANY_UNITS, seed=seed + 1)
    one, other = forgetful_states()(np.repeat(inputs, 2, axis=0), initial)
    bounds = np.linalg.norm(initial[0] - initial[1]) * 0.95 ** np.arange(1, 51)
    assert (np.linalg.norm(one - other, axis=-1) <= bounds + 1e-5).all()


def test_by_default_the_initial_state_is_forgotten():
    states = states_from(EchoStateRNN(200, seed=0))
    one, other = states(np.repeat(random(1, 400, 1), 2, axis=0), random(2, 200, seed=1))
    assert_close(one, other, atol=1e-5)


@pytest.mark.usefixtures("products")
@pytest.mark.parametrize("seed", [None, 3])
def test_can_be_stacked_deep_and_in_both_directions(seed, inputs, mask):
    stack = RecurrentStack(EchoStateRNN(UNITS, leak_rate=0.5, seed=seed), depth=2, bidirectional=True)
    outputs, states = to_numpy(stack(inputs, mask=mask))
    assert stack.trainable_weights == []
    weights = stack.get_weights()
    kernels = weights[1::3]
    assert all((kernels[i] != kernels[j]).any() for i in range(4) for j in range(i))
    for row, length in enumerate([TIME, 4, 1]):
        layer_inputs = inputs[row, :length].astype("float64")
        for index in range(2):
            forward = numpy_states(layer_inputs, weights[6 * index : 6 * index + 3], 0.5)
            backward = numpy_states(layer_inputs[::-1], weights[6 * index + 3 : 6 * index + 6], 0.5)
            layer_inputs = np.concatenate([forward, backward[::-1]], axis=-1)
            assert_close(states[index][0][row], np.concatenate([forward[-1], backward[-1]]))
        assert_close(outputs[row, :length], layer_inputs)
    assert (outputs[~mask] == 0).all()


def test_in_keras_bidirectional(inputs, mask):
    layer = keras.layers.Bidirectional(EchoStateRNN(UNITS, return_sequences=True))
    assert layer(inputs, mask=mask).shape == (BATCH, TIME, 2 * UNITS)


@pytest.mark.usefixtures("products")
def test_stateful(inputs):
    whole = EchoStateRNN(UNITS, leak_rate=0.5, return_sequences=True, seed=0)(inputs)
    layer = EchoStateRNN(UNITS, leak_rate=0.5, return_sequences=True, seed=0, stateful=True)
    for _ in range(2):
        pieces = [to_numpy(layer(piece)) for piece in (inputs[:, :2], inputs[:, 2:])]
        assert_close(np.concatenate(pieces, axis=1), whole)
        layer.reset_state()


def test_loading_draws_no_weights_anew(tmp_path, inputs):
    model = keras.Sequential([keras.layers.Input((None, FEATURES)), EchoStateRNN(UNITS, seed=0)])
    model.layers[0].set_weights([2 * weights for weights in model.layers[0].get_weights()])
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert_close(loaded.get_weights(), model.get_weights(), atol=0)


@pytest.mark.parametrize("shape", [(BATCH, FEATURES), (BATCH, TIME, FEATURES, 1)])
def test_wrong_rank(shape):
    with pytest.raises(ValueError, match=f"expected ndim=3, found ndim={len(shape)}"):
        EchoStateRNN(UNITS)(np.zeros(shape, "float32"))
