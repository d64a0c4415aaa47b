"""Tests of which layer an LSTM's gates in the configuration make."""

import keras
import pytest
from pydantic import ValidationError

from components.models.decoders import LSTMDecoder
from components.models.encoders import LSTMEncoder
from layers import LSTMVariant, LSTMVariantCell


@pytest.mark.parametrize("gates", [{}, {"gates": ["output", "input", "forget"], "coupled": False}], ids=str)
def test_all_gates_are_keras_own_layer(gates):
    settings = {"type": "lstm", "units": 7, "activation": "relu", "recurrent_activation": "hard_sigmoid"}
    layer = LSTMEncoder(**settings, **gates).layer()
    cell = LSTMDecoder(**settings, **gates).cell()
    assert (type(layer), type(cell)) == (keras.layers.LSTM, keras.layers.LSTMCell)
    for made in (layer.get_config(), cell.get_config()):
        assert (made["units"], made["activation"], made["recurrent_activation"]) == (
            7,
            "relu",
            "hard_sigmoid",
        )


@pytest.mark.parametrize(
    ("gates", "expected"),
    [
        ({"gates": ["output", "forget"]}, (["forget", "output"], False)),
        ({"gates": []}, ([], False)),
        ({"coupled": True}, (["input", "forget", "output"], True)),
    ],
    ids=str,
)
def test_others_are_the_variant(gates, expected):
    settings = {"type": "lstm", "units": 7, "activation": "relu", "recurrent_activation": "hard_sigmoid"}
    layer = LSTMEncoder(**settings, **gates).layer()
    cell = LSTMDecoder(**settings, **gates).cell()
    assert (type(layer), type(cell)) == (LSTMVariant, LSTMVariantCell)
    for made in (layer.get_config(), cell.get_config()):
        assert (made["gates"], made["coupled"]) == expected
        assert (made["units"], made["activation"], made["recurrent_activation"]) == (
            7,
            "relu",
            "hard_sigmoid",
        )


@pytest.mark.parametrize(
    ("gates", "message"),
    [
        ({"gates": ["reset"]}, "'input', 'forget' or 'output'"),
        ({"gates": ["input", "input"]}, "expected each gate once"),
        ({"gates": ["output"], "coupled": True}, "add input to gates"),
    ],
    ids=str,
)
def test_gates_that_cannot_be(gates, message):
    for kind in (LSTMEncoder, LSTMDecoder):
        with pytest.raises(ValidationError, match=message):
            kind(type="lstm", **gates)
