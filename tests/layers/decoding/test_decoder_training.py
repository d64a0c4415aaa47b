"""Tests of what AttentionDecoder does in training only."""

import keras
import numpy as np
from decoder_cases import BATCH, FEATURES, GRU, SIMPLE, SOURCE, TIME, UNITS, NoisyAttention
from keras import ops
from layer_checks import assert_close, to_numpy

from layers import (
    AttentionDecoder,
    BahdanauAttention,
)


def test_every_step_gets_its_own_noise(inputs, memory, mask):
    decoder = AttentionDecoder([GRU(UNITS)], NoisyAttention(8), NoisyAttention(8))
    _, weights, states = decoder(inputs, memory=memory, training=True, return_attention=True)
    assert_close(weights, np.arange(BATCH * TIME * SOURCE).reshape(BATCH, TIME, SOURCE), atol=0)
    assert states == []
    outputs = decoder(inputs, memory=memory, training=True)
    context = np.matmul(to_numpy(weights), memory)
    np.testing.assert_allclose(outputs[..., UNITS:], np.concatenate([context] * 2, axis=-1), rtol=1e-4)


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
