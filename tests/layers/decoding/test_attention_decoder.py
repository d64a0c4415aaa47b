"""Tests of AttentionDecoder: the papers' equations, and that all its ways of decoding agree."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import ops
from layer_checks import FLOAT64_ROUNDING, assert_close, check_gradients, check_layer, examples, to_numpy
from numpy_references import STEPS, additive_attention, zero_states

from layers import (
    AttentionDecoder,
    BahdanauAttention,
    ClockworkRNNCell,
    HardAttention,
    HardSelection,
    MemoryNetwork,
    MonotonicAttention,
)
from layers.attention._masked_softmax import masked_softmax

BATCH, TIME, FEATURES, SOURCE, MEMORY_WIDTH, UNITS, SUMMARY = 3, 4, 2, 5, 6, 7, 4
GRU, LSTM, SIMPLE = keras.layers.GRUCell, keras.layers.LSTMCell, keras.layers.SimpleRNNCell
STACKS = [[GRU], [LSTM], [SIMPLE], [LSTM, GRU], [SIMPLE, LSTM]]
tensorflow_only = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="calls TensorFlow")


class CoverageAttention(BahdanauAttention):
    """Looks away from where it has looked: its state is the sum of its weights so far."""

    def get_initial_state(self, memory, training=None):
        return [ops.zeros(ops.shape(memory)[:2])]

    def align(self, query, keys, mask, states, noise):
        weights = masked_softmax(self.score(query, keys) - 3 * states[0], mask)
        return weights, [states[0] + weights]


class NoisyAttention(BahdanauAttention):
    """In training its weights are what was drawn."""

    def draw_noise(self, batch, queries, source):
        return ops.reshape(ops.arange(batch * queries * source, dtype="float32"), (batch, queries, source))

    def align(self, query, keys, mask, states, noise):
        return (self.score(query, keys) if noise is None else noise), []


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def make_decoder(kinds: list[type], attention: bool = True, **kwargs) -> AttentionDecoder:
    """Makes cells of different widths, the top one as wide as `UNITS`."""
    cells = [kind(UNITS + len(kinds) - 1 - index) for index, kind in enumerate(kinds)]
    return AttentionDecoder(cells, BahdanauAttention(8) if attention else None, **kwargs)


def make_states(decoder: AttentionDecoder, *leading: int) -> dict:
    return {"cells": [[random(*leading, size, seed=size) for size in sizes] for sizes in decoder.state_sizes]}


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


def test_layer_with_attention(inputs, memory, mask, tmp_path):
    kinds = [LSTM, SIMPLE]
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


def test_layer_with_all_options(inputs, memory, mask, tmp_path):
    check_layer(
        lambda **kwargs: AttentionDecoder(
            [GRU(UNITS), ClockworkRNNCell(UNITS, (1, 2))],
            BahdanauAttention(8),
            MemoryNetwork(5, hops=2),
            order="after",
            input_feeding=True,
            residual=True,
            encoder_residual=True,
            dropout=0.2,
            **kwargs,
        ),
        {
            "inputs": inputs,
            "memory": memory,
            "memory_mask": mask,
            "summary": random(BATCH, SUMMARY, seed=2),
        },
        expected_shapes=[(BATCH, TIME, UNITS)],
        expected_trainable_weights=3 + 4 + 4 + 4 + 3,
        tmp_path=tmp_path,
        masked="memory",
        empty_rows_are_zero=False,
    )


OPTIONS = [
    {"kinds": kinds, **options}
    for kinds, options in [
        *((kinds, {}) for kinds in STACKS),
        ([GRU, GRU], {"residual": True, "encoder_residual": True, "reader": True}),
        ([LSTM, GRU], {"order": "after"}),
        (
            [GRU, LSTM],
            {
                "order": "after",
                "input_feeding": True,
                "residual": True,
                "encoder_residual": True,
                "reader": True,
            },
        ),
        ([SIMPLE], {"attention": False, "reader": True, "order": "after", "input_feeding": True}),
        ([SIMPLE], {"attention": False, "encoder_residual": True}),
    ]
]


def make_float64_decoder(kinds, attention=True, reader=False, **options) -> AttentionDecoder:
    return AttentionDecoder(
        [kind(UNITS, bias_initializer="random_normal", dtype="float64") for kind in kinds],
        BahdanauAttention(8, dtype="float64") if attention else None,
        BahdanauAttention(9, dtype="float64") if reader else None,
        dtype="float64",
        **options,
    )


def numpy_decoder(options, inputs, memory, mask, summary, states, weights):
    """Decodes one row by the equations; `weights` holds three arrays a cell, then those of the rest."""
    kinds, weights = options["kinds"], list(weights)
    after, feeding = options.get("order") == "after", options.get("input_feeding")

    def take(count: int) -> list[np.ndarray]:
        taken, weights[:] = weights[:count], weights[count:]
        return taken

    cells = [take(3) for _ in kinds]
    reads = [take(4) for used in (options.get("attention", True), options.get("reader")) if used]
    (attentional,) = take(1) if after and reads else [None]
    to_input, to_output = (
        take(2) if options.get("encoder_residual") else (0 * summary[:, None], 0 * summary[:, None])
    )
    assert not weights

    outputs, attention, fed = [], [], np.zeros(UNITS)
    for y in inputs:
        x = np.concatenate([y, fed]) if feeding else y
        if not after:
            contexts = [additive_attention(states[-1][0], memory, mask, each) for each in reads]
            x = np.concatenate([x, *(context for context, _ in contexts)])
        x, new_states = x + summary @ to_input, []
        for index, (kind, cell) in enumerate(zip(kinds, cells, strict=True)):
            new_states.append(STEPS[kind](x, states[index], cell))
            x = new_states[-1][0] + (x if options.get("residual") and index else 0)
        states, x = new_states, x + summary @ to_output
        if after:
            contexts = [additive_attention(x, memory, mask, each) for each in reads]
            fed = np.tanh(np.concatenate([*(context for context, _ in contexts), x]) @ attentional)
            outputs.append(fed)
        else:
            outputs.append(np.concatenate([x, *(context for context, _ in contexts)]))
        attention.append(contexts[0][1] if contexts else [])
    return np.array(outputs), np.array(attention)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_equals_the_equations(options, inputs, memory, mask):
    decoder, summary = make_float64_decoder(**options), random(BATCH, SUMMARY, seed=2)
    attends = options.get("attention", True)
    # States are given unless they have to be made.
    states = None if options.get("input_feeding") else make_states(decoder, BATCH)
    result = decoder(
        inputs,
        memory=memory,
        initial_states=states,
        memory_mask=mask,
        summary=summary,
        return_attention=attends,
    )
    outputs, attention = to_numpy(result[:2] if attends else (result, result))
    for row in range(BATCH):
        expected = numpy_decoder(
            options,
            inputs[row],
            memory[row],
            mask[row],
            summary[row],
            [[state[row] for state in cell] for cell in states["cells"]]
            if states
            else [zero_states(kind, UNITS) for kind in options["kinds"]],
            decoder.get_weights(),
        )
        assert_close(outputs[row], expected[0], atol=FLOAT64_ROUNDING)
        if attends:
            assert_close(attention[row], expected[1], atol=FLOAT64_ROUNDING)


@tensorflow_only
@pytest.mark.parametrize("options", [OPTIONS[4], OPTIONS[7]], ids=str)
def test_gradient_equals_finite_differences(options, inputs, memory, mask):
    decoder = make_float64_decoder(**options)
    arrays, no_summary = {"inputs": inputs, "memory": memory}, np.zeros((BATCH, SUMMARY))
    if decoder.encoder_residual:
        arrays["summary"] = random(BATCH, SUMMARY, seed=2)
    arrays = {name: array.astype("float64") for name, array in arrays.items()}
    decoder(**arrays)

    def reference(inputs, memory, weights, summary=no_summary):
        zeros = [zero_states(kind, UNITS) for kind in options["kinds"]]
        rows = zip(inputs, memory, mask, summary, strict=True)
        return np.array([numpy_decoder(options, *row, zeros, weights)[0] for row in rows])

    check_gradients(decoder, arrays, reference, memory_mask=mask)


COMBINATIONS = st.fixed_dictionaries(
    {
        "kinds": st.lists(st.sampled_from([GRU, LSTM, SIMPLE, ClockworkRNNCell]), min_size=1, max_size=3),
        "attention": st.sampled_from([None, BahdanauAttention, MonotonicAttention, CoverageAttention]),
        "reader": st.sampled_from([None, MemoryNetwork, CoverageAttention]),
        "order": st.sampled_from(["before", "after", "after with input feeding"]),
        "residual": st.booleans(),
        "encoder_residual": st.booleans(),
        "table": st.booleans(),
    }
)


@given(COMBINATIONS)
@examples(25)
def test_call_is_repeated_steps_and_beams_are_decoded_as_if_alone(options):
    attention, reader = options["attention"], options["reader"]
    decoder = AttentionDecoder(
        [kind(UNITS, (1, 2)) if kind is ClockworkRNNCell else kind(UNITS) for kind in options["kinds"]],
        attention and attention(8),
        reader and reader(9),
        order=options["order"].partition(" ")[0],
        input_feeding="feeding" in options["order"] and bool(attention or reader),
        residual=options["residual"],
        encoder_residual=options["encoder_residual"],
    )
    table = {}
    if options["table"]:
        table_mask = np.array([[True, False], [True, True], [False, False]])
        table = {"memory": random(BATCH, 2, 3, seed=5), "mask": table_mask}
    beams = 2
    inputs, memory = random(BATCH * beams, TIME, FEATURES), random(BATCH, SOURCE, MEMORY_WIDTH, seed=1)
    mask, summary = np.arange(SOURCE) < np.array([[SOURCE], [2], [0]]), random(BATCH, SUMMARY, seed=2)

    def per_beam(array):
        return None if array is None else np.repeat(array, beams, axis=0)

    attends = decoder.attention is not None
    result = decoder(
        inputs,
        memory=per_beam(memory),
        memory_mask=per_beam(mask),
        summary=per_beam(summary),
        reader_memory=per_beam(table.get("memory")),
        reader_memory_mask=per_beam(table.get("mask")),
        return_attention=attends,
    )
    outputs, weights, read_states = result if attends else (result, None, [])

    states = decoder.get_initial_state(BATCH, memory, reader_memory=table.get("memory"))
    states = keras.tree.map_structure(lambda state: ops.repeat(state[:, None], beams, axis=1), states)
    read = table.get("memory", memory)
    source = {
        "keys": decoder.attention.project_keys(memory) if attends else None,
        "memory": memory,
        "mask": mask,
        "summary": summary,
        "reader_keys": decoder.reader.project_keys(read) if decoder.reader else None,
        "reader_memory": table.get("memory"),
        "reader_mask": table.get("mask"),
    }
    for time in range(TIME):
        step_inputs = inputs[:, time].reshape(BATCH, beams, FEATURES)
        before = keras.tree.map_structure(lambda state: state.shape, states)
        output, states, step_weights = decoder.step(step_inputs, states, **source)
        assert keras.tree.map_structure(lambda state: state.shape, states) == before
        assert_close(ops.reshape(output, (BATCH * beams, -1)), outputs[:, time], atol=1e-5)
        if attends:
            assert_close(ops.reshape(step_weights, (BATCH * beams, -1)), weights[:, time], atol=1e-5)
            for state, expected in zip(states.get("attention", []), read_states, strict=True):
                assert_close(ops.reshape(state, (BATCH * beams, -1)), expected[:, time], atol=1e-5)
        else:
            assert step_weights is None


def test_clockwork_cells_keep_their_time(inputs):
    """Without attention the decoder is a stack of Keras' loops."""
    cells = [ClockworkRNNCell(UNITS, (1, 3)), ClockworkRNNCell(UNITS + 1, (1, 2))]
    expected = inputs
    for cell in cells:
        expected = keras.layers.RNN(cell, return_sequences=True)(expected)
    assert_close(AttentionDecoder(cells)(inputs), expected)


def test_every_step_gets_its_own_noise(inputs, memory, mask):
    decoder = AttentionDecoder([GRU(UNITS)], NoisyAttention(8), NoisyAttention(8))
    _, weights, states = decoder(inputs, memory=memory, training=True, return_attention=True)
    assert_close(weights, np.arange(BATCH * TIME * SOURCE).reshape(BATCH, TIME, SOURCE), atol=0)
    assert states == []
    outputs = decoder(inputs, memory=memory, training=True)
    context = np.matmul(to_numpy(weights), memory)
    np.testing.assert_allclose(outputs[..., UNITS:], np.concatenate([context] * 2, axis=-1), rtol=1e-4)


def test_hard_attention_tells_what_it_chose(inputs, memory, mask):
    attention = HardAttention(8, HardSelection(soft_mixing=0.0, seed=1))
    decoder = AttentionDecoder([GRU(UNITS)], attention, order="after")
    outputs, weights, (soft, log_probs, entropies) = decoder(
        inputs, memory=memory, memory_mask=mask, training=True, return_attention=True
    )
    weights = to_numpy(weights)
    assert set(np.unique(weights)) == {0.0, 1.0}
    assert (weights[mask.any(axis=1)].sum(axis=-1) == 1).all()
    assert outputs.shape == (BATCH, TIME, UNITS)
    assert soft.shape == log_probs.shape == entropies.shape == (BATCH, TIME, 1)
    # With two positions to choose from; and with none.
    assert (to_numpy(log_probs)[:2] < 0).all()
    assert (to_numpy(entropies)[1] <= np.log(2)).all()
    assert (to_numpy(log_probs)[2] == 0).all()


def feedback(outputs):
    return ops.sin(outputs[:, :FEATURES])


def test_scheduled_sampling_reads_its_own_outputs(inputs, memory):
    forced = np.array([[0, 1, 0, 0], [1, 1, 1, 1], [1, 0, 1, 0]], bool)
    decoder = AttentionDecoder([GRU(UNITS)], NoisyAttention(8), order="after", input_feeding=True)
    arguments = {"memory": memory, "training": True}
    outputs, weights, _ = decoder(
        inputs, feedback=feedback, forced=forced, return_attention=True, **arguments
    )
    read = inputs.copy()
    for time in range(1, TIME):
        fed = to_numpy(feedback(decoder(read, **arguments)[:, time - 1]))
        read[:, time] = np.where(forced[:, time, None], inputs[:, time], fed)
    assert_close(outputs, decoder(read, **arguments))
    assert (read != inputs).any(axis=-1).sum() == 4
    assert_close(weights[0, :, 0], np.arange(TIME) * SOURCE, atol=0)
    plain = decoder(inputs, feedback=feedback, forced=np.ones((BATCH, TIME), bool), **arguments)
    assert_close(plain, decoder(inputs, **arguments))


def test_a_reader_of_pairs_reads_the_values(inputs):
    table, values = random(BATCH, 5, 3, seed=3), random(BATCH, 5, 3, seed=4)
    decoder = AttentionDecoder([GRU(UNITS)], reader=MemoryNetwork(6))
    pairs = decoder(inputs, reader_memory=table, reader_values=values)
    keys = decoder.reader.project_keys(table, values)
    states = decoder.get_initial_state(BATCH, reader_memory=table)
    output, *_ = decoder.step(inputs[:, 0], states, reader_keys=keys, reader_memory=table)
    assert_close(output, pairs[:, 0])
    assert np.abs(to_numpy(decoder(inputs, reader_memory=table)) - to_numpy(pairs)).max() > 1e-3


def test_initial_states_are_zeros_by_default(inputs, memory):
    decoder = make_decoder([LSTM, GRU])
    zeros = decoder.get_initial_state(BATCH, memory)
    assert [[state.shape for state in cell] for cell in zeros["cells"]] == [
        [(BATCH, 8), (BATCH, 8)],
        [(BATCH, 7)],
    ]
    assert list(zeros) == ["cells"]
    assert_close(decoder(inputs, memory=memory, initial_states=zeros), decoder(inputs, memory=memory), atol=0)


def test_masked_memory_does_not_exist(inputs, memory, mask):
    decoder = make_decoder([GRU])
    outputs = decoder(inputs, memory=memory, memory_mask=mask)
    other = np.where(mask[..., None], memory, 1e3).astype("float32")
    assert_close(decoder(inputs, memory=other, memory_mask=mask), outputs, atol=0)
    assert (to_numpy(outputs)[2, :, UNITS:] == 0).all()


class Reading(keras.layers.Layer):
    """A decoder with two attentions, one of them over pairs."""

    def __init__(self):
        super().__init__()
        self.decoder = AttentionDecoder([GRU(UNITS)], BahdanauAttention(8), MemoryNetwork(5))

    def call(self, inputs, memory, values, mask):
        return self.decoder(inputs, memory=memory, memory_mask=mask, reader_values=values)


@pytest.mark.parametrize("filler", [np.inf, np.nan])
def test_what_is_masked_may_be_infinite(filler, inputs, memory, mask):
    layer, values = Reading(), random(BATCH, SOURCE, MEMORY_WIDTH, seed=2)
    outputs = layer(inputs, memory, values, mask)
    memory, values = (np.where(mask[..., None], each, filler) for each in (memory, values))
    assert_close(layer(inputs, memory, values, mask), outputs, atol=0)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        arguments = [tf.constant(each, "float32") for each in (inputs, memory, values)]
        with tf.GradientTape() as tape:
            tape.watch(arguments)
            loss = tf.reduce_sum(layer(*arguments, mask))
        weights = [weight.value for weight in layer.trainable_weights]
        for gradient in tape.gradient(loss, [*arguments, *weights]):
            assert np.isfinite(gradient).all()


def test_memory_carries_its_mask_and_that_of_the_targets_hides_no_step(memory, mask):
    tokens = np.array([[3, 4, 0, 0], [3, 0, 0, 0], [3, 4, 5, 6]])
    embedding = keras.layers.Embedding(8, FEATURES, mask_zero=True)
    decoder = make_decoder([GRU])
    embedded = keras.ops.take(embedding(tokens), np.arange(TIME), axis=1)
    masked_memory = keras.layers.Masking()(memory * mask[..., None])
    expected = decoder(embedded, memory=masked_memory, memory_mask=mask)
    assert_close(decoder(embedding(tokens), memory=masked_memory), expected)


@pytest.mark.parametrize("attention", [BahdanauAttention, HardAttention])
def test_the_dtype_policy_is_kept(attention, inputs, memory):
    decoder = AttentionDecoder([LSTM(UNITS)], attention(8, dtype="mixed_float16"), dtype="mixed_float16")
    outputs, weights, _ = decoder(inputs, memory=memory, training=True, return_attention=True)
    keys = decoder.attention.project_keys(memory)
    step = decoder.step(inputs[:, 0], decoder.get_initial_state(BATCH, memory), keys, memory)
    dtypes = {keras.backend.standardize_dtype(t.dtype) for t in keras.tree.flatten([outputs, weights, step])}
    assert dtypes == {"float16"}


@pytest.mark.parametrize(
    ("dtype", "source", "positions"),
    [("bfloat16", 401, [257, 379, 401]), ("float16", 2060, [2049, 2051, 2060]), ("float32", 9, [3, 8, 9])],
)
def test_positions_are_exact_in_half_precision(dtype, source, positions, inputs):
    """bfloat16 has gaps between integers above 256, float16 above 2048."""
    policy = dtype if dtype == "float32" else f"mixed_{dtype}"
    attention = MonotonicAttention(2, score_bias=9.0, dtype=policy)
    decoder = AttentionDecoder([GRU(2, dtype=policy)], attention, dtype=policy)
    positions = np.array(positions, "int32")[:, None]
    # With such a bias every step chooses the first position that it looks at.
    _, weights, (read,) = decoder(
        inputs,
        memory=np.zeros((BATCH, source, 1)),
        initial_states={"attention": [positions]},
        return_attention=True,
    )
    assert keras.backend.standardize_dtype(read.dtype) == "int32"
    assert keras.backend.standardize_dtype(weights.dtype) == dtype
    np.testing.assert_array_equal(to_numpy(read), np.repeat(positions[:, None], TIME, axis=1))
    np.testing.assert_array_equal(
        to_numpy(weights), np.eye(source + 1)[to_numpy(read)[..., 0].astype(int), :-1]
    )


@pytest.mark.parametrize("attention", [HardAttention, MonotonicAttention])
def test_states_of_an_attention_stay_wide(attention, inputs, memory):
    decoder = AttentionDecoder([GRU(UNITS)], attention(8, dtype="mixed_bfloat16"), dtype="mixed_bfloat16")
    states = decoder.get_initial_state(BATCH, memory, training=True)
    _, _, read = decoder(inputs, memory=memory, initial_states=states, training=True, return_attention=True)
    assert {keras.backend.standardize_dtype(state.dtype) for state in read} == {"float32"}
    values = ops.convert_to_numpy(read[-1])
    assert (values != to_numpy(ops.cast(values, "bfloat16"))).any()


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("attention", [HardAttention, MonotonicAttention])
def test_missing_initial_states_are_made(attention, training, inputs, memory):
    def decode(**arguments):
        keras.utils.set_random_seed(1)
        decoder = AttentionDecoder(
            [GRU(UNITS)],
            attention(8),
            MonotonicAttention(9, seed=2),
            order="after",
            input_feeding=True,
        )
        return decoder(inputs, memory=memory, training=training, return_attention=True, **arguments)

    expected = decode()
    cells = [[np.zeros((BATCH, UNITS))]]
    assert_close(decode(initial_states={"cells": cells}), expected, atol=0)


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
        ({"cells": [GRU(3)], "reader": 3}, "argument `reader`, expected a layer with the methods .*, got 3"),
        ({"cells": [GRU(3)], "order": "then"}, "argument `order`, expected 'before' or 'after', got 'then'"),
        (
            {"cells": [GRU(3)], "attention": BahdanauAttention(3), "input_feeding": True},
            "argument `input_feeding`, expected `False` unless .* order='after', got True",
        ),
        (
            {"cells": [GRU(3)], "order": "after", "input_feeding": True},
            "argument `input_feeding`, expected `False` unless an `attention` or a `reader` reads",
        ),
        (
            {"cells": [GRU(3), GRU(4)], "residual": True},
            r"argument `cells`, expected cells of the same width for `residual`, got the widths \[3, 4\]",
        ),
        ({"cells": [GRU(3)], "dropout": 1.0}, r"argument `dropout`, expected a float in \[0, 1\), got 1.0"),
    ],
)
def test_invalid_constructor_argument(arguments, message):
    with pytest.raises(ValueError, match=f"Received an invalid value for {message}"):
        AttentionDecoder(**arguments)


def test_memory_is_required_with_attention(inputs, memory):
    decoder = make_decoder([GRU])
    message = "Received no value for argument `memory`, expected a tensor of shape .* with `attention`"
    with pytest.raises(ValueError, match=message):
        decoder(inputs)
    decoder(inputs, memory=memory)
    with pytest.raises(ValueError, match=message):
        decoder(inputs)


def test_a_summary_is_required_with_encoder_residual(inputs):
    decoder = make_decoder([GRU], attention=False, encoder_residual=True)
    message = "Received no value for argument `summary`, expected a tensor of shape `\\(batch, summary_width"
    with pytest.raises(ValueError, match=message):
        decoder(inputs)
    decoder(inputs, summary=random(BATCH, SUMMARY))
    with pytest.raises(ValueError, match=message):
        decoder(inputs)


def test_weights_need_attention(inputs):
    with pytest.raises(
        ValueError, match="`return_attention`, expected `False` for a decoder without attention"
    ):
        make_decoder([GRU], attention=False)(inputs, return_attention=True)


def test_feedback_needs_to_know_where(inputs):
    with pytest.raises(ValueError, match="only one of the arguments `feedback` and `forced`"):
        make_decoder([GRU], attention=False)(inputs, feedback=feedback)


def test_initial_states_are_one_list_a_cell(inputs):
    decoder = make_decoder([GRU, GRU], attention=False)
    message = "`initial_states`, expected under 'cells' one list of states for each of the 2 cells, got 1"
    with pytest.raises(ValueError, match=message):
        decoder(inputs, initial_states={"cells": decoder.get_initial_state(BATCH)["cells"][:1]})


def test_values_need_a_reader(inputs, memory):
    with pytest.raises(ValueError, match="`reader_values`, expected `None` for a decoder without `reader`"):
        make_decoder([GRU])(inputs, memory=memory, reader_values=memory)
