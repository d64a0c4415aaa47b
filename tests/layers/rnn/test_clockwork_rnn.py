"""Tests of ClockworkRNN and its cell against the paper's equation, each other and keras.layers.SimpleRNN."""

from functools import partial

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

from layers import ClockworkRNN, ClockworkRNNCell, RecurrentStack

BATCH, TIME, FEATURES, UNITS, PERIODS = 4, 6, 3, 7, (1, 2, 3)
ON_TENSORFLOW = keras.backend.backend() == "tensorflow"
needs_tensorflow = pytest.mark.skipif(not ON_TENSORFLOW, reason="uses tf.function")


@pytest.fixture
def inputs() -> np.ndarray:
    return random(BATCH, TIME, FEATURES).astype("float32")


@pytest.fixture
def mask() -> np.ndarray:
    """Padding on the right and on the left, a gap, and a row without any real step."""
    return np.array([[1, 1, 1, 1, 0, 0], [0, 0, 1, 1, 1, 1], [1, 0, 1, 0, 0, 1], [0, 0, 0, 0, 0, 0]], bool)


def numpy_clockwork(sequence, weights, periods, state):
    """Koutnik et al. (2014), equation 1 with the rows of W_H and W_I chosen by the clock, for one row.

    Module i reads the modules j with T_j >= T_i and is updated when t mod T_i = 0. Returns all y(t).
    """
    kernel, *recurrent_kernels, bias = weights
    outputs = []
    ends = np.cumsum([recurrent_kernel.shape[1] for recurrent_kernel in recurrent_kernels])
    for t, x in enumerate(sequence):
        previous, state = state, state.copy()
        for period, recurrent_kernel, end in zip(periods, recurrent_kernels, ends, strict=True):
            start = end - recurrent_kernel.shape[1]
            if t % period == 0:
                state[start:end] = np.tanh(
                    x @ kernel[:, start:end] + previous[start:] @ recurrent_kernel + bias[start:end]
                )
        outputs.append(state)
    return np.array(outputs).reshape(len(sequence), len(state))


def numpy_layer(sequences, initial_state, weights, periods, mask):
    """All outputs and final states of a batch; a masked step shows the output of the step before it."""
    outputs, states = np.zeros((*mask.shape, len(initial_state[0]))), []
    for row, real in enumerate(mask):
        outputs[row, real] = alone = numpy_clockwork(
            sequences[row, real], weights, periods, initial_state[row]
        )
        for t in np.flatnonzero(~real):
            outputs[row, t] = outputs[row, t - 1] if t else 0
        states.append(alone[-1] if len(alone) else initial_state[row])
    return outputs, np.array(states)


def make(units, periods, kind=ClockworkRNN, weights_of=None, **options):
    """A layer with random biases, as a `ClockworkRNN` or as Keras' RNN around the cell, perhaps a copy."""
    options = {"bias_initializer": "random_normal", "return_sequences": True, "return_state": True, **options}
    if kind is keras.layers.RNN:
        of_layer = ("return_sequences", "return_state", "go_backwards", "stateful", "zero_output_for_mask")
        dtype = options.get("dtype")
        outer = {name: options.pop(name) for name in of_layer if name in options}
        layer = keras.layers.RNN(ClockworkRNNCell(units, periods, **options), dtype=dtype, **outer)
    else:
        layer = kind(units, periods, **options)
    if weights_of is not None:
        layer.build((None, None, FEATURES))
        layer.set_weights(weights_of.get_weights())
    return layer


@pytest.mark.parametrize(
    "options",
    [{}, {"return_sequences": True, "return_state": True, "dropout": 0.2, "periods": [2, 3]}],
)
def test_layer(options, inputs, mask, tmp_path):
    sequences = options.get("return_sequences", False)
    check_layer(
        lambda **kwargs: ClockworkRNN(**{"units": UNITS, "periods": PERIODS, **options, **kwargs}),
        {"sequences": inputs, "mask": mask},
        expected_shapes=[(BATCH, TIME, UNITS), (BATCH, UNITS)] if sequences else [(BATCH, UNITS)],
        expected_trainable_weights=2 + len(options.get("periods", PERIODS)),
        tmp_path=tmp_path,
        invalid_arguments={
            "units": [0, -1, 2.5, True, "8", 1],
            "periods": [(), (0, 1), (1, 1), (4, 2), (1, 2.0), (True, 2), 3, "12"],
        },
    )


@pytest.mark.parametrize("periods", [(1,), (1, 2, 4), (1, 3, 7), (2, 5)])
@pytest.mark.parametrize("kind", [ClockworkRNN, keras.layers.RNN])
def test_equals_the_equation(kind, periods, mask):
    sequences, initial_state = random(BATCH, 23, FEATURES), random(BATCH, UNITS, seed=1)
    mask = np.concatenate([mask, mask[:, ::-1], np.ones((BATCH, 11), bool)], axis=1)
    mask[3] = False
    layer = make(UNITS, periods, kind, dtype="float64")
    layer.build(sequences.shape)
    states = [initial_state] if kind is ClockworkRNN else [initial_state, np.zeros((BATCH, 1))]
    if kind is keras.layers.RNN and not ON_TENSORFLOW:
        # There, Keras shows the initial state before the first real step, not 0.
        mask[:, 0] = True
    for real in (mask, np.ones_like(mask)):
        expected = numpy_layer(sequences, initial_state, layer.get_weights(), periods, real)
        actual = layer(sequences, initial_state=states, mask=None if real.all() else real)
        assert_close(actual[:2], expected, atol=10 * FLOAT64_ROUNDING)


@pytest.mark.parametrize("periods", [(1, 2, 4), (2, 3)])
def test_gradients_equal_finite_differences(periods, mask):
    layer = make(UNITS, periods, dtype="float64")
    sequences, initial_state = random(BATCH, TIME, FEATURES), random(BATCH, UNITS, seed=1)
    layer.build(sequences.shape)
    check_gradients(
        layer,
        {"sequences": sequences, "initial_state": initial_state},
        partial(numpy_layer, periods=periods, mask=mask),
        mask=mask,
    )


def gradients(layer, readouts, sequences, initial_state, mask):
    """Outputs, and the gradients of their products with `readouts` to inputs, initial state and weights."""
    clock = [] if isinstance(layer, ClockworkRNN) else [np.zeros((len(sequences), layer.cell.state_size[1]))]

    def call(function, sequences, initial_state):
        outputs = function(sequences, initial_state=[initial_state, *clock], mask=mask)
        return keras.tree.flatten(outputs)[: len(readouts)]

    def loss_of(outputs):
        return sum(keras.ops.sum(out * readout) for out, readout in zip(outputs, readouts, strict=True))

    if ON_TENSORFLOW:
        import tensorflow as tf

        tensors = [tf.constant(sequences), tf.constant(initial_state)]
        sources = [*tensors, *(weight.value for weight in layer.trainable_weights)]
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            outputs = call(layer, *tensors)
            loss = loss_of(outputs)
        # `None`, not 0, for what a row too short never reads.
        return outputs, tape.gradient(loss, sources, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    import jax

    def loss(weights, *tensors):
        def stateless(*args, **kwargs):
            fixed = [variable.value for variable in layer.non_trainable_variables]
            return layer.stateless_call(weights, fixed, *args, **kwargs)[0]

        outputs = call(stateless, *tensors)
        return loss_of(outputs), outputs

    weights = [weight.value for weight in layer.trainable_weights]
    (of_weights, *of_tensors), outputs = jax.grad(loss, argnums=(0, 1, 2), has_aux=True)(
        weights, sequences, initial_state
    )
    return outputs, [*of_tensors, *of_weights]


@examples(25)
@given(data=st.data())
def test_equals_the_cell_run_step_by_step(data):
    """For any sizes, periods, lengths and masks, forward and gradient."""
    periods = tuple(sorted(data.draw(st.sets(st.integers(1, 12), min_size=1, max_size=4), label="periods")))
    units = data.draw(st.integers(len(periods), 9), label="units")
    batch, time = data.draw(st.integers(1, 3), label="batch"), data.draw(st.integers(1, 25), label="time")
    seed = data.draw(st.integers(0, 2**32 - 1), label="seed")
    options = {
        name: data.draw(st.booleans(), label=name)
        for name in ("return_sequences", "go_backwards", "zero_output_for_mask", "use_bias")
    }
    options |= {"activation": data.draw(st.sampled_from(["tanh", "relu", None])), "dtype": "float64"}
    density = data.draw(st.sampled_from([None, 0.1, 0.5, 0.9]), label="fraction of real steps")
    mask = None if density is None else np.random.default_rng(seed).random((batch, time)) < density
    if mask is not None and not ON_TENSORFLOW:
        # There, Keras shows the initial state before the first real step, not 0.
        mask[:, -1 if options["go_backwards"] else 0] = True
    fast = make(units, periods, **options)
    sequences, initial_state = random(batch, time, FEATURES, seed=seed), random(batch, units, seed=seed + 1)
    fast.build(sequences.shape)
    slow = make(units, periods, keras.layers.RNN, weights_of=fast, **options)
    shape = (batch, time, units) if options["return_sequences"] else (batch, units)
    readouts = [random(*shape, seed=seed + 2), random(batch, units, seed=seed + 3)]
    tolerance = 1e-9 if ON_TENSORFLOW else 1e-3
    actual, expected = (
        to_numpy(gradients(layer, readouts, sequences, initial_state, mask)) for layer in (fast, slow)
    )
    for one, other in zip(keras.tree.flatten(actual), keras.tree.flatten(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)


@needs_tensorflow
@pytest.mark.parametrize("periods", [(1, 3), (1, 3000)])
@pytest.mark.parametrize("masked", [False, True])
def test_length_unknown_when_traced(masked, periods):
    import tensorflow as tf

    layer = make(UNITS, periods, dtype="float64")
    layer.build((None, None, FEATURES))
    weights = [weight.value for weight in layer.trainable_weights]

    def step(readout, sequences, mask=None):
        with tf.GradientTape() as tape:
            outputs, _ = layer(sequences, mask=mask)
            loss = tf.reduce_sum(outputs * readout)
        return outputs, tape.gradient(loss, weights)

    signature = [tf.TensorSpec((None, None, width), "float64") for width in (UNITS, FEATURES)]
    signature += [tf.TensorSpec((None, None), "bool")] if masked else []
    traced = tf.function(step, input_signature=signature, autograph=False)
    for time in (1, 8, 29):
        arguments = [random(BATCH, time, UNITS), random(BATCH, time, FEATURES, seed=1)]
        arguments += [random(BATCH, time, seed=2) > 0] if masked else []
        assert_close(traced(*arguments), step(*map(tf.constant, arguments)), atol=1e-11)


def test_one_period_of_1_is_a_simple_rnn(inputs, mask):
    options = {"return_sequences": True, "return_state": True}
    clockwork, simple = ClockworkRNN(UNITS, (1,), **options), keras.layers.SimpleRNN(UNITS, **options)
    clockwork.build(inputs.shape)
    simple.build(inputs.shape)
    simple.set_weights(clockwork.get_weights())
    assert_close(clockwork(inputs), simple(inputs))
    assert_close(clockwork(inputs, mask=mask), simple(inputs, mask=mask))


@pytest.mark.parametrize("padding", ["left", "right"])
def test_padding_does_not_shift_the_clock(padding, inputs):
    layer = ClockworkRNN(UNITS, (1, 4), return_sequences=True, return_state=True)
    zeros, ones = np.zeros((BATCH, 3, FEATURES)), np.ones((BATCH, TIME), bool)
    parts, masks = [zeros, inputs], [zeros[..., 0] != 0, ones]
    where = slice(3, None) if padding == "left" else slice(TIME)
    order = slice(None) if padding == "left" else slice(None, None, -1)
    outputs, state = layer(np.concatenate(parts[order], axis=1), mask=np.concatenate(masks[order], axis=1))
    assert_close([outputs[:, where], state], layer(inputs))


@pytest.mark.parametrize("sequences", [False, True])
def test_rows_without_real_steps_keep_their_initial_state(sequences, inputs):
    layer = ClockworkRNN(UNITS, PERIODS, return_sequences=sequences, return_state=True)
    initial_state = random(BATCH, UNITS).astype("float32")
    outputs, state = layer(inputs, initial_state=[initial_state], mask=np.zeros((BATCH, TIME), bool))
    assert (to_numpy(outputs) == 0).all()
    assert_close(state, initial_state, atol=0)


def test_masked_steps_do_not_overflow():
    """Else they would turn the gradient into NaN, although nothing reads them."""
    layer = make(FEATURES, (1, 2), activation="relu", kernel_initializer="ones", recurrent_initializer="ones")
    sequences, mask = np.ones((2, 400, FEATURES), "float32"), np.arange(400) < np.array([[3], [5]])
    layer.build(sequences.shape)
    readouts = [np.ones((2, 400, FEATURES), "float32"), np.ones((2, FEATURES), "float32")]
    _, found = gradients(layer, readouts, sequences, np.zeros((2, FEATURES), "float32"), mask)
    assert all(np.isfinite(array).all() for array in to_numpy(found))


@pytest.mark.parametrize("options", [{"dropout": 0.4}, {"recurrent_dropout": 0.4, "dropout": 0.2}])
def test_dropout_is_that_of_the_cell(options, inputs, mask):
    fast = make(UNITS, PERIODS, seed=3, **options)
    fast.build(inputs.shape)
    slow = make(UNITS, PERIODS, keras.layers.RNN, weights_of=fast, seed=3, **options)
    without = to_numpy(fast(inputs, mask=mask))
    for _ in range(2):
        dropped = to_numpy(fast(inputs, mask=mask, training=True))
        assert_close(dropped, slow(inputs, mask=mask, training=True)[:2])
        assert (dropped[0] != without[0]).any()
    assert_close(fast(inputs, mask=mask, training=False), without)


@pytest.mark.parametrize("lengths", [(5, 1, 9, 3), (18,)])
def test_stateful_batches_are_one_long_sequence(lengths):
    sequences = random(BATCH, 18, FEATURES).astype("float32")
    mask = random(BATCH, 18, seed=1) > -0.5
    plain = make(UNITS, (1, 3, 7))
    plain.build(sequences.shape)
    expected, expected_state = to_numpy(plain(sequences, mask=mask))
    stateful = make(UNITS, (1, 3, 7), stateful=True)
    stateful.build((BATCH, None, FEATURES))
    stateful.set_weights([*plain.get_weights(), *stateful.get_weights()[len(plain.weights) :]])
    for _ in range(2):
        start = 0
        for length in lengths:
            part = slice(start, start := start + length)
            outputs, state = to_numpy(stateful(sequences[:, part], mask=mask[:, part]))
            real = mask[:, part]
            assert_close(outputs[real], expected[:, part][real])
        assert_close(state, expected_state)
        stateful.reset_state()
    # A given initial state starts a new sequence.
    stateful(sequences[:, :2])
    zeros = np.zeros((BATCH, UNITS), "float32")
    assert_close(stateful(sequences, initial_state=[zeros], mask=mask)[1], expected_state)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("how", ["fast", "stateful", "cell"])
def test_clock_is_exact_in_half_precision(how, policy):
    """The units copy their inputs, the slow one only every 300 steps."""
    time = np.arange(320)
    sequences = np.tile((time // 50)[None, :, None], (2, 1, 1)).astype("float32")
    options = {"activation": None, "kernel_initializer": "ones", "recurrent_initializer": "zeros"}
    options |= {"bias_initializer": "zeros", "stateful": how == "stateful", "dtype": policy}
    layer = make(2, (1, 300), keras.layers.RNN if how == "cell" else ClockworkRNN, **options)
    outputs = to_numpy(layer(sequences)[0])
    np.testing.assert_array_equal(outputs[0], np.stack([time // 50, time // 300 * 6], axis=-1))


def test_can_be_stacked(inputs):
    stack = RecurrentStack(ClockworkRNN(UNITS, PERIODS), depth=2, bidirectional=True)
    lengths = np.array([TIME, 4, 1, 0])
    outputs, states = to_numpy(stack(inputs, mask=np.arange(TIME) < lengths[:, None]))
    assert outputs.shape == (BATCH, TIME, 2 * UNITS)
    for row, length in enumerate(lengths):
        assert (outputs[row, length:] == 0).all()
        row_states = [[state[[row]] for state in layer] for layer in states]
        if length:
            assert_close(stack(inputs[[row], :length]), (outputs[[row], :length], row_states))
        else:
            assert not np.any(row_states)


def test_keras_bidirectional_takes_it(inputs, mask):
    both = keras.layers.Bidirectional(make(UNITS, PERIODS, return_state=False))
    outputs = to_numpy(both(inputs, mask=mask))
    # There, masked steps are 0.
    options = {"return_state": False, "zero_output_for_mask": True}
    forward = make(UNITS, PERIODS, weights_of=both.forward_layer, **options)
    assert_close(outputs[..., :UNITS], forward(inputs, mask=mask))
    backward = make(UNITS, PERIODS, weights_of=both.backward_layer, go_backwards=True, **options)
    assert_close(outputs[:, ::-1, UNITS:], backward(inputs, mask=mask))


def test_initial_state_of_a_functional_model(inputs):
    sequences, state = keras.Input((None, FEATURES)), keras.Input((UNITS,))
    layer = make(UNITS, PERIODS)
    model = keras.Model([sequences, state], layer(sequences, initial_state=state))
    initial_state = random(BATCH, UNITS).astype("float32")
    assert_close(model([inputs, initial_state]), layer(inputs, initial_state=[initial_state]))


def test_a_clock_as_initial_state_is_refused(inputs):
    layer = ClockworkRNN(UNITS, PERIODS)
    message = r"expected one tensor of shape \(batch, \d+\), as the clock starts at 0, got shapes"
    for states in ([np.zeros((BATCH, UNITS)), np.zeros((BATCH, 1))], [np.zeros((BATCH, UNITS + 1))]):
        with pytest.raises(ValueError, match=message):
            layer(inputs, initial_state=states)


@pytest.mark.parametrize("periods", [(1, 3000), (2, 2**31 - 1), (1500, 3000)])
@pytest.mark.parametrize("masked", [False, True])
def test_periods_far_beyond_the_sequence(periods, masked, inputs, mask):
    layer = make(UNITS, periods, dtype="float64")
    layer.build(inputs.shape)
    sequences, start = inputs.astype("float64"), random(BATCH, UNITS)
    real = mask if masked else np.ones_like(mask)
    expected = numpy_layer(sequences, start, layer.get_weights(), periods, real)
    outputs = layer(sequences, initial_state=[start], mask=mask if masked else None)
    assert_close(outputs, expected, atol=FLOAT64_ROUNDING)


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 4, 5)])
def test_inputs_of_another_rank(shape):
    with pytest.raises(ValueError, match=f"expected ndim=3, found ndim={len(shape)}"):
        ClockworkRNN(8)(np.zeros(shape))
