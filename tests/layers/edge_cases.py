"""Every layer of the package, with inputs of any number of rows and steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
import numpy as np
from keras import ops
from layer_checks import Inputs, random

import layers

WIDTH, UNITS, VOCABULARY = 3, 8, 7


@dataclass(frozen=True)
class EdgeCase:
    """A layer and how to call it."""

    make: Callable[[], keras.Layer]
    """Makes the layer."""
    inputs: Callable[[int, int], Inputs]
    """Makes call arguments of so many rows and so many steps."""
    draws: bool = False
    """Whether training draws random numbers, for which XLA has an algorithm of its own."""

    def model(self, layer: keras.Layer) -> keras.Model:
        """Makes a model of `layer` for any number of rows and steps; its outputs are flat."""
        symbols = {
            name: keras.Input(
                [
                    size if size == other else None
                    for size, other in zip(array.shape[1:], more.shape[1:], strict=True)
                ],
                dtype=array.dtype.name,
                name=name,
            )
            for (name, array), more in zip(self.inputs(1, 2).items(), self.inputs(1, 3).values(), strict=True)
        }
        return keras.Model(symbols, keras.tree.flatten(layer(**symbols)))


@keras.saving.register_keras_serializable(package="rnnpipe_tests")
class Search(keras.Layer):
    """A beam search for sequences that a table of scores, one for every row, makes likely."""

    def __init__(self, options: layers.SearchOptions) -> None:
        super().__init__()
        self.search = layers.BeamSearchDecoder(options)

    def call(self, table: keras.KerasTensor, source_mask: keras.KerasTensor) -> dict[str, keras.KerasTensor]:
        def step(tokens: Any, states: Any) -> tuple[Any, ...]:
            attention = ops.cast(source_mask, "float32")[:, None] + ops.zeros_like(states[:, :, :1])
            return states, states, attention

        return self.search(step, ops.log_softmax(table), ops.shape(table)[0], source_mask=source_mask)


def sequences(rows: int, steps: int, mask: bool = False) -> Inputs:
    """Sequences; with a mask, right-padded rows of all lengths from `steps` down to 0."""
    inputs: Inputs = {"inputs": random(rows, steps, WIDTH).astype("float32")}
    return {**inputs, "mask": real_steps(rows, steps)} if mask else inputs


def recurrent(rows: int, steps: int, mask: bool = False) -> Inputs:
    """The same under the name that Keras' recurrent layers use."""
    made = sequences(rows, steps, mask)
    return {"sequences": made.pop("inputs"), **made}


def tokens(rows: int, steps: int) -> Inputs:
    """Token ids, 0 at padding."""
    ids = np.random.default_rng(0).integers(1, VOCABULARY, size=(rows, steps))
    return {"inputs": np.where(real_steps(rows, steps), ids, 0).astype("int32")}


def query_and_memory(rows: int, steps: int) -> Inputs:
    """A query for every step of a memory of as many positions."""
    return {
        "query": random(rows, steps, UNITS, seed=1).astype("float32"),
        "memory": random(rows, steps, WIDTH).astype("float32"),
        "memory_mask": real_steps(rows, steps),
    }


def targets_and_memory(rows: int, steps: int) -> Inputs:
    """What a decoder reads: twice as long a memory as targets."""
    made = query_and_memory(rows, 2 * steps)
    made["inputs"] = random(rows, steps, WIDTH, seed=1).astype("float32")
    del made["query"]
    return made


def scores(rows: int, steps: int) -> Inputs:
    """Scores and the mask of their positions."""
    return {"scores": random(rows, steps).astype("float32"), "mask": real_steps(rows, steps)}


def real_steps(rows: int, steps: int) -> np.ndarray:
    """The mask of right-padded rows."""
    return np.arange(steps) < (steps - np.arange(rows) % (steps + 1))[:, None]


def table(rows: int, steps: int) -> Inputs:
    """Scores of the tokens, one set for every row, and a source of so many steps."""
    return {"table": random(rows, VOCABULARY).astype("float32"), "source_mask": real_steps(rows, steps)}


def _cell(make: Callable[[], keras.Layer]) -> Callable[[], keras.Layer]:
    return lambda: keras.layers.RNN(make(), return_sequences=True, return_state=True)


_masked, _masked_recurrent = partial(sequences, mask=True), partial(recurrent, mask=True)
_decoder = layers.AttentionDecoder
_gru = keras.layers.GRUCell

EDGE_CASES = {
    "attention_decoder": EdgeCase(
        lambda: _decoder([_gru(UNITS)], layers.BahdanauAttention(UNITS)), targets_and_memory
    ),
    "attention_decoder_after": EdgeCase(
        lambda: _decoder([_gru(UNITS)], layers.LuongAttention(), order="after", input_feeding=True),
        targets_and_memory,
    ),
    "attention_decoder_local": EdgeCase(
        lambda: _decoder([_gru(UNITS)], layers.LuongAttention("concat", window=2), order="after"),
        targets_and_memory,
    ),
    "attention_decoder_hard": EdgeCase(
        lambda: _decoder([keras.layers.LSTMCell(UNITS)], layers.HardAttention(UNITS)),
        targets_and_memory,
        draws=True,
    ),
    "attention_decoder_monotonic": EdgeCase(
        lambda: _decoder([_gru(UNITS)], layers.MonotonicAttention(UNITS), layers.MemoryNetwork(UNITS)),
        targets_and_memory,
        draws=True,
    ),
    "attention_pooling": EdgeCase(lambda: layers.AttentionPooling(), _masked),
    "attention_pooling_hard": EdgeCase(
        lambda: layers.AttentionPooling(selection=layers.HardSelection(seed=1)), _masked, draws=True
    ),
    "bahdanau_attention": EdgeCase(lambda: layers.BahdanauAttention(UNITS), query_and_memory),
    "beam_search_decoder": EdgeCase(
        lambda: Search(layers.SearchOptions(beam_size=3, max_length=4, coverage_penalty=0.1)), table
    ),
    "clockwork_rnn": EdgeCase(lambda: layers.ClockworkRNN(UNITS), recurrent),
    "clockwork_rnn_masked": EdgeCase(
        lambda: layers.ClockworkRNN(UNITS, return_sequences=True, return_state=True), _masked_recurrent
    ),
    "clockwork_rnn_uneven": EdgeCase(
        lambda: layers.ClockworkRNN(UNITS, periods=(2, 3, 2000), return_sequences=True), recurrent
    ),
    "clockwork_rnn_cell": EdgeCase(_cell(lambda: layers.ClockworkRNNCell(UNITS)), _masked_recurrent),
    "cnn_lstm": EdgeCase(lambda: layers.CNNLSTM(UNITS), sequences),
    "cnn_lstm_masked": EdgeCase(lambda: layers.CNNLSTM(UNITS, pool_size=3, bidirectional=True), _masked),
    "echo_state_rnn": EdgeCase(lambda: layers.EchoStateRNN(UNITS, seed=1), _masked_recurrent),
    "echo_state_rnn_sparse": EdgeCase(
        lambda: layers.EchoStateRNN(1000, seed=1, return_sequences=True), _masked_recurrent
    ),
    "echo_state_rnn_cell": EdgeCase(_cell(lambda: layers.EchoStateRNNCell(UNITS, seed=1)), _masked_recurrent),
    "end_to_end_memory_network": EdgeCase(
        lambda: layers.EndToEndMemoryNetwork(VOCABULARY, UNITS, separator=2), tokens
    ),
    "hard_attention": EdgeCase(lambda: layers.HardAttention(UNITS), query_and_memory, draws=True),
    "hard_selection": EdgeCase(lambda: layers.HardSelection(seed=1), scores, draws=True),
    "identity_rnn": EdgeCase(lambda: layers.IdentityRNN(UNITS), _masked_recurrent),
    "lstm_variant": EdgeCase(lambda: layers.LSTMVariant(UNITS, coupled=True), _masked_recurrent),
    "lstm_variant_cell": EdgeCase(_cell(lambda: layers.LSTMVariantCell(UNITS)), _masked_recurrent),
    "luong_attention": EdgeCase(lambda: layers.LuongAttention(), query_and_memory),
    "luong_attention_local": EdgeCase(lambda: layers.LuongAttention("concat", window=2), query_and_memory),
    "memory_network": EdgeCase(lambda: layers.MemoryNetwork(UNITS, max_positions=20), query_and_memory),
    "monotonic_attention": EdgeCase(
        lambda: layers.MonotonicAttention(UNITS, seed=1), query_and_memory, draws=True
    ),
    "recurrent_stack": EdgeCase(
        lambda: layers.RecurrentStack(keras.layers.GRU(UNITS), depth=2, bidirectional=True, residual=True),
        _masked,
    ),
    "recurrent_stack_of_clockwork_rnns": EdgeCase(
        lambda: layers.RecurrentStack(layers.ClockworkRNN(UNITS), bidirectional=True), _masked
    ),
    "text_cnn": EdgeCase(lambda: layers.TextCNN(UNITS), _masked),
    "tfidf": EdgeCase(lambda: layers.TfIdf(VOCABULARY, ngrams=2, hash_bins=16), tokens),
    "tfidf_network": EdgeCase(lambda: layers.TfIdfNetwork(VOCABULARY, UNITS), tokens),
}
