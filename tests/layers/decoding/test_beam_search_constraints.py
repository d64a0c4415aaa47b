"""Tests of prefixes and of blocked n-grams."""

import numpy as np
import pytest
from beam_search_reference import (
    LENGTH_PENALTIES,
    N_HASHES,
    assert_same,
    constant_tables,
    next_hash,
    random_tables,
    search,
    table_step,
)
from keras import ops

from layers import BeamSearchDecoder, SearchOptions


@pytest.mark.parametrize("length_penalty", LENGTH_PENALTIES)
def test_prefix_leaves_the_ranking_of_suffixes_unchanged(length_penalty):
    tables = random_tables(30, 6, seed=14)
    options = {"beam_size": 4, "n_best": 4, "length_penalty": length_penalty}
    prefixes = [[1, 4, 1], [5], [4, 4]]
    padded = np.array([prefix + [0] * (3 - len(prefix)) for prefix in prefixes], "int32")
    results = search(tables, prefix=np.tile(padded, (10, 1)), max_length=7, **options)
    for first, prefix in enumerate(prefixes):
        # The model as it is behind the prefix: its hashes begin where the prefix leaves them.
        history = 0
        for token in (2, *prefix[:-1]):
            history = next_hash(history, token)
        states = {
            "hash": ops.full((10,), history, "int32"),
            "nested": [ops.full((10, 1, 2), history, "float32")],
        }
        decoder = BeamSearchDecoder(
            SearchOptions(start_id=prefix[-1], forbidden_ids=(0, 2), max_length=7 - len(prefix), **options)
        )
        behind = decoder(table_step(ops.convert_to_tensor(tables[first::3]), 10), states, 10)
        behind = {name: ops.convert_to_numpy(values) for name, values in behind.items()}
        found = {name: values[first::3] for name, values in results.items()}
        np.testing.assert_array_equal(found["sequences"][:, :, len(prefix) :], behind["sequences"])
        np.testing.assert_array_equal(found["scores"], behind["scores"])
        np.testing.assert_array_equal(found["lengths"], behind["lengths"] + len(prefix))
        assert (found["sequences"][:, :, : len(prefix)] == prefix).all()


def test_a_prefix_may_be_improbable_and_as_long_as_can_be():
    tables = constant_tables(-np.inf, -np.inf, -np.inf, -0.25, -1)
    results = search(tables, prefix=np.array([[1, 1]], "int32"), max_length=2)
    assert results["sequences"].tolist() == [[[1, 1]]]
    assert results["scores"].tolist() == [[-0.25]]
    assert results["token_log_probs"].tolist() == [[[0, 0, -0.25]]]
    empty = search(tables, prefix=np.zeros((1, 0), "int32"), max_length=2)
    assert empty["lengths"].tolist() == [[0]]


@pytest.mark.parametrize("stop", [0, 3])
def test_a_prefix_stops_before_its_first_padding_or_end(stop):
    tables = random_tables(2, 6, seed=20)
    options = {"beam_size": 3, "n_best": 3, "max_length": 5, "min_length": 3}
    stopped = search(tables, prefix=np.array([[4, stop, 5], [stop, 1, 1]], "int32"), **options)
    assert_same(stopped, search(tables, prefix=np.array([[4], [0]], "int32"), **options))


def test_repeated_ngrams_are_blocked():
    # Greedy would write 1 1 1 1, then with single tokens or pairs blocked what has not been yet.
    tables = constant_tables(-np.inf, -1, -np.inf, -9, -2)
    for size, expected in [(0, [1, 1, 1, 1, 1]), (1, [1, 4]), (2, [1, 1, 4, 1]), (3, [1, 1, 1, 4, 1])]:
        results = search(tables, beam_size=1, max_length=5, no_repeat_ngram_size=size)
        assert results["sequences"][0, 0].tolist() == expected + [0] * (5 - len(expected))
        assert results["lengths"][0, 0] == len(expected)
        assert results["finished"].all()


@pytest.mark.parametrize("beam_size", [1, 3])
def test_rows_that_are_blocked_altogether_find_nothing(beam_size):
    # Row 0 has one token and may not end before it has written two.
    tables = np.concatenate(
        [constant_tables(-np.inf, -1, -np.inf, -1), constant_tables(-np.inf, -9, -np.inf, -1)]
    )
    tables = np.concatenate([tables, np.full((2, N_HASHES, 1), [[[-np.inf]], [[-1]]], "float32")], axis=-1)
    results = search(tables, beam_size=beam_size, min_length=2, max_length=4, no_repeat_ngram_size=1)
    assert results["found"].tolist() == [[False], [True]]
    assert results["scores"][0, 0] == -np.inf
    assert (results["sequences"][0] == 0).all()
    assert np.isfinite(results["scores"][1]).all()
