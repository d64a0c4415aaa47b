"""Tests of what AttentionDecoder refuses."""

import keras
import pytest
from decoder_cases import BATCH, GRU, SUMMARY, make_decoder, random

from layers import (
    AttentionDecoder,
    BahdanauAttention,
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
        make_decoder([GRU], attention=False)(inputs, feedback=lambda outputs: outputs)


def test_initial_states_are_one_list_a_cell(inputs):
    decoder = make_decoder([GRU, GRU], attention=False)
    message = "`initial_states`, expected under 'cells' one list of states for each of the 2 cells, got 1"
    with pytest.raises(ValueError, match=message):
        decoder(inputs, initial_states={"cells": decoder.get_initial_state(BATCH)["cells"][:1]})


def test_values_need_a_reader(inputs, memory):
    with pytest.raises(ValueError, match="`reader_values`, expected `None` for a decoder without `reader`"):
        make_decoder([GRU])(inputs, memory=memory, reader_values=memory)


def test_a_source_needs_weights(memory):
    decoder = make_decoder([GRU], name="unbuilt")
    with pytest.raises(
        ValueError, match=r"'unbuilt' has no weights yet. Call it once, or call `build\(inputs"
    ):
        decoder.prepare(memory)


def test_a_source_is_checked_as_a_call_is(inputs, memory):
    decoder = make_decoder([GRU], encoder_residual=True)
    decoder(inputs, memory=memory, summary=random(BATCH, SUMMARY))
    with pytest.raises(
        ValueError, match="Received no value for argument `memory`, expected a tensor of shape"
    ):
        decoder.prepare(summary=random(BATCH, SUMMARY))
    with pytest.raises(
        ValueError, match="Received no value for argument `summary`, expected a tensor of shape"
    ):
        decoder.prepare(memory)
    with pytest.raises(ValueError, match="`reader_values`, expected `None` for a decoder without `reader`"):
        decoder.prepare(memory, summary=random(BATCH, SUMMARY), reader_values=memory)
