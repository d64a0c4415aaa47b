"""Tests of RecurrentStack against Keras' layers and against NumPy rows without padding."""

from functools import cache

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from layer_checks import FLOAT64_ROUNDING, assert_close, check_layer, examples, to_numpy
from numpy_references import STEPS, zero_states

from layers import RecurrentStack

BATCH, TIME, FEATURES, UNITS = 4, 6, 3, 5
KINDS = [keras.layers.SimpleRNN, keras.layers.GRU, keras.layers.LSTM]


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def right_padded(lengths: list[int], time: int = TIME) -> np.ndarray:
    return np.arange(time) < np.array(lengths)[:, None]


@pytest.fixture
def inputs() -> np.ndarray:
    return random(BATCH, TIME, FEATURES)


@pytest.fixture
def mask() -> np.ndarray:
    """Rows of all lengths, the last one without any real step."""
    return right_padded([TIME, 4, 1, 0])


@pytest.mark.parametrize(
    ("kind", "options", "width", "states"),
    [
        (keras.layers.LSTM, {"depth": 2, "bidirectional": True, "residual": True, "dropout": 0.3}, 10, 2),
        (keras.layers.GRU, {}, 5, 1),
    ],
)
def test_layer(kind, options, width, states, inputs, mask, tmp_path):
    depth, directions = options.get("depth", 1), 2 if options.get("bidirectional") else 1
    check_layer(
        lambda **kwargs: RecurrentStack(kind(UNITS), **options, **kwargs),
        {"inputs": inputs, "mask": mask},
        expected_shapes=[(BATCH, TIME, width)] + [(BATCH, width)] * states * depth,
        expected_trainable_weights=3 * depth * directions,
        tmp_path=tmp_path,
    )


def numpy_direction(step, row, weights, states, reverse):
    """Runs one layer over one row; returns the outputs in the order of the row and the final states."""
    outputs = []
    for x in row[::-1] if reverse else row:
        states = step(x, states, weights)
        outputs.append(states[0])
    outputs = np.array(outputs).reshape(len(row), -1)
    return outputs[::-1] if reverse else outputs, states


def numpy_stack(kind, row, weights, depth, bidirectional, residual):
    """The stack for one row without padding; `weights` holds three arrays for each layer and direction."""
    all_states = []
    for index in range(depth):
        outputs, states = [], []
        for reverse in [False, True] if bidirectional else [False]:
            layer_weights, weights = weights[:3], weights[3:]
            result = numpy_direction(STEPS[kind], row, layer_weights, zero_states(kind, UNITS), reverse)
            outputs.append(result[0])
            states.append(result[1])
        outputs = np.concatenate(outputs, axis=-1)
        row = outputs + row if residual and index > 0 else outputs
        all_states.append([np.concatenate(pair) for pair in zip(*states, strict=True)])
    return row, all_states


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_equals_numpy_rows_without_padding(kind, bidirectional, residual, inputs):
    lengths = [TIME, 4, 1]
    template = kind(UNITS, bias_initializer="random_normal", dtype="float64")
    stack = RecurrentStack(template, depth=3, bidirectional=bidirectional, residual=residual)
    outputs, states = to_numpy(stack(inputs[:3], mask=right_padded(lengths)))
    for row, length in enumerate(lengths):
        expected, expected_states = numpy_stack(
            kind, inputs[row, :length].astype("float64"), stack.get_weights(), 3, bidirectional, residual
        )
        assert_close(outputs[row, :length], expected, atol=FLOAT64_ROUNDING)
        assert (outputs[row, length:] == 0).all()
        assert_close(
            [[state[row] for state in layer] for layer in states], expected_states, atol=FLOAT64_ROUNDING
        )


@pytest.mark.parametrize("kind", KINDS)
def test_one_layer_is_keras_layer(kind, inputs, mask):
    stack, layer = RecurrentStack(kind(UNITS)), kind(UNITS, return_sequences=True, return_state=True)
    outputs, (states,) = stack(inputs)
    layer.build(inputs.shape)
    layer.set_weights(stack.get_weights())
    assert_close([outputs, *states], layer(inputs))
    outputs, (states,) = stack(inputs, mask=mask)
    assert_close([outputs * mask[..., None], *states], [outputs, *layer(inputs, mask=mask)[1:]])


def test_one_bidirectional_layer_is_keras_bidirectional(inputs, mask):
    template = keras.layers.GRU(UNITS, return_sequences=True)
    stack, layer = RecurrentStack(template, bidirectional=True), keras.layers.Bidirectional(template)
    layer.build(inputs.shape)
    stack.build(inputs.shape)
    layer.set_weights(stack.get_weights())
    assert_close(stack(inputs, mask=mask)[0], layer(inputs, mask=mask))


def test_any_cell_can_be_stacked(inputs, mask):
    """`keras.layers.RNN` around a cell, here itself a stack, whose states are nested."""
    cells = [keras.layers.LSTMCell(UNITS), keras.layers.GRUCell(UNITS)]
    template = keras.layers.RNN(keras.layers.StackedRNNCells(cells))
    stack = RecurrentStack(template, depth=2, bidirectional=True)
    outputs, states = stack(inputs, mask=mask)
    assert outputs.shape == (BATCH, TIME, 2 * UNITS)
    assert all(state.shape == (BATCH, 2 * UNITS) for state in keras.tree.flatten(states))
    clone = RecurrentStack.from_config(stack.get_config())
    clone.build(inputs.shape)
    clone.set_weights(stack.get_weights())
    assert_close(clone(inputs, mask=mask), (outputs, states))


@cache
def one_stack() -> RecurrentStack:
    """One for all examples: making it costs more than running it."""
    template = keras.layers.LSTM(UNITS, bias_initializer="random_normal")
    return RecurrentStack(template, depth=2, bidirectional=True, residual=True)


@examples(10)
@given(
    lengths=st.lists(st.integers(0, TIME), min_size=BATCH, max_size=BATCH),
    more=st.integers(0, 4),
    seed=st.integers(0, 2**32 - 1),
)
def test_padding_does_not_show(lengths, more, seed):
    stack = one_stack()
    inputs = random(BATCH, TIME + more, FEATURES, seed=seed)
    outputs, states = to_numpy(stack(inputs[:, :TIME], mask=right_padded(lengths)))
    padded_mask = right_padded(lengths, TIME + more)
    padded = np.where(padded_mask[..., None], inputs, 1e3)
    padded_outputs, padded_states = to_numpy(stack(padded, mask=padded_mask))
    assert_close((padded_outputs[:, :TIME], padded_states), (outputs, states), atol=0)
    assert (padded_outputs[~padded_mask] == 0).all()
    shortest, length = np.argmin(lengths), min(lengths)
    row_states = [[state[[shortest]] for state in layer] for layer in states]
    if length > 0:
        alone = stack(inputs[[shortest], :length])
        assert_close(alone, (outputs[[shortest], :length], row_states))
    else:
        assert all((state == 0).all() for layer in row_states for state in layer)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="uses a GradientTape")
def test_padding_gets_no_gradient(inputs, mask):
    import tensorflow as tf

    stack = RecurrentStack(keras.layers.LSTM(UNITS), depth=2, bidirectional=True, residual=True)
    tensor = tf.constant(inputs)
    with tf.GradientTape() as tape:
        tape.watch(tensor)
        loss = sum(tf.reduce_sum(output**2) for output in tf.nest.flatten(stack(tensor, mask=mask)))
    gradient = tape.gradient(loss, tensor).numpy()
    assert (gradient[~mask] == 0).all()
    assert (gradient[mask] != 0).all()


def test_masks_of_embeddings_are_used_and_passed_on():
    tokens = np.array([[4, 5, 6, 0], [7, 0, 0, 0]])
    stack = RecurrentStack(keras.layers.GRU(UNITS), bidirectional=True)
    embedding = keras.layers.Embedding(8, FEATURES, mask_zero=True)
    outputs, states = stack(embedding(tokens))
    assert_close(
        stack(keras.ops.take(embedding.embeddings, tokens, axis=0), mask=tokens != 0), (outputs, states)
    )
    np.testing.assert_array_equal(outputs._keras_mask, tokens != 0)


def copying_layer() -> keras.layers.RNN:
    """Outputs its inputs."""
    return keras.layers.SimpleRNN(
        50, activation="linear", kernel_initializer="identity", recurrent_initializer="zeros"
    )


def test_dropout_holds_for_the_whole_sequence():
    inputs = np.ones((2, TIME, 50), "float32")
    stack = RecurrentStack(copying_layer(), dropout=0.5)
    outputs = to_numpy(stack(inputs, training=True)[0])
    assert set(np.unique(outputs)) == {0.0, 2.0}
    assert (outputs == outputs[:, :1]).all()
    assert (outputs[0] != outputs[1]).any()
    assert_close(stack(inputs, training=False)[0], inputs, atol=0)


def test_each_layer_drops_its_own_inputs():
    inputs = np.ones((2, TIME, 50), "float32")
    kept = {
        depth: (
            to_numpy(RecurrentStack(copying_layer(), depth, dropout=0.5, seed=1)(inputs, training=True)[0])
        )
        for depth in (1, 2)
    }
    assert set(np.unique(kept[2])) == {0.0, 4.0}
    assert (kept[1][kept[2] > 0] > 0).all()
    assert 0.05 < (kept[2] > 0).mean() < 0.45


def test_seeds_of_the_template_give_layers_that_differ_and_repeat(inputs):
    def make() -> RecurrentStack:
        initializer = keras.initializers.GlorotUniform(seed=11)
        template = keras.layers.SimpleRNN(FEATURES, kernel_initializer=initializer)
        stack = RecurrentStack(template, depth=2, bidirectional=True)
        stack.build(inputs.shape)
        return stack

    stack = make()
    # The kernels of the first layer's two directions have the same shape.
    assert (stack.get_weights()[0] != stack.get_weights()[3]).all()
    assert_close(make().get_weights()[0], stack.get_weights()[0], atol=0)
    assert_close(make().get_weights()[3], stack.get_weights()[3], atol=0)


def test_dtype_is_the_templates_unless_given():
    template = keras.layers.GRU(UNITS, dtype="float64")
    assert RecurrentStack(template).compute_dtype == "float64"
    assert RecurrentStack(template, dtype="float32").layers[0].compute_dtype == "float32"


@pytest.mark.parametrize(
    "layer",
    [
        keras.layers.Dense(3),
        keras.layers.GRUCell(3),
        keras.layers.Bidirectional(keras.layers.GRU(3)),
        keras.layers.GRU(3, go_backwards=True),
        keras.layers.GRU(3, stateful=True),
    ],
)
def test_invalid_layer(layer):
    message = (
        "Received an invalid value for argument `layer`, expected a `keras.layers.RNN` with "
        "`go_backwards=False` and `stateful=False`, got <"
    )
    with pytest.raises(ValueError, match=message):
        RecurrentStack(layer)


@pytest.mark.parametrize("depth", [0, -1, 1.5])
def test_invalid_depth(depth):
    message = f"Received an invalid value for argument `depth`, expected a positive integer, got {depth}"
    with pytest.raises(ValueError, match=message):
        RecurrentStack(keras.layers.GRU(3), depth=depth)


@pytest.mark.parametrize("dropout", [-0.1, 1.0])
def test_invalid_dropout(dropout):
    message = (
        rf"Received an invalid value for argument `dropout`, expected a float in \[0, 1\), got {dropout}"
    )
    with pytest.raises(ValueError, match=message):
        RecurrentStack(keras.layers.GRU(3), dropout=dropout)
