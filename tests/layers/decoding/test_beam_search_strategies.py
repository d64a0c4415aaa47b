"""Tests of sampling and of diverse groups."""

import itertools
from collections import Counter

import numpy as np
from beam_search_reference import N_HASHES, Model, assert_same, random_tables, rescore, search
from keras import ops

from layers import SearchOptions
from layers.decoding._continuations import Allowed
from layers.decoding._strategies.drawn import DrawnStrategy


def test_draws_follow_the_probabilities():
    log_probs = np.log([1e-9, 0.5, 1e-9, 0.2, 0.3 - 2e-9])
    rows = 4000
    tables = np.broadcast_to(log_probs.astype("float32"), (rows, N_HASHES, 5))
    options = {"beam_size": 1, "max_length": 1, "sample": True, "seeds": np.arange(rows, dtype="int32")}
    for shaping, expected in [
        ({}, [0.5, 0.2, 0.3]),
        ({"temperature": 0.5}, [0.25 / 0.38, 0.04 / 0.38, 0.09 / 0.38]),
        ({"top_k": 2}, [0.625, 0, 0.375]),
        ({"top_p": 0.5}, [1, 0, 0]),
        ({"top_p": 0.51}, [0.625, 0, 0.375]),
    ]:
        results = search(tables, **options, **shaping)
        first = results["sequences"][:, 0, 0]
        drawn = [np.mean(first == 1), np.mean(results["lengths"] == 0), np.mean(first == 4)]
        np.testing.assert_allclose(drawn, expected, atol=4 * np.sqrt(0.25 / rows))


def test_draws_are_independent_of_each_other():
    """Of the hypotheses of a row, and of the tokens of a hypothesis: all pairs are equally frequent."""
    rows = 4000
    tables = np.broadcast_to(np.log([1e-9, 1 / 3, 1e-9, 1e-9, 1 / 3, 1 / 3]), (rows, N_HASHES, 6))
    results = search(
        tables.astype("float32"),
        beam_size=2,
        n_best=2,
        min_length=2,
        max_length=2,
        sample=True,
        seeds=np.arange(rows, dtype="int32"),
    )
    sequences = results["sequences"]
    assert np.isin(sequences, [1, 4, 5]).all()
    # Equal scores: hypotheses keep their places.
    for one, other in itertools.combinations(sequences.reshape(rows, 4).T, 2):
        counts = Counter(zip(one.tolist(), other.tolist(), strict=True))
        shares = np.array([counts[pair] for pair in itertools.product([1, 4, 5], repeat=2)]) / rows
        np.testing.assert_allclose(shares, 1 / 9, atol=4.5 * np.sqrt(1 / 9 * 8 / 9 / rows))


def test_rare_tokens_are_drawn_as_often_as_they_should():
    # Added to 0.96, none of them would change a single precision sum.
    vocabulary = 1_000_000
    log_probs = np.full((1, 1, vocabulary), np.log(0.04 / vocabulary), "float32")
    log_probs[0, 0, 4] = np.log(0.96)
    uniforms = (np.arange(50, dtype="float32")[None] + 0.5) / 50
    drawn = DrawnStrategy(SearchOptions(sample=True)).draw(
        np.broadcast_to(log_probs, (1, 50, vocabulary)), ops.zeros((1, 50)), uniforms, Allowed((), 3, True)
    )
    assert np.sum(ops.convert_to_numpy(drawn.tokens) != 4) == 2


def test_draws_depend_on_the_seed_of_the_row_alone():
    tables = np.broadcast_to(random_tables(1, 9, seed=16), (6, N_HASHES, 9))
    options = {"beam_size": 3, "n_best": 3, "max_length": 5, "sample": True, "length_penalty": 0.6}
    seeds = np.array([5, 6, 5, 7, 8, 6], "int32")
    results = search(tables, seeds=seeds, **options)
    for one, other in [(0, 2), (1, 5)]:
        assert_same({n: v[one] for n, v in results.items()}, {n: v[other] for n, v in results.items()})
    assert len({row.tobytes() for row in results["sequences"]}) > 2
    assert_same(search(tables[:2], seeds=seeds[2:4], **options), {n: v[2:4] for n, v in results.items()})
    again = [search(tables, seed=seed, **options)["sequences"].tolist() for seed in (1, 1, 2)]
    assert again[0] == again[1] != again[2]


def test_drawn_sequences_have_the_scores_of_the_model():
    tables = random_tables(20, 9, seed=17)
    options = {"max_length": 5, "length_penalty": 0.6}
    results = search(
        tables, beam_size=4, n_best=4, sample=True, temperature=1.5, top_k=5, seed=1, min_length=1, **options
    )
    assert results["finished"].sum() > 20
    assert not np.isin(results["sequences"], [2, 3]).any()
    for row, place in zip(*np.nonzero(results["finished"]), strict=True):
        sequence = results["sequences"][row, place, : results["lengths"][row, place]].tolist()
        assert 1 <= len(sequence) <= 5
        expected = rescore(Model(tables[row]), sequence, **options)
        np.testing.assert_allclose(results["scores"][row, place], expected[0], rtol=1e-5)
        np.testing.assert_allclose(results["token_log_probs"][row, place].sum(), expected[1], rtol=1e-5)


def test_groups_differ_and_a_single_one_is_plain_search():
    tables = random_tables(40, 12, seed=18)
    options = {"beam_size": 4, "n_best": 4, "max_length": 6, "min_length": 1}
    plain, diverse = (
        search(tables, **options),
        search(tables, num_beam_groups=4, diversity_penalty=50.0, **options),
    )
    # With so large a penalty all groups begin differently.
    assert all(len(set(row[:, 0])) == 4 for row in diverse["sequences"])
    assert_same(search(tables, num_beam_groups=1, **options), plain)
    unpenalized = search(tables, num_beam_groups=2, **options)
    both = search(tables, **{**options, "beam_size": 2, "n_best": 2})
    # Groups that do not avoid each other find the same, which counts once.
    assert_same({n: v[:, :2] for n, v in unpenalized.items()}, both)
    assert not unpenalized["found"][:, 2:].any()
