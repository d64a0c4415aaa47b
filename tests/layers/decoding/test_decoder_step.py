"""Tests of steps and states: all ways of decoding agree."""

import keras
import numpy as np
import pytest
from decoder_cases import (
    BATCH,
    FEATURES,
    GRU,
    LSTM,
    MEMORY_WIDTH,
    SIMPLE,
    SOURCE,
    SUMMARY,
    TIME,
    UNITS,
    CoverageAttention,
    make_decoder,
    random,
)
from hypothesis import given
from hypothesis import strategies as st
from keras import ops
from layer_checks import assert_close, examples, to_numpy

from layers import (
    AttentionDecoder,
    BahdanauAttention,
    ClockworkRNNCell,
    HardAttention,
    MemoryNetwork,
    MonotonicAttention,
)

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
    source = decoder.prepare(memory, mask, summary, table.get("memory"), table.get("mask"))
    for time in range(TIME):
        step_inputs = inputs[:, time].reshape(BATCH, beams, FEATURES)
        before = keras.tree.map_structure(lambda state: state.shape, states)
        output, states, step_weights = decoder.step(step_inputs, states, source)
        assert keras.tree.map_structure(lambda state: state.shape, states) == before
        assert_close(ops.reshape(output, (BATCH * beams, -1)), outputs[:, time], atol=1e-5)
        if attends:
            assert_close(ops.reshape(step_weights, (BATCH * beams, -1)), weights[:, time], atol=1e-5)
            for state, expected in zip(states.get("attention", []), read_states, strict=True):
                assert_close(ops.reshape(state, (BATCH * beams, -1)), expected[:, time], atol=1e-5)
        else:
            assert step_weights is None


def test_a_reader_of_pairs_reads_the_values(inputs):
    table, values = random(BATCH, 5, 3, seed=3), random(BATCH, 5, 3, seed=4)
    decoder = AttentionDecoder([GRU(UNITS)], reader=MemoryNetwork(6))
    pairs = decoder(inputs, reader_memory=table, reader_values=values)
    source = decoder.prepare(reader_memory=table, reader_values=values)
    states = decoder.get_initial_state(BATCH, reader_memory=table)
    output, *_ = decoder.step(inputs[:, 0], states, source)
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


@pytest.mark.parametrize("attention", [BahdanauAttention, HardAttention])
def test_the_dtype_policy_is_kept(attention, inputs, memory):
    decoder = AttentionDecoder([LSTM(UNITS)], attention(8, dtype="mixed_float16"), dtype="mixed_float16")
    outputs, weights, _ = decoder(inputs, memory=memory, training=True, return_attention=True)
    states = decoder.get_initial_state(BATCH, memory)
    step = decoder.step(inputs[:, 0], states, decoder.prepare(memory))
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


def test_a_source_is_prepared_once(inputs, memory, mask):
    """What depends on the source alone is a value: steps use it and nothing else of the source."""
    decoder = AttentionDecoder(
        [GRU(UNITS)], BahdanauAttention(8), MemoryNetwork(5), order="after", encoder_residual=True
    )
    summary = random(BATCH, SUMMARY, seed=2)
    expected = decoder(inputs, memory=memory, memory_mask=mask, summary=summary)
    source = decoder.prepare(memory, mask, summary)
    assert_close(source.tables["attention"].memory, memory * mask[:, :, None], atol=0)
    assert_close(source.tables["attention"].keys, decoder.attention.project_keys(memory * mask[:, :, None]))
    assert_close(source.residuals, [decoder.input_residual(summary), decoder.output_residual(summary)])
    # As a loop or a function carries it.
    restored = keras.tree.pack_sequence_as(source, keras.tree.flatten(source))
    for layer in (decoder.input_residual, decoder.output_residual, decoder.attention.key_projection):
        layer.kernel.assign(np.full(layer.kernel.shape, np.nan))
    output, *_ = decoder.step(inputs[:, 0], decoder.get_initial_state(BATCH, memory), restored)
    assert_close(output, expected[:, 0])


@pytest.mark.parametrize("filler", [np.inf, np.nan])
def test_what_is_masked_in_a_prepared_source_may_be_infinite(filler, inputs, memory, mask):
    decoder = make_decoder([GRU])
    states = decoder.get_initial_state(BATCH, memory)
    decoder(inputs, memory=memory)
    output, _, weights = decoder.step(inputs[:, 0], states, decoder.prepare(memory, mask))
    filled = np.where(mask[..., None], memory, filler).astype("float32")
    again, _, weights_again = decoder.step(inputs[:, 0], states, decoder.prepare(filled, mask))
    assert_close([again, weights_again], [output, weights], atol=0)
