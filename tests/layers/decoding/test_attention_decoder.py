"""Tests of AttentionDecoder: the papers' equations, and what is masked."""

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
    make_decoder,
    make_states,
    random,
    tensorflow_only,
)
from layer_checks import FLOAT64_ROUNDING, assert_close, check_gradients, check_layer, to_numpy
from numpy_references import STEPS, additive_attention, zero_states

from layers import (
    AttentionDecoder,
    BahdanauAttention,
    ClockworkRNNCell,
    HardAttention,
    HardSelection,
    MemoryNetwork,
)

STACKS = [[GRU], [LSTM], [SIMPLE], [LSTM, GRU], [SIMPLE, LSTM]]
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
            contexts = [additive_attention(states[-1][0], memory, mask, read) for read in reads]
            x = np.concatenate([x, *(context for context, _ in contexts)])
        x, new_states = x + summary @ to_input, []
        for index, (kind, cell) in enumerate(zip(kinds, cells, strict=True)):
            new_states.append(STEPS[kind](x, states[index], cell))
            x = new_states[-1][0] + (x if options.get("residual") and index else 0)
        states, x = new_states, x + summary @ to_output
        if after:
            contexts = [additive_attention(x, memory, mask, read) for read in reads]
            fed = np.tanh(np.concatenate([*(context for context, _ in contexts), x]) @ attentional)
            outputs.append(fed)
        else:
            outputs.append(np.concatenate([x, *(context for context, _ in contexts)]))
        attention.append(contexts[0][1] if contexts else [])
    return np.array(outputs), np.array(attention)


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


def test_clockwork_cells_keep_their_time(inputs):
    """Without attention the decoder is a stack of Keras' loops."""
    cells = [ClockworkRNNCell(UNITS, (1, 3)), ClockworkRNNCell(UNITS + 1, (1, 2))]
    expected = inputs
    for cell in cells:
        expected = keras.layers.RNN(cell, return_sequences=True)(expected)
    assert_close(AttentionDecoder(cells)(inputs), expected)


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


@tensorflow_only
def test_compiles_with_xla(inputs, memory, mask):
    import tensorflow as tf

    decoder = make_decoder([GRU])
    expected = decoder(inputs, memory=memory, memory_mask=mask)
    compiled = tf.function(decoder, jit_compile=True)
    assert_close(
        compiled(tf.constant(inputs), memory=tf.constant(memory), memory_mask=tf.constant(mask)), expected
    )
