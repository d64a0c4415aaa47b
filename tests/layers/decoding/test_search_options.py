"""Tests of SearchOptions, and of what BeamSearchDecoder refuses."""

import dataclasses
import json

import keras
import numpy as np
import pytest
from beam_search_reference import SOURCE, constant_tables, random_tables, search

from layers import BeamSearchDecoder, SearchOptions


def test_config_round_trip():
    options = {
        "beam_size": 3,
        "max_length": 9,
        "length_penalty": -0.5,
        "n_best": 2,
        "min_length": 1,
        "start_id": 4,
        "end_id": 5,
        "pad_id": 6,
        "forbidden_ids": [1, 4],
        "length_normalization": "average",
        "coverage_penalty": 0.3,
        "no_repeat_ngram_size": 2,
        "sample": True,
        "temperature": 0.7,
        "top_k": 5,
        "top_p": 0.9,
        "seed": 1,
    }
    assert SearchOptions(**options).get_config().items() >= options.items()
    layer = BeamSearchDecoder(SearchOptions(**options), name="search")
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(layer)))
    restored = keras.saving.deserialize_keras_object(config)
    assert isinstance(restored, BeamSearchDecoder)
    assert restored.name == "search"
    assert restored.options == layer.options
    groups = SearchOptions(num_beam_groups=2, diversity_penalty=0.5)
    assert SearchOptions.from_config(groups.get_config()) == groups
    assert BeamSearchDecoder().options == SearchOptions()


def test_options_are_a_value():
    options = SearchOptions(forbidden_ids=[4, 1])
    assert options == SearchOptions(forbidden_ids=(1, 4, 4))
    assert {options: "hashable"}[dataclasses.replace(options)] == "hashable"
    with pytest.raises(dataclasses.FrozenInstanceError):
        options.beam_size = 5


def test_the_end_is_not_forbidden_by_default():
    assert SearchOptions().forbidden_ids == (0, 2)
    assert SearchOptions(start_id=1, end_id=1, pad_id=0).forbidden_ids == (0,)


@pytest.mark.parametrize(
    ("normalization", "lengths"), [("average", [1, 1, 2, 3]), ("gnmt", [1, 1, 7 / 6, 8 / 6])]
)
def test_weights_of_lengths_equal_the_papers(normalization, lengths):
    options = SearchOptions(max_length=2, length_penalty=0.6, length_normalization=normalization)
    np.testing.assert_allclose(options.length_weights, np.array(lengths) ** -0.6, rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beam_size": 0}, "`beam_size`, expected a positive integer, got 0"),
        ({"beam_size": 2.5}, "`beam_size`, expected a positive integer, got 2.5"),
        ({"n_best": True}, "`n_best`, expected a positive integer, got True"),
        ({"n_best": 5}, "n_best=5 and beam_size=4; expected n_best <= beam_size. Widen"),
        ({"max_length": 0}, "`max_length`, expected a positive integer, got 0"),
        ({"min_length": -1}, "`min_length`, expected a non-negative integer, got -1"),
        ({"min_length": 65}, "min_length=65 and max_length=64; expected min_length <= max_length"),
        ({"length_penalty": "0.6"}, "`length_penalty`, expected a finite float, got 0.6"),
        ({"length_penalty": float("nan")}, "`length_penalty`, expected a finite float, got nan"),
        ({"length_penalty": 500}, "length_penalty=500 with max_length=64; expected penalties"),
        ({"length_penalty": -90}, "length_penalty=-90 with max_length=64; expected penalties"),
        ({"pad_id": -1}, "`pad_id`, expected a non-negative integer, got -1"),
        ({"forbidden_ids": ("the",)}, "`forbidden_ids`, expected a non-negative integer, got the"),
        ({"forbidden_ids": (3, 0)}, r"end_id=3 and forbidden_ids=\[0, 3\]; expected an end_id that is not"),
        ({"length_normalization": "none"}, "`length_normalization`, expected one of 'gnmt', 'average'"),
        ({"coverage_penalty": -0.1}, "`coverage_penalty`, expected a non-negative float, got -0.1"),
        ({"diversity_penalty": float("nan")}, "`diversity_penalty`, expected a non-negative float, got nan"),
        ({"no_repeat_ngram_size": -1}, "`no_repeat_ngram_size`, expected a non-negative integer, got -1"),
        ({"temperature": 0, "sample": True}, "`temperature`, expected a positive float, got 0"),
        ({"top_p": 1.5, "sample": True}, r"`top_p`, expected a float in \(0, 1\], got 1.5"),
        ({"top_p": True}, r"`top_p`, expected a float in \(0, 1\], got True"),
        ({"sample": 1}, "`sample`, expected `True` or `False`, got 1"),
        ({"seed": -1}, "`seed`, expected a non-negative integer, got -1"),
        ({"top_k": 5}, "top_k=5 and top_p=1.0 with sample=False; expected their defaults"),
        (
            {"num_beam_groups": 3},
            "num_beam_groups=3 and beam_size=4; expected a number of groups that divides",
        ),
        (
            {"num_beam_groups": 2, "sample": True},
            "num_beam_groups=2 with sample=True; expected num_beam_groups=1",
        ),
        ({"diversity_penalty": 1.0}, "diversity_penalty=1.0 with num_beam_groups=1; expected more groups"),
    ],
)
def test_refuses_impossible_options(options, message):
    with pytest.raises(ValueError, match=message):
        SearchOptions(**options)


def test_refuses_options_of_another_type():
    with pytest.raises(ValueError, match=r"argument `options`, expected `SearchOptions` or `None`, got \{"):
        BeamSearchDecoder({"beam_size": 5})


def test_refuses_a_vocabulary_without_the_end():
    with pytest.raises(ValueError, match=r"shape \(1, 4, 3\) from step; .* above end_id=3. Return one"):
        search(constant_tables(-1, -1, -1))


@pytest.mark.parametrize(
    ("prefix", "message"),
    [
        ([[1, 1, 1]], r"prefix of shape \(1, 3\) with max_length=2; expected .* Raise max_length"),
        ([1], r"prefix of shape \(1,\) with max_length=2; expected \(batch, n\)"),
        ([[1], [1]], r"prefix of shape \(2, 1\) with batch_size=1; expected a row for each"),
    ],
)
def test_refuses_a_prefix_of_the_wrong_shape(prefix, message):
    with pytest.raises(ValueError, match=message):
        search(random_tables(1, 5), prefix=np.array(prefix, "int32"), max_length=2)


def test_refuses_attention_that_is_not_there():
    tables = random_tables(1, 5)
    with pytest.raises(
        ValueError, match=r"no source_mask with coverage_penalty=0.5 and return_attention=False"
    ):
        search(tables, coverage_penalty=0.5)
    with pytest.raises(
        ValueError, match=r"Received log_probs and states from step .* Return it as the third"
    ):
        search(tables, coverage_penalty=0.5, source_mask=np.ones((1, SOURCE), bool))
