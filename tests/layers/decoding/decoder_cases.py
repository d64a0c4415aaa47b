"""Decoders, attentions and sizes that the tests of AttentionDecoder share."""

import keras
import numpy as np
import pytest
from keras import ops

from layers import (
    AttentionDecoder,
    BahdanauAttention,
)
from layers.attention._masked_softmax import masked_softmax

BATCH, TIME, FEATURES, SOURCE, MEMORY_WIDTH, UNITS, SUMMARY = 3, 4, 2, 5, 6, 7, 4
GRU, LSTM, SIMPLE = keras.layers.GRUCell, keras.layers.LSTMCell, keras.layers.SimpleRNNCell
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
