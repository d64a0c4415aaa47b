"""Tests of AttentionDecoder: the paper's equations, and that all its ways of decoding agree."""

import keras
import numpy as np
import pytest
from layer_checks import FLOAT64_ROUNDING, assert_close, check_layer, to_numpy
from numpy_references import STEPS, additive_attention, zero_states

from layers import AttentionDecoder, BahdanauAttention

BATCH, TIME, FEATURES, SOURCE, MEMORY_WIDTH, UNITS = 3, 4, 2, 5, 6, 7
GRU, LSTM, SIMPLE = keras.layers.GRUCell, keras.layers.LSTMCell, keras.layers.SimpleRNNCell
STACKS = [[GRU], [LSTM], [SIMPLE], [LSTM, GRU], [SIMPLE, LSTM]]
tensorflow_only = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="calls TensorFlow")


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def make_decoder(kinds: list[type], attention: bool = True, **kwargs) -> AttentionDecoder:
    """Makes cells of different widths, the top one as wide as `UNITS`."""
    cells = [kind(UNITS + len(kinds) - 1 - index) for index, kind in enumerate(kinds)]
    return AttentionDecoder(cells, BahdanauAttention(8) if attention else None, **kwargs)


def make_states(decoder: AttentionDecoder, *leading: int) -> list[list[np.ndarray]]:
    return [[random(*leading, size, seed=size) for size in sizes] for sizes in decoder.state_sizes]


@pytest.fixture
def inputs() -> np.ndarray:
    return random(BATCH, TIME, FEATURES)


@pytest.fixture
def memory() -> np.ndarray:
    return random(BATCH, SOURCE, MEMORY_WIDTH, seed=1)


@pytest.fixture
def mask() -> np.ndarray:
    """The last row has nothing to read."""
    return np.arange(SOURCE) < np.array([[SOURCE], [2], [0]])


@pytest.mark.parametrize("kinds", [[GRU], [LSTM, SIMPLE]])
def test_layer_with_attention(kinds, inputs, memory, mask, tmp_path):
    states = make_states(make_decoder(kinds), BATCH)
    check_layer(
        lambda **kwargs: make_decoder(kinds, dropout=0.2, **kwargs),
        {"inputs": inputs, "memory": memory, "initial_states": states, "memory_mask": mask},
        expected_shapes=[(BATCH, TIME, UNITS + MEMORY_WIDTH)],
        expected_trainable_weights=3 * len(kinds) + 4,
        tmp_path=tmp_path,
        masked="memory",
        empty_rows_are_zero=False,
    )


def test_layer_without_attention(inputs, tmp_path):
    check_layer(
        lambda **kwargs: make_decoder([GRU, LSTM], attention=False, **kwargs),
        {"inputs": inputs},
        expected_shapes=[(BATCH, TIME, UNITS)],
        expected_trainable_weights=6,
        tmp_path=tmp_path,
    )


def numpy_decoder(kinds, inputs, memory, mask, states, weights):
    """Decodes one row by the equations; `weights` holds three arrays a cell, then the attention's four."""
    outputs, attention = [], []
    for y in inputs:
        context, row = additive_attention(states[-1][0], memory, mask, weights[-4:])
        x, new_states = np.concatenate([y, context]), []
        for index, kind in enumerate(kinds):
            new_states.append(STEPS[kind](x, states[index], weights[3 * index : 3 * index + 3]))
            x = new_states[-1][0]
        states = new_states
        outputs.append(np.concatenate([x, context]))
        attention.append(row)
    return np.array(outputs), np.array(attention)


@pytest.mark.parametrize("given_states", [False, True])
@pytest.mark.parametrize("kinds", STACKS)
def test_equals_the_equations(kinds, given_states, inputs, memory, mask):
    cells = [kind(UNITS, bias_initializer="random_normal", dtype="float64") for kind in kinds]
    decoder = AttentionDecoder(cells, BahdanauAttention(8, dtype="float64"), dtype="float64")
    states = make_states(decoder, BATCH) if given_states else None
    outputs, attention = to_numpy(
        decoder(inputs, memory=memory, initial_states=states, memory_mask=mask, return_weights=True)
    )
    for row in range(BATCH):
        row_states = [[state[row] for state in cell] for cell in states] if given_states else None
        expected = numpy_decoder(
            kinds,
            inputs[row],
            memory[row],
            mask[row],
            row_states or [zero_states(kind, UNITS) for kind in kinds],
            decoder.get_weights(),
        )
        assert_close((outputs[row], attention[row]), expected, atol=FLOAT64_ROUNDING)


@pytest.mark.parametrize("attention", [False, True])
@pytest.mark.parametrize("kinds", STACKS)
def test_call_is_repeated_steps(kinds, attention, inputs, memory, mask):
    decoder = make_decoder(kinds, attention)
    states = make_states(decoder, BATCH)
    result = decoder(inputs, memory=memory, initial_states=states, memory_mask=mask, return_weights=attention)
    outputs, weights = result if attention else (result, None)
    keys = decoder.attention.project_keys(memory) if attention else None
    for time in range(TIME):
        output, states, step_weights = decoder.step(inputs[:, time], states, keys, memory, mask)
        assert_close(output, outputs[:, time])
        if attention:
            assert_close(step_weights, weights[:, time])
        else:
            assert step_weights is None


@pytest.mark.parametrize("attention", [False, True])
@pytest.mark.parametrize("kinds", STACKS)
def test_beams_are_decoded_as_if_alone(kinds, attention, inputs, memory, mask):
    beams = 3
    decoder = make_decoder(kinds, attention)
    decoder.build((None, None, FEATURES), memory.shape)
    states = make_states(decoder, BATCH, beams)
    keys = decoder.attention.project_keys(memory) if attention else None
    inputs = random(BATCH, beams, FEATURES)
    outputs, new_states, weights = decoder.step(inputs, states, keys, memory, mask)
    for beam in range(beams):
        beam_states = [[state[:, beam] for state in cell] for cell in states]
        alone = decoder.step(inputs[:, beam], beam_states, keys, memory, mask)
        assert_close(outputs[:, beam], alone[0])
        assert_close([[state[:, beam] for state in cell] for cell in new_states], alone[1])
        if attention:
            assert_close(weights[:, beam], alone[2])


def test_initial_states_are_zeros_by_default(inputs, memory):
    decoder = make_decoder([LSTM, GRU])
    zeros = decoder.get_initial_state(BATCH)
    assert [[state.shape for state in cell] for cell in zeros] == [[(BATCH, 8), (BATCH, 8)], [(BATCH, 7)]]
    assert_close(decoder(inputs, memory=memory, initial_states=zeros), decoder(inputs, memory=memory), atol=0)


def test_masked_memory_does_not_exist(inputs, memory, mask):
    decoder = make_decoder([GRU])
    outputs = decoder(inputs, memory=memory, memory_mask=mask)
    other = np.where(mask[..., None], memory, 1e3).astype("float32")
    assert_close(decoder(inputs, memory=other, memory_mask=mask), outputs, atol=0)
    assert (to_numpy(outputs)[2, :, UNITS:] == 0).all()


def test_memory_carries_its_mask_and_that_of_the_targets_hides_no_step(memory, mask):
    tokens = np.array([[3, 4, 0, 0], [3, 0, 0, 0], [3, 4, 5, 6]])
    embedding = keras.layers.Embedding(8, FEATURES, mask_zero=True)
    decoder = make_decoder([GRU])
    embedded = keras.ops.take(embedding(tokens), np.arange(TIME), axis=1)
    masked_memory = keras.layers.Masking()(memory * mask[..., None])
    expected = decoder(embedded, memory=masked_memory, memory_mask=mask)
    assert_close(decoder(embedding(tokens), memory=masked_memory), expected)


def test_step_keeps_the_dtype_policy(inputs, memory):
    decoder = AttentionDecoder([LSTM(UNITS)], BahdanauAttention(8), dtype="mixed_float16")
    decoder.build(inputs.shape, memory.shape)
    keys = decoder.attention.project_keys(memory)
    outputs, states, _ = decoder.step(inputs[:, 0], decoder.get_initial_state(BATCH), keys, memory)
    dtypes = {keras.backend.standardize_dtype(t.dtype) for t in keras.tree.flatten([outputs, states])}
    assert dtypes == {"float16"}


def copying_cell(units: int) -> keras.layers.Layer:
    """Outputs its inputs."""
    return SIMPLE(units, activation="linear", kernel_initializer="identity", recurrent_initializer="zeros")


def test_dropout_holds_for_the_whole_sequence_and_for_every_cell():
    inputs = np.ones((2, TIME, 60), "float32")
    decoder = AttentionDecoder([copying_cell(60), copying_cell(60)], dropout=0.5)
    outputs = to_numpy(decoder(inputs, training=True))
    assert set(np.unique(outputs)) == {0.0, 4.0}
    assert (outputs == outputs[:, :1]).all()
    assert (outputs[0] != outputs[1]).any()
    assert (outputs != to_numpy(decoder(inputs, training=True))).any()
    assert_close(decoder(inputs), inputs, atol=0)


def test_dropout_reaches_the_context():
    decoder = AttentionDecoder([copying_cell(61)], BahdanauAttention(2), dropout=0.5)
    inputs, memory = np.zeros((1, 2, 1), "float32"), np.ones((1, 3, 60), "float32")
    outputs = to_numpy(decoder(inputs, memory=memory, training=True))
    assert len(np.unique(outputs[..., 1:61].round(5))) == 2
    np.testing.assert_allclose(outputs[..., 61:], 1.0, atol=1e-6)


def test_seed_fixes_the_dropout():
    inputs = np.ones((2, TIME, 60), "float32")
    runs = [
        AttentionDecoder([copying_cell(60)], dropout=0.5, seed=3)(inputs, training=True) for _ in range(2)
    ]
    assert_close(runs[0], runs[1], atol=0)


@tensorflow_only
@pytest.mark.parametrize("kinds", [[GRU], [LSTM, SIMPLE]])
def test_gradient_equals_finite_differences(kinds, inputs, memory, mask):
    import tensorflow as tf

    cells = [kind(UNITS, dtype="float64") for kind in kinds]
    decoder = AttentionDecoder(cells, BahdanauAttention(8, dtype="float64"), dtype="float64")
    arrays = {"inputs": inputs.astype("float64"), "memory": memory.astype("float64")}
    decoder(**arrays)
    weights = decoder.get_weights()
    readout = np.random.default_rng(2).normal(size=(BATCH, TIME, UNITS + MEMORY_WIDTH))

    def numpy_loss() -> float:
        zeros = [zero_states(kind, UNITS) for kind in kinds]
        rows = zip(arrays["inputs"], arrays["memory"], mask, strict=True)
        return (np.array([numpy_decoder(kinds, *row, zeros, weights)[0] for row in rows]) * readout).sum()

    @tf.function
    def gradients(inputs, memory):
        with tf.GradientTape() as tape:
            tape.watch([inputs, memory])
            loss = tf.reduce_sum(decoder(inputs, memory=memory, memory_mask=mask) * readout)
        return tape.gradient(loss, [inputs, memory, *(weight.value for weight in decoder.trainable_weights)])

    actual = gradients(*(tf.constant(array) for array in arrays.values()))
    random_entries = np.random.default_rng(3)
    for array, gradient in zip([*arrays.values(), *weights], actual, strict=True):
        for _ in range(4):
            index, step = tuple(random_entries.integers(array.shape)), 1e-6
            kept = array[index]
            array[index] = kept + step
            upper = numpy_loss()
            array[index] = kept - step
            expected = (upper - numpy_loss()) / (2 * step)
            array[index] = kept
            np.testing.assert_allclose(gradient.numpy()[index], expected, atol=1e-7)


@tensorflow_only
def test_compiles_with_xla(inputs, memory, mask):
    import tensorflow as tf

    decoder = make_decoder([GRU])
    expected = decoder(inputs, memory=memory, memory_mask=mask)
    compiled = tf.function(decoder, jit_compile=True)
    assert_close(
        compiled(tf.constant(inputs), memory=tf.constant(memory), memory_mask=tf.constant(mask)), expected
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"cells": []}, "argument `cells`, expected a non-empty list of recurrent cells, got \\[\\]"),
        ({"cells": GRU(3)}, "argument `cells`, expected a non-empty list of recurrent cells, got <GRUCell"),
        ({"cells": [keras.layers.Dense(3)]}, "argument `cells`, expected recurrent cells such as .*<Dense"),
        ({"cells": [GRU(3, dropout=0.1)]}, "argument `cells`, expected cells without dropout of their own"),
        ({"cells": [GRU(3, recurrent_dropout=0.1)]}, "argument `cells`, expected cells without dropout"),
        (
            {"cells": [GRU(3)], "attention": keras.layers.Attention()},
            "argument `attention`, expected a layer",
        ),
        ({"cells": [GRU(3)], "dropout": 1.0}, r"argument `dropout`, expected a float in \[0, 1\), got 1.0"),
    ],
)
def test_invalid_constructor_argument(arguments, message):
    with pytest.raises(ValueError, match=f"Received an invalid value for {message}"):
        AttentionDecoder(**arguments)


def test_memory_is_required_with_attention(inputs, memory):
    decoder = make_decoder([GRU])
    message = "Received no value for argument `memory`, expected a tensor of shape"
    with pytest.raises(ValueError, match=message):
        decoder(inputs)
    decoder(inputs, memory=memory)
    with pytest.raises(ValueError, match=message):
        decoder(inputs)


def test_weights_need_attention(inputs):
    with pytest.raises(
        ValueError, match="`return_weights`, expected `False` for a decoder without attention"
    ):
        make_decoder([GRU], attention=False)(inputs, return_weights=True)


def test_initial_states_are_one_list_a_cell(inputs):
    decoder = make_decoder([GRU, GRU], attention=False)
    message = "`initial_states`, expected one list of states for each of the 2 cells, got 1"
    with pytest.raises(ValueError, match=message):
        decoder(inputs, initial_states=decoder.get_initial_state(BATCH)[:1])
