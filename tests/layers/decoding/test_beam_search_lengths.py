"""Tests of the shortest and the longest sequences that BeamSearchDecoder finds.

After `max_length` tokens only the end may follow: there the ends of all unfinished hypotheses compete.
"""

from typing import Any

import numpy as np
import pytest
from beam_search_reference import (
    Model,
    assert_equals_reference,
    constant_tables,
    next_hash,
    random_attention,
    random_tables,
    rescore,
    search,
)


@pytest.mark.parametrize("beam_size", [1, 4])
def test_minimum_and_maximum_length_are_exact(beam_size):
    end_is_likely = constant_tables(-9, -2, -9, -0.25, -3)
    results = search(end_is_likely, beam_size=beam_size, min_length=3, max_length=5, n_best=beam_size)
    assert results["lengths"][0, 0] == 3
    assert (results["lengths"] >= 3).all()
    assert results["finished"].all()
    results = search(end_is_likely, beam_size=beam_size, min_length=3, max_length=3)
    assert results["lengths"].tolist() == [[3]]
    assert results["finished"].tolist() == [[True]]
    assert results["log_probs"].tolist() == [[-6.25]]


@pytest.mark.parametrize("beam_size", [1, 2])
def test_cut_hypotheses_are_flagged(beam_size):
    results = search(
        constant_tables(-9, -1, -9, -np.inf, -3), beam_size=beam_size, max_length=4, length_penalty=1.0
    )
    assert results["found"].tolist() == [[True]]
    assert results["finished"].tolist() == [[False]]
    assert results["sequences"].tolist() == [[[1, 1, 1, 1]]]
    assert results["lengths"].tolist() == [[4]]
    assert results["log_probs"].tolist() == [[-4]]
    np.testing.assert_allclose(results["scores"], [[-4 / 1.5]], rtol=1e-6)


def test_cut_hypotheses_rank_behind_finished_ones():
    tables = constant_tables(-np.inf, -0.25, -np.inf, -4).copy()
    results = search(tables, beam_size=2, max_length=2, n_best=2)
    assert results["finished"].tolist() == [[True, True]]
    tables[0, next_hash(next_hash(0, 2), 1), 3] = -np.inf
    tables[0, next_hash(next_hash(next_hash(0, 2), 1), 1), 3] = -np.inf
    results = search(tables, beam_size=2, max_length=2, n_best=2)
    assert results["finished"].tolist() == [[True, False]]
    assert results["scores"].tolist() == [[-4, -0.5]]
    assert results["sequences"].tolist() == [[[0, 0], [1, 1]]]


def test_an_end_needs_no_place_among_the_best_tokens_after_the_last_one():
    """Every token is more probable than the end, so that two places hold tokens only, at every step."""
    tables = constant_tables(-9, -1, -9, -3, -1.5)
    results = search(tables, beam_size=2, max_length=1, n_best=2)
    assert results["finished"].tolist() == [[True, True]]
    assert results["sequences"].tolist() == [[[1], [4]]]
    assert results["scores"].tolist() == [[-4, -4.5]]
    assert results["token_log_probs"].tolist() == [[[-1, -3], [-1.5, -3]]]


def test_the_best_end_wins_and_not_the_best_beginning():
    tables = constant_tables(-9, -1, -9, -8, -1.5).copy()
    tables[0, next_hash(next_hash(0, 2), 4)] = [-9, -0.25, -9, -2, -0.25]  # What may follow [4].
    results = search(tables, beam_size=2, max_length=1, n_best=1)
    assert results["sequences"].tolist() == [[[4]]]
    assert results["scores"].tolist() == [[-3.5]]
    results = search(tables, beam_size=2, max_length=1, n_best=2)
    assert results["sequences"].tolist() == [[[4], [1]]]
    assert results["finished"].all()


def test_only_an_impossible_end_is_cut():
    tables = constant_tables(-9, -1, -9, -3, -1.5).copy()
    tables[0, next_hash(next_hash(0, 2), 1), 3] = -np.inf
    for impossible in (-np.inf, np.nan):
        tables[0, next_hash(next_hash(0, 2), 1), 3] = impossible
        results = search(tables, beam_size=2, max_length=1, n_best=2)
        assert results["sequences"].tolist() == [[[4], [1]]]
        assert results["finished"].tolist() == [[True, False]]
        assert results["scores"].tolist() == [[-4.5, -1]]
        assert results["token_log_probs"].tolist() == [[[-1.5, -3], [-1, 0]]]


LAST_STEPS: list[dict[str, Any]] = [
    {},
    {"n_best": 2},
    {"beam_size": 1, "n_best": 1},
    {"min_length": 3},
    {"no_repeat_ngram_size": 1},
    {"length_penalty": 1.5},
    {"length_penalty": -1.0, "length_normalization": "average"},
    {"num_beam_groups": 2, "diversity_penalty": 5.0},
    {"num_beam_groups": 4, "n_best": 2},
    {"coverage_penalty": 0.4},
    {"prefix": np.array([[5], [0], [4]] * 10, "int32")},
    {"prefix": np.array([[5, 4, 1], [1, 1, 0], [4, 0, 0]] * 10, "int32")},
]


@pytest.mark.parametrize("some_are_cut", [False, True])
@pytest.mark.parametrize("options", LAST_STEPS, ids=str)
def test_ends_compete_with_ends_after_the_last_token(options, some_are_cut):
    """A rare end, which no hypothesis would reach among the best continuations."""
    tables, attention = random_tables(30, 7, seed=21), random_attention(30, seed=21)
    tables[:, :, 3] -= 12
    if some_are_cut:
        tables[:, ::3, 3] = -np.inf
    options = {"beam_size": 4, "max_length": 3, "n_best": 4, **options}
    results = assert_equals_reference(tables, attention, **options)
    longest = results["lengths"] == 3
    assert longest.any()
    assert (results["found"] & ~results["finished"]).any() == some_are_cut
    assert longest[results["found"] & ~results["finished"]].all()


@pytest.mark.parametrize("shaping", [{}, {"top_k": 1}, {"top_p": 0.1}, {"temperature": 0.2}], ids=str)
def test_the_end_is_drawn_for_sure_after_the_last_token(shaping):
    tables = random_tables(30, 7, seed=22)
    tables[:, :, 3] -= 12
    tables[:10, :, 3] = -np.inf
    options = {"beam_size": 3, "max_length": 3, "length_penalty": 0.6}
    results = search(tables, n_best=3, sample=True, seed=1, **shaping, **options)
    assert results["found"].all()
    assert (results["finished"] == (np.arange(30) >= 10)[:, None]).all()
    assert (results["lengths"] == 3).all()
    for row, place in zip(*np.nonzero(results["finished"]), strict=True):
        score, _, log_probs = rescore(
            Model(tables[row]), results["sequences"][row, place].tolist(), **options
        )
        np.testing.assert_allclose(results["scores"][row, place], score, rtol=1e-5)
        np.testing.assert_allclose(results["token_log_probs"][row, place], log_probs, rtol=1e-5)
    assert (results["token_log_probs"][:10, :, 3] == 0).all()
