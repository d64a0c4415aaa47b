"""Tests of what BeamSearchDecoder returns, and of its corners."""

import numpy as np
import pytest
from beam_search_reference import (
    COMPACT,
    LENGTH_PENALTIES,
    N_HASHES,
    SOURCE,
    assert_equals_reference,
    assert_same,
    constant_tables,
    eager_only,
    next_hash,
    random_attention,
    random_tables,
    search,
    table_step,
)
from keras import ops

from layers import BeamSearchDecoder, SearchOptions


def test_rows_do_not_depend_on_batch_and_order():
    tables = random_tables(8, 7, seed=4)
    for row, sequence in enumerate([(), (1,), (1, 4), (1, 4, 5), (1, 4, 5, 6)]):
        history = next_hash(0, 2)  # Row 0 is sure to end at once, row 1 after a token ...
        for token in sequence:
            tables[row, history] = [-9, -9, -9, -9, -9, -9, -9]
            tables[row, history, token] = -0.125
            history = next_hash(history, token)
        tables[row, history] = [-9, -9, -9, -0.125, -9, -9, -9]
    tables[5, :, 3] = -np.inf
    tables[6] = -np.inf
    tables[7] = np.nan
    options = {"beam_size": 3, "max_length": 8, "length_penalty": 0.6, "n_best": 2}
    together = search(tables, **options)
    assert together["lengths"][:, 0].tolist() == [0, 1, 2, 3, 4, 8, 0, 0]
    order = np.random.default_rng(5).permutation(8)
    assert_same(search(tables[order], **options), {name: v[order] for name, v in together.items()})
    for rows in (slice(0, 1), slice(2, 3), slice(5, 6), slice(4, 7)):
        assert_same(search(tables[rows], **options), {name: v[rows] for name, v in together.items()})


def test_padding_of_the_source_changes_nothing():
    tables, attention = random_tables(6, 7, seed=19), random_attention(6, seed=19)
    options = {"beam_size": 3, "n_best": 3, "max_length": 5, "coverage_penalty": 0.4}
    mask = np.ones((6, SOURCE), bool)
    results = search(tables, attention, source_mask=mask, **options)
    attention[:, :, -1] = np.nan
    mask[:, -1] = False
    shorter = search(tables, attention, source_mask=mask, **options)
    assert not np.array_equal(shorter["scores"], results["scores"])  # The last position was worth something.
    for filler in (0.0, 7.0):
        attention[:, :, -1] = filler
        again = search(tables, attention, source_mask=mask, **options)
        for name in set(again) - {"attention"}:
            np.testing.assert_array_equal(again[name], shorter[name])


@pytest.mark.parametrize("length_penalty", LENGTH_PENALTIES)
def test_results_are_sorted_distinct_and_nothing_follows_the_end(length_penalty):
    results = search(
        random_tables(60, 5, seed=6),
        beam_size=6,
        max_length=4,
        length_penalty=length_penalty,
        n_best=6,
    )
    for row in range(60):
        found = [
            (tuple(sequence[:length]), finished)
            for sequence, length, finished in zip(
                results["sequences"][row], results["lengths"][row], results["finished"][row], strict=True
            )
        ]
        assert len({sequence for sequence, _ in found}) == 6
        for finished in (True, False):
            scores = results["scores"][row][results["finished"][row] == finished]
            assert (np.diff(scores) <= 0).all()
        assert [finished for _, finished in found] == sorted((f for _, f in found), reverse=True)
    after = np.arange(4) >= results["lengths"][:, :, None]
    assert (results["sequences"][after] == 0).all()
    assert not np.isin(results["sequences"][~after], [0, 2, 3]).any()
    assert {name: values.dtype.name for name, values in results.items()} == {
        "sequences": "int32",
        "scores": "float32",
        "log_probs": "float32",
        "lengths": "int32",
        "token_log_probs": "float32",
        "finished": "bool",
        "found": "bool",
    }


def test_too_few_hypotheses_are_marked_as_empty():
    results = search(constant_tables(-np.inf, -1, -np.inf, -2), beam_size=4, max_length=1, n_best=4)
    assert results["found"].tolist() == [[True, True, False, False]]
    assert results["finished"].tolist() == [[True, True, False, False]]
    assert results["log_probs"].tolist() == [[-2, -3, -np.inf, -np.inf]]
    assert results["scores"].tolist() == [[-2, -3, -np.inf, -np.inf]]
    assert results["lengths"].tolist() == [[0, 1, 0, 0]]
    assert results["sequences"].tolist() == [[[0], [1], [0], [0]]]


@pytest.mark.parametrize("log_prob", [-np.inf, np.nan])
@pytest.mark.parametrize("beam_size", [1, 3])
def test_impossible_rows_find_nothing(beam_size, log_prob):
    tables = np.concatenate([random_tables(1, 5), constant_tables(*[log_prob] * 5)])
    results = search(tables, beam_size=beam_size, max_length=5, n_best=beam_size, length_penalty=1.0)
    assert results["found"].tolist() == [[True] * beam_size, [False] * beam_size]
    assert not results["finished"][1].any()
    assert (results["scores"][1] == -np.inf).all()
    assert (results["log_probs"][1] == -np.inf).all()
    assert (results["sequences"][1] == 0).all()


@pytest.mark.parametrize("beam_size", [3, 8])
def test_a_vocabulary_smaller_than_the_beam(beam_size):
    assert_equals_reference(
        random_tables(20, 2, seed=10), beam_size=beam_size, max_length=5, n_best=3, **COMPACT
    )


@eager_only
def test_tokens_stay_within_the_vocabulary_where_candidates_run_out():
    seen = []
    table = ops.convert_to_tensor(random_tables(1, 67)[0, :1])

    def step(tokens, states):
        seen.append(ops.convert_to_numpy(tokens))
        return ops.broadcast_to(table, (*tokens.shape, 67)), states

    BeamSearchDecoder(SearchOptions(beam_size=80, max_length=2))(step, (), 1)
    assert len(seen) == 3
    assert max(tokens.max() for tokens in seen) < 67


@pytest.mark.parametrize("forbidden_ids", [(), (37, 69, 101, 133)])
@pytest.mark.parametrize("beam_size", [1, 3])
def test_a_large_vocabulary_is_searched_whole(beam_size, forbidden_ids):
    generator = np.random.default_rng(11)
    tables = generator.uniform(-30, -20, (6, N_HASHES, 320)).astype("float32")
    likely = np.arange(5, 320, 32)  # far apart, the forbidden ones and the end among them
    tables[:, :, likely] = generator.uniform(-2, 0, (6, N_HASHES, 10))
    assert_equals_reference(
        tables,
        beam_size=beam_size,
        max_length=4,
        n_best=beam_size,
        end_id=5,
        forbidden_ids=forbidden_ids,
    )


@pytest.mark.parametrize("beam_size", [1, 5])
def test_sequences_may_be_empty(beam_size):
    results = search(constant_tables(-5, -5, -5, -0.1, -5), beam_size=beam_size, max_length=3)
    assert results["lengths"].tolist() == [[0]]
    assert results["sequences"].tolist() == [[[0, 0, 0]]]
    assert results["finished"].tolist() == [[True]]


@pytest.mark.parametrize("source", [0, SOURCE])
def test_sources_may_be_empty(source):
    """Of no position, or of masked ones only."""
    tables = random_tables(3, 6, seed=19)
    options = {"beam_size": 3, "n_best": 2, "max_length": 4}
    mask = np.zeros((3, source), bool)
    states = {"hash": ops.zeros((3,), "int32"), "nested": [ops.zeros((3, 1, 2))]}

    def step(tokens, states):
        log_probs, states = plain(tokens, states)
        return log_probs, states, ops.zeros((*ops.shape(tokens), source))

    plain = table_step(ops.convert_to_tensor(tables), 3)
    results = BeamSearchDecoder(SearchOptions(coverage_penalty=0.5, **options))(
        step, states, 3, source_mask=mask, return_attention=True
    )
    results = {name: ops.convert_to_numpy(values) for name, values in results.items()}
    assert results.pop("attention").shape == (3, 2, 4, source)
    assert_same(results, search(tables, **options))
