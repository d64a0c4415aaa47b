"""Tests of BeamSearchDecoder against exhaustive search and a plain beam search that never stops early.

What a correct beam search does, and which tests show it; without a file's name they are here:

 1. full width is exhaustive search: test_full_width_is_exhaustive_search
 2. width 1 is greedy: test_width_one_is_greedy_search
 3. the score is that of a rescoring: test_returned_score_is_that_of_an_independent_rescoring
 4. the pool only improves: test_finished_pool_only_improves
 5. no row depends on others: _results, test_rows_..., test_padding_...
 6. sorted, distinct, the missing marked: _results, test_results_are_sorted_..., test_too_few_hypotheses_...
 7. not below greedy: test_score_is_not_below_greedys_where_its_path_is_kept
 8. nothing after the end: as 6
 9. exact lengths, the last step: test_beam_search_lengths.py
10. early stops are safe: test_stopping_early_is_safe, test_equals_a_beam_search_that_never_stops_early
11. prefixes: _constraints
12. n-grams: _constraints
13. back-pointers: test_states_and_attention_follow_back_pointers
14. ties: test_equals_go_to_...; eager, graph and SavedModel: test_beam_search_graphs.py
15. half precision: _graphs
16. corners: _results
"""

import itertools
from functools import partial
from typing import Any

import numpy as np
import pytest
from beam_search_reference import (
    COMPACT,
    LENGTH_PENALTIES,
    N_HASHES,
    SOURCE,
    Model,
    assert_equals_reference,
    constant_tables,
    eager_only,
    next_hash,
    random_attention,
    random_tables,
    reference_search,
    rescore,
    search,
    table_step,
)
from hypothesis import given
from hypothesis import strategies as st
from keras import ops
from layer_checks import examples

from layers import BeamSearchDecoder, SearchOptions


@pytest.mark.parametrize("coverage_penalty", [0.0, 0.4])
@pytest.mark.parametrize("length_penalty", LENGTH_PENALTIES)
@pytest.mark.parametrize(("vocabulary", "max_length"), [(3, 5), (4, 4), (5, 3)])
def test_full_width_is_exhaustive_search(vocabulary, max_length, length_penalty, coverage_penalty):
    tables, attention = random_tables(20, vocabulary, seed=vocabulary), random_attention(20, seed=vocabulary)
    options = {
        "max_length": max_length,
        "length_penalty": length_penalty,
        "coverage_penalty": coverage_penalty,
        "length_normalization": "average" if vocabulary == 4 else "gnmt",
        **COMPACT,
    }
    tokens = [token for token in range(vocabulary) if token != 1]
    complete = [
        sequence for length in range(max_length + 1) for sequence in itertools.product(tokens, repeat=length)
    ]
    full_width = len(tokens) ** max_length * vocabulary
    results = search(tables, attention, beam_size=full_width, n_best=6, **options)
    greedy = search(tables, attention, beam_size=1, **options)
    for row in range(20):
        model = Model(tables[row], attention[row])
        scores = np.array([rescore(model, sequence, **options)[0] for sequence in complete])
        best = np.argsort(-scores, kind="stable")[:6]
        np.testing.assert_allclose(results["scores"][row], scores[best], rtol=1e-5, atol=1e-6)
        for index, place in enumerate(best):
            length = results["lengths"][row, index]
            assert tuple(results["sequences"][row, index, :length]) == complete[place]
    assert results["finished"].all()
    assert (results["scores"][:, :1] >= greedy["scores"] - 1e-6)[greedy["finished"]].all()


@pytest.mark.parametrize("length_penalty", LENGTH_PENALTIES)
def test_returned_score_is_that_of_an_independent_rescoring(length_penalty):
    tables, attention = random_tables(30, 7, seed=12), random_attention(30, seed=12)
    options = {"max_length": 6, "length_penalty": length_penalty, "coverage_penalty": 0.3}
    results = search(tables, attention, beam_size=5, n_best=5, **options)
    assert results["finished"].sum() > 50
    for row, place in zip(*np.nonzero(results["finished"]), strict=True):
        length = results["lengths"][row, place]
        score, log_prob, token_log_probs = rescore(
            Model(tables[row], attention[row]), results["sequences"][row, place, :length].tolist(), **options
        )
        np.testing.assert_allclose(results["scores"][row, place], score, rtol=1e-5)
        np.testing.assert_allclose(results["log_probs"][row, place], log_prob, rtol=1e-5)
        np.testing.assert_allclose(
            results["token_log_probs"][row, place, : length + 1], token_log_probs, rtol=1e-6
        )


@pytest.mark.parametrize("length_penalty", LENGTH_PENALTIES)
def test_score_is_not_below_greedys_where_its_path_is_kept(length_penalty):
    tables = random_tables(200, 6, seed=13)
    options = {"max_length": 5, "length_penalty": length_penalty}
    greedy, beam = (search(tables, beam_size=width, **options) for width in (1, 3))
    kept = 0
    for row in np.nonzero(greedy["finished"][:, 0])[0]:
        path = greedy["sequences"][row, 0, : greedy["lengths"][row, 0]].tolist()
        # The greedy path is kept if the search has found it too.
        results = reference_search(Model(tables[row]), beam_size=3, n_best=3, **options)
        if tuple(path) in [sequence for _, _, sequence, _ in results]:
            kept += 1
            assert beam["scores"][row, 0] >= greedy["scores"][row, 0]
    assert kept > 50


@pytest.mark.parametrize("length_penalty", LENGTH_PENALTIES)
def test_width_one_is_greedy_search(length_penalty):
    tables = random_tables(60, 6, seed=1)
    tables[:30, :, 3] = -np.inf
    results = search(tables, beam_size=1, max_length=8, length_penalty=length_penalty)
    tables[:, :, [0, 2]] = -np.inf
    n_longest = 0
    for row, table in enumerate(tables):
        history, sequence = next_hash(0, 2), []
        while len(sequence) < 8 and (token := table[history].argmax()) != 3:
            sequence.append(token)
            history = next_hash(history, token)
        n_longest += len(sequence) == 8 and row >= 30
        assert results["lengths"][row, 0] == len(sequence)
        assert results["sequences"][row, 0, : len(sequence)].tolist() == sequence
        assert results["finished"][row, 0] == (row >= 30)
        assert results["token_log_probs"][row, 0, len(sequence)] == (table[history, 3] if row >= 30 else 0)
    assert n_longest


@examples(40)
@given(data=st.data())
def test_equals_a_beam_search_that_never_stops_early(data):
    vocabulary = data.draw(st.one_of(st.integers(4, 12), st.integers(60, 150)), "vocabulary")
    groups = data.draw(st.sampled_from([1, 1, 2, 3]), "num_beam_groups")
    beam_size = groups * data.draw(st.integers(1, 7 if groups == 1 else 3), "width")
    max_length = data.draw(st.integers(1, 6), "max_length")
    batch_size = data.draw(st.integers(1, 6), "batch_size")
    coverage_penalty = data.draw(st.sampled_from([0.0, 0.0, 0.4]), "coverage_penalty")
    tables = random_tables(
        batch_size=batch_size,
        vocabulary=vocabulary,
        seed=data.draw(st.integers(0, 2**32 - 1), "seed"),
        # Ties would be broken by the rounding of the coverage.
        levels=None if coverage_penalty else data.draw(st.sampled_from([None, 1, 2, 8, 40]), "levels"),
    )
    end_id = data.draw(st.integers(0, vocabulary - 1), "end_id")
    tables[:, :, end_id] += data.draw(st.sampled_from([0, -2]), "what makes the end rarer")
    pad_id = data.draw(st.integers(0, vocabulary - 1), "pad_id")
    forbidden_ids = data.draw(st.sets(st.integers(0, vocabulary + 3), max_size=6), "forbidden_ids") - {end_id}
    options: dict[str, Any] = {}
    forced = data.draw(st.lists(st.integers(0, max_length), min_size=batch_size, max_size=batch_size))
    if data.draw(st.booleans(), "has a prefix"):
        rows = [(data.draw(st.permutations(range(vocabulary))) * 2)[:length] for length in forced]
        options["prefix"] = np.array([[*row, *[pad_id] * (max(forced) - len(row))] for row in rows], "int32")
    attention = None
    if coverage_penalty or data.draw(st.booleans(), "returns attention"):
        attention = random_attention(batch_size)
        options["source_mask"] = np.arange(SOURCE) <= np.arange(batch_size)[:, None]
    assert_equals_reference(
        tables,
        attention,
        beam_size=beam_size,
        num_beam_groups=groups,
        diversity_penalty=data.draw(st.sampled_from([0.5, 2.0]), "diversity_penalty") if groups > 1 else 0.0,
        max_length=max_length,
        length_penalty=data.draw(st.sampled_from([*LENGTH_PENALTIES, 0.3, -3.0]), "length_penalty"),
        length_normalization=data.draw(st.sampled_from(["gnmt", "average"]), "length_normalization"),
        coverage_penalty=coverage_penalty,
        no_repeat_ngram_size=data.draw(st.sampled_from([0, 0, 1, 2, 3]), "no_repeat_ngram_size"),
        n_best=data.draw(st.integers(1, beam_size), "n_best"),
        min_length=data.draw(st.integers(0, max_length), "min_length"),
        start_id=data.draw(st.integers(0, vocabulary - 1), "start_id"),
        end_id=end_id,
        pad_id=pad_id,
        forbidden_ids=tuple(forbidden_ids),
        **options,
    )


@pytest.mark.parametrize("length_penalty", LENGTH_PENALTIES)
def test_stopping_early_is_safe(length_penalty):
    # Many tokens cost next to nothing, so that long hypotheses overtake those that ended first.
    tables = -10 * np.random.default_rng(2).random((100, N_HASHES, 8), "float32") ** 8
    assert_equals_reference(tables, beam_size=3, max_length=8, length_penalty=length_penalty, n_best=2)


@eager_only
def test_stops_as_soon_as_every_row_is_settled():
    calls = []

    def step(tokens, states):
        calls.append(tokens)
        log_probs = np.full((2, tokens.shape[1], 5), -5, "float32")
        log_probs[:, :, 3] = -0.125
        return ops.convert_to_tensor(log_probs), states

    for options, expected in [
        ({"beam_size": 1}, 1),
        ({"beam_size": 4}, 1),
        ({"beam_size": 4, "length_penalty": -1.0}, 1),
        ({"beam_size": 4, "n_best": 2}, 2),
        ({"beam_size": 4, "min_length": 6}, 7),
        # The first end has the score -0.125, and the longest of hypotheses at -5 * n could get -5 * n / 2.5.
        ({"beam_size": 4, "length_penalty": 1.0, "max_length": 9}, 1),
        ({"beam_size": 4, "length_penalty": 5.0, "max_length": 9}, 3),
    ]:
        calls.clear()
        results = BeamSearchDecoder(SearchOptions(**options))(step, (), 2)
        assert len(calls) == expected, options
        assert ops.convert_to_numpy(results["finished"]).all()


@pytest.mark.parametrize("length_penalty", [-1.0, 0.6])
def test_finished_pool_only_improves(length_penalty):
    """Seen after each step, by a model that finds nothing possible from there on."""
    tables = random_tables(50, 6, seed=3)
    options = SearchOptions(beam_size=3, max_length=6, length_penalty=length_penalty, n_best=3)
    plain = table_step(ops.convert_to_tensor(tables), 50)

    def step(n_steps, tokens, states):
        time, states = states
        log_probs, states = plain(tokens, states)
        log_probs = ops.where(time[:, :, None] < n_steps, log_probs, -np.inf)
        return log_probs, (time + 1, states)

    pools = []
    for n_steps in range(1, 8):
        states = {"hash": ops.zeros((50,), "int32"), "nested": [ops.zeros((50, 1, 2))]}
        start = (ops.zeros((50,), "int32"), states)
        results = BeamSearchDecoder(options)(partial(step, n_steps), start, 50)
        results = {name: ops.convert_to_numpy(values) for name, values in results.items()}
        pools.append(np.where(results["finished"], results["scores"], -np.inf))
    for before, after in itertools.pairwise(pools):
        assert (after >= before).all()
    assert (pools[0] == -np.inf).any()
    assert (pools[-1] > pools[2]).any()


def test_states_and_attention_follow_back_pointers():
    # Here 1 is better at first, but what begins with 4 wins: all its tokens' attention must be its own.
    tables, attention = random_tables(40, 8, seed=15), random_attention(40, seed=15)
    results = assert_equals_reference(tables, attention, beam_size=4, n_best=4, max_length=6)
    greedy = search(tables, beam_size=1, max_length=6)
    assert (results["sequences"][:, 0, 0] != greedy["sequences"][:, 0, 0]).any()


def test_equals_go_to_the_better_hypothesis_then_to_the_lower_id():
    results = search(constant_tables(*[-1] * 7), beam_size=3, max_length=2, n_best=3, min_length=1)
    # After [1], [4] and [5] all that continues [1] comes first: ids 1, 3 (the end) and 4. Then all end.
    assert results["sequences"].tolist() == [[[1, 0], [1, 1], [1, 4]]]
    assert results["log_probs"].tolist() == [[-2, -3, -3]]
    assert results["finished"].all()


def test_equals_go_to_the_lower_id_in_a_large_vocabulary():
    tables = constant_tables(*[-1] * 200).copy()
    tables[:, :, 150] = -0.5
    results = assert_equals_reference(tables, beam_size=3, max_length=1, n_best=3, min_length=1)
    assert results["sequences"].tolist() == [[[150], [1], [4]]]
