"""Tests of the attentions' configuration."""

import pytest
from pydantic import TypeAdapter, ValidationError

from components.models.attentions import Attention

ADAPTER = TypeAdapter(Attention)


@pytest.mark.parametrize(
    ("settings", "order", "expected"),
    [
        ({"type": "bahdanau"}, "before", {"units": 7}),
        ({"type": "bahdanau", "units": 3}, "before", {"units": 3}),
        ({"type": "luong"}, "after", {"score": "general", "window": None, "units": None}),
        (
            {"type": "luong", "score": "concat", "window": 10, "units": 3},
            "after",
            {"score": "concat", "window": 10, "units": 3},
        ),
        ({"type": "monotonic"}, "before", {"units": 7, "noise_stddev": 1.0, "score_bias": -4.0}),
        (
            {"type": "monotonic", "units": 3, "noise": 0.0, "score_bias": -1.0},
            "before",
            {"units": 3, "noise_stddev": 0.0, "score_bias": -1.0},
        ),
        ({"type": "hard"}, "before", {"units": 7}),
        ({"type": "hard", "units": 3, "estimator": "straight_through"}, "before", {"units": 3}),
    ],
    ids=str,
)
def test_makes_the_layer(settings, order, expected):
    config = ADAPTER.validate_python(settings)
    assert config.order == order
    layer = config.attention(decoder_units=7)
    assert layer.name == "attention"
    made = layer.get_config()
    assert {name: made[name] for name in expected} == expected


def test_hard_attention_has_the_selection():
    settings = {"estimator": "straight_through", "temperature": 2.0, "soft_mixing": 0.25}
    layer = ADAPTER.validate_python({"type": "hard", **settings}).attention(decoder_units=7)
    expected = {**settings, "min_temperature": 0.5, "temperature_decay": 0.9999}
    made = layer.selection.get_config()
    assert {name: made[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"type": "additive"}, "'bahdanau', 'luong', 'monotonic', 'hard'"),
        ({"type": "luong", "score": "cosine"}, "'dot', 'general' or 'concat'"),
        ({"type": "luong", "window": 0}, "greater than 0"),
        ({"type": "luong", "units": 8}, "units received 8 for the score general without a window"),
        ({"type": "luong", "score": "dot", "units": 8}, "remove units, or set score to concat"),
        ({"type": "monotonic", "noise": -1.0}, "greater than or equal to 0"),
        ({"type": "hard", "min_temperature": 2.0}, "expected at least min_temperature"),
        ({"type": "bahdanau", "window": 3}, "Extra inputs are not permitted"),
    ],
    ids=str,
)
def test_refuses(settings, message):
    with pytest.raises(ValidationError, match=message):
        ADAPTER.validate_python(settings)
