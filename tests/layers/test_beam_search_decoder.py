"""Tests of BeamSearchDecoder against exhaustive search and a plain beam search that never stops early."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import ops
from layer_checks import examples

from layers.beam_search_decoder import BeamSearchDecoder

N_HASHES = 61
DEFAULTS: dict[str, Any] = {
    "beam_width": 4,
    "max_length": 64,
    "length_penalty": 0.0,
    "n_best": 1,
    "min_length": 0,
    "start_id": 2,
    "end_id": 3,
    "pad_id": 0,
    "forbidden_ids": (0, 2),
}
# A vocabulary without ids to spare: 0 starts and pads and is a token like any other, 1 ends.
COMPACT: dict[str, Any] = {"start_id": 0, "end_id": 1, "pad_id": 0, "forbidden_ids": ()}
LENGTH_PENALTIES = [-1.0, 0.0, 0.6, 2.0]
tensorflow_only = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="uses TensorFlow")
# Other backends trace the step once, and so run it.
eager_only = tensorflow_only

Results = dict[str, np.ndarray]


def next_hash(history: Any, token: Any) -> Any:
    return (history * 37 + token + 1) % N_HASHES


def random_tables(batch_size: int, vocabulary: int, seed: int = 0, levels: int | None = None) -> np.ndarray:
    """Log probabilities (batch, N_HASHES, vocabulary), by a hash of all the tokens so far.

    With `levels` they take only so many values from 0 down, quarters, which float32 adds exactly: there are
    many ties. One value in ten is then -inf.
    """
    generator = np.random.default_rng(seed)
    shape = (batch_size, N_HASHES, vocabulary)
    if levels is None:
        logits = generator.normal(size=shape) * 2
        return (logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))).astype("float32")
    tables = -generator.integers(0, levels, size=shape).astype("float32") / 4
    return np.where(generator.random(shape) < 0.1, -np.inf, tables).astype("float32")


def constant_tables(*log_probs: float) -> np.ndarray:
    """The tables of a single row whose log probabilities never change."""
    return np.broadcast_to(np.array(log_probs, "float32"), (1, N_HASHES, len(log_probs)))


def table_step(tables: Any, batch_size: Any) -> Callable[[Any, Any], tuple[Any, Any]]:
    """The model as a step function, with the hash in two states of different rank and type."""
    flat_tables = ops.reshape(tables, (-1, tables.shape[-1]))
    rows = ops.arange(batch_size, dtype="int32")[:, None] * N_HASHES

    def step(tokens: Any, states: Any) -> tuple[Any, Any]:
        history = next_hash(states["hash"], tokens)
        copy = next_hash(states["nested"][0], ops.cast(tokens, "float32")[:, :, None, None])
        agree = ops.equal(copy[:, :, 0, 1], ops.cast(history, "float32"))
        log_probs = ops.take(flat_tables, history + rows, axis=0)
        log_probs = ops.where(agree[:, :, None], log_probs, ops.full_like(log_probs, np.nan))
        return log_probs, {"hash": history, "nested": [copy]}

    return step


def search_tensors(decoder: BeamSearchDecoder, tables: Any, batch_size: Any) -> dict[str, Any]:
    states = {"hash": ops.zeros((batch_size,), "int32"), "nested": [ops.zeros((batch_size, 1, 2))]}
    return decoder(table_step(tables, batch_size), states, batch_size)


def search(tables: np.ndarray, **options: Any) -> Results:
    results = search_tensors(BeamSearchDecoder(**options), ops.convert_to_tensor(tables), len(tables))
    return {name: ops.convert_to_numpy(values) for name, values in results.items()}


def penalized(log_prob: Any, length: int, length_penalty: float) -> Any:
    return log_prob * np.float32(((5 + length) / 6) ** -length_penalty)


def reference_search(table: np.ndarray, **options: Any) -> list[tuple[np.float32, np.float32, tuple, bool]]:
    """Beam search of one row that never stops early: (score, log_prob, sequence, finished), best first."""
    option = {**DEFAULTS, **options}
    width, end_id = option["beam_width"], option["end_id"]
    live: list[tuple[np.float32, tuple[int, ...]]] = [(np.float32(0), ())]
    finished, cut = [], []
    for time in range(option["max_length"] + 1):
        candidates = []
        for place, (log_prob, sequence) in enumerate(live):
            history = 0
            for token in (option["start_id"], *sequence):
                history = next_hash(history, token)
            for token, value in enumerate(table[history]):
                allowed = token not in option["forbidden_ids"]
                if token == end_id:
                    allowed = time >= option["min_length"]
                if allowed and value > -np.inf:
                    candidates.append((np.float32(log_prob + value), place, token))
        candidates.sort(key=lambda candidate: (-candidate[0], candidate[1], candidate[2]))
        ended = {place: total for total, place, token in candidates[:width] if token == end_id}
        for place, total in ended.items():
            score = penalized(total, time + 1, option["length_penalty"])
            finished.append((score, total, live[place][1], True))
        if width == 1 and ended:
            break
        if time == option["max_length"]:
            cut = [
                (penalized(total, time, option["length_penalty"]), total, sequence, False)
                for place, (total, sequence) in enumerate(live)
                if place not in ended
            ]
        unfinished = [candidate for candidate in candidates if candidate[2] != end_id][:width]
        live = [(total, (*live[place][1], token)) for total, place, token in unfinished]
    finished.sort(key=lambda hypothesis: -hypothesis[0])
    cut.sort(key=lambda hypothesis: -hypothesis[1])
    return (finished + cut)[: option["n_best"]]


def assert_equals_reference(tables: np.ndarray, **options: Any) -> Results:
    results = search(tables, **options)
    option = {**DEFAULTS, **options}
    for row, table in enumerate(tables):
        expected = reference_search(table, **options)
        n_empty = option["n_best"] - len(expected)
        padding = [option["pad_id"]] * option["max_length"]
        sequences = [[*sequence, *padding][: option["max_length"]] for *_, sequence, _ in expected]
        np.testing.assert_array_equal(results["sequences"][row], sequences + [padding] * n_empty)
        np.testing.assert_array_equal(results["scores"][row], [e[0] for e in expected] + [-np.inf] * n_empty)
        np.testing.assert_array_equal(
            results["log_probs"][row], [e[1] for e in expected] + [-np.inf] * n_empty
        )
        np.testing.assert_array_equal(results["lengths"][row], [len(e[2]) for e in expected] + [0] * n_empty)
        np.testing.assert_array_equal(results["finished"][row], [e[3] for e in expected] + [False] * n_empty)
        np.testing.assert_array_equal(results["found"][row], [True] * len(expected) + [False] * n_empty)
    return results


def assert_same(one: Results, other: Results) -> None:
    assert one.keys() == other.keys()
    for name, values in one.items():
        np.testing.assert_array_equal(np.asarray(values), np.asarray(other[name]), err_msg=name)


# 1, 7: what the search finds


@pytest.mark.parametrize("length_penalty", LENGTH_PENALTIES)
@pytest.mark.parametrize(("vocabulary", "max_length"), [(3, 5), (4, 4), (5, 3)])
def test_full_width_beam_equals_exhaustive_search(vocabulary, max_length, length_penalty):
    tables = random_tables(40, vocabulary, seed=vocabulary)
    n_best = 6
    complete = []
    tokens = [token for token in range(vocabulary) if token != 1]
    for length in range(max_length + 1):
        for sequence in itertools.product(tokens, repeat=length):
            history, total = next_hash(0, 0), np.zeros(len(tables), "float32")
            for token in (*sequence, 1):
                total += tables[:, history, token]
                history = next_hash(history, token)
            padded = [*sequence, *[0] * (max_length - length)]
            complete.append((total / ((5 + length + 1) / 6) ** length_penalty, padded, length))
    scores = np.stack([score for score, *_ in complete], axis=1)
    best = np.argsort(-scores, axis=1, kind="stable")[:, :n_best]

    full_width = len(tokens) ** max_length * vocabulary
    results = search(
        tables,
        beam_width=full_width,
        max_length=max_length,
        length_penalty=length_penalty,
        n_best=n_best,
        **COMPACT,
    )
    np.testing.assert_allclose(results["scores"], np.take_along_axis(scores, best, axis=1), rtol=1e-6)
    np.testing.assert_array_equal(results["sequences"], np.array([padded for _, padded, _ in complete])[best])
    np.testing.assert_array_equal(results["lengths"], np.array([length for *_, length in complete])[best])
    assert results["finished"].all()
    greedy = search(tables, beam_width=1, max_length=max_length, length_penalty=length_penalty, **COMPACT)
    assert (results["scores"][:, :1] >= greedy["scores"])[greedy["finished"]].all()


# 2: greedy search


@pytest.mark.parametrize("length_penalty", LENGTH_PENALTIES)
def test_width_one_is_greedy_search(length_penalty):
    tables = random_tables(60, 6, seed=1)
    results = search(tables, beam_width=1, max_length=8, length_penalty=length_penalty)
    tables[:, :, [0, 2]] = -np.inf
    for row, table in enumerate(tables):
        history, sequence = next_hash(0, 2), []
        while len(sequence) < 8 and (token := table[history].argmax()) != 3:
            sequence.append(token)
            history = next_hash(history, token)
        assert results["lengths"][row, 0] == len(sequence)
        assert results["sequences"][row, 0, : len(sequence)].tolist() == sequence
        assert results["finished"][row, 0] == (table[history].argmax() == 3)
    assert 0 < results["finished"].sum() < 60


# 3, 6, 8, 10, 13, 14, 16: every option against the reference


@examples(15)
@given(data=st.data())
def test_equals_a_beam_search_that_never_stops_early(data):
    vocabulary = data.draw(st.one_of(st.integers(4, 12), st.integers(60, 150)), "vocabulary")
    beam_width = data.draw(st.integers(1, 7), "beam_width")
    max_length = data.draw(st.integers(1, 6), "max_length")
    tables = random_tables(
        batch_size=data.draw(st.integers(1, 8), "batch_size"),
        vocabulary=vocabulary,
        seed=data.draw(st.integers(0, 2**32 - 1), "seed"),
        levels=data.draw(st.sampled_from([None, 1, 2, 8, 40]), "levels"),
    )
    end_id = data.draw(st.integers(0, vocabulary - 1), "end_id")
    tables[:, :, end_id] += data.draw(st.sampled_from([0, -2]), "what makes the end rarer")
    forbidden_ids = data.draw(st.sets(st.integers(0, vocabulary + 3), max_size=6), "forbidden_ids") - {end_id}
    assert_equals_reference(
        tables,
        beam_width=beam_width,
        max_length=max_length,
        length_penalty=data.draw(st.sampled_from([*LENGTH_PENALTIES, 0.3, -3.0]), "length_penalty"),
        n_best=data.draw(st.integers(1, beam_width), "n_best"),
        min_length=data.draw(st.integers(0, max_length), "min_length"),
        start_id=data.draw(st.integers(0, vocabulary - 1), "start_id"),
        end_id=end_id,
        pad_id=data.draw(st.integers(0, vocabulary - 1), "pad_id"),
        forbidden_ids=tuple(forbidden_ids),
    )


@pytest.mark.parametrize("length_penalty", LENGTH_PENALTIES)
def test_stopping_early_never_changes_a_result(length_penalty):
    # Many tokens cost next to nothing, so that long hypotheses overtake those that ended first.
    tables = -10 * np.random.default_rng(2).random((100, N_HASHES, 8), "float32") ** 8
    assert_equals_reference(tables, beam_width=3, max_length=8, length_penalty=length_penalty, n_best=2)


@eager_only
def test_stops_as_soon_as_every_row_is_settled():
    calls = []

    def step(tokens, states):
        calls.append(tokens)
        log_probs = np.full((2, tokens.shape[1], 5), -5, "float32")
        log_probs[:, :, 3] = -0.125
        return ops.convert_to_tensor(log_probs), states

    for options, expected in [
        ({"beam_width": 1}, 1),
        ({"beam_width": 4}, 1),
        ({"beam_width": 4, "length_penalty": -1.0}, 1),
        ({"beam_width": 4, "n_best": 2}, 2),
        ({"beam_width": 4, "min_length": 6}, 7),
        # The first end has the score -0.125, and the longest of hypotheses at -5 * n could get -5 * n / 2.5.
        ({"beam_width": 4, "length_penalty": 1.0, "max_length": 9}, 1),
        ({"beam_width": 4, "length_penalty": 5.0, "max_length": 9}, 3),
    ]:
        calls.clear()
        results = BeamSearchDecoder(**options)(step, (), 2)
        assert len(calls) == expected, options
        assert ops.convert_to_numpy(results["finished"]).all()


# 4: the pool


@pytest.mark.parametrize("length_penalty", [-1.0, 0.6])
def test_longer_searches_only_improve_what_was_found(length_penalty):
    tables = random_tables(50, 6, seed=3)
    before = np.full((50, 3), -np.inf)
    for max_length in (1, 2, 3, 6):
        results = search(tables, beam_width=3, max_length=max_length, length_penalty=length_penalty, n_best=3)
        finished = np.where(results["finished"], results["scores"], -np.inf)
        assert (finished >= before).all()
        before = finished


# 5: independence of rows


def test_rows_do_not_depend_on_one_another():
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
    options = {"beam_width": 3, "max_length": 8, "length_penalty": 0.6, "n_best": 2}
    together = search(tables, **options)
    assert together["lengths"][:, 0].tolist() == [0, 1, 2, 3, 4, 8, 0, 0]
    order = np.random.default_rng(5).permutation(8)
    assert_same(search(tables[order], **options), {name: v[order] for name, v in together.items()})
    for rows in (slice(0, 1), slice(2, 3), slice(5, 6), slice(4, 7)):
        assert_same(search(tables[rows], **options), {name: v[rows] for name, v in together.items()})


# 6, 8, 9: what is returned


@pytest.mark.parametrize("length_penalty", LENGTH_PENALTIES)
def test_results_are_sorted_distinct_and_end_once(length_penalty):
    results = search(
        random_tables(60, 5, seed=6),
        beam_width=6,
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
        "finished": "bool",
        "found": "bool",
    }


def test_too_few_hypotheses_are_marked_as_empty():
    results = search(constant_tables(-np.inf, -1, -np.inf, -2), beam_width=4, max_length=1, n_best=4)
    assert results["found"].tolist() == [[True, True, False, False]]
    assert results["finished"].tolist() == [[True, True, False, False]]
    assert results["log_probs"].tolist() == [[-2, -3, -np.inf, -np.inf]]
    assert results["scores"].tolist() == [[-2, -3, -np.inf, -np.inf]]
    assert results["lengths"].tolist() == [[0, 1, 0, 0]]
    assert results["sequences"].tolist() == [[[0], [1], [0], [0]]]


@pytest.mark.parametrize("log_prob", [-np.inf, np.nan])
@pytest.mark.parametrize("beam_width", [1, 3])
def test_impossible_rows_find_nothing(beam_width, log_prob):
    tables = np.concatenate([random_tables(1, 5), constant_tables(*[log_prob] * 5)])
    results = search(tables, beam_width=beam_width, max_length=5, n_best=beam_width, length_penalty=1.0)
    assert results["found"].tolist() == [[True] * beam_width, [False] * beam_width]
    assert not results["finished"][1].any()
    assert (results["scores"][1] == -np.inf).all()
    assert (results["log_probs"][1] == -np.inf).all()
    assert (results["sequences"][1] == 0).all()


@pytest.mark.parametrize("beam_width", [1, 4])
def test_lengths_are_exactly_within_their_limits(beam_width):
    end_is_likely = constant_tables(-9, -2, -9, -0.25, -3)
    results = search(end_is_likely, beam_width=beam_width, min_length=3, max_length=5, n_best=beam_width)
    assert results["lengths"][0, 0] == 3
    assert (results["lengths"] >= 3).all()
    assert results["finished"].all()
    results = search(end_is_likely, beam_width=beam_width, min_length=3, max_length=3)
    assert results["lengths"].tolist() == [[3]]
    assert results["finished"].tolist() == [[True]]
    assert results["log_probs"].tolist() == [[-6.25]]


@pytest.mark.parametrize("beam_width", [1, 2])
def test_hypotheses_that_do_not_end_are_cut(beam_width):
    results = search(
        constant_tables(-9, -1, -9, -30, -3), beam_width=beam_width, max_length=4, length_penalty=1.0
    )
    assert results["found"].tolist() == [[True]]
    assert results["finished"].tolist() == [[False]]
    assert results["sequences"].tolist() == [[[1, 1, 1, 1]]]
    assert results["lengths"].tolist() == [[4]]
    assert results["log_probs"].tolist() == [[-4]]
    np.testing.assert_allclose(results["scores"], [[-4 / 1.5]], rtol=1e-6)


def test_cut_hypotheses_rank_behind_finished_ones():
    tables = constant_tables(-np.inf, -0.25, -np.inf, -4).copy()
    results = search(tables, beam_width=2, max_length=2, n_best=2)
    assert results["finished"].tolist() == [[True, True]]
    tables[0, next_hash(next_hash(0, 2), 1), 3] = -np.inf
    tables[0, next_hash(next_hash(next_hash(0, 2), 1), 1), 3] = -np.inf
    results = search(tables, beam_width=2, max_length=2, n_best=2)
    assert results["finished"].tolist() == [[True, False]]
    assert results["scores"].tolist() == [[-4, -0.5]]
    assert results["sequences"].tolist() == [[[0, 0], [1, 1]]]


# 14: ties, graphs, SavedModels


def test_equals_go_to_the_better_hypothesis_then_to_the_lower_id():
    results = search(constant_tables(*[-1] * 7), beam_width=3, max_length=2, n_best=3, min_length=1)
    # After [1], [4] and [5] all that continues [1] comes first: ids 1, 3 (the end) and 4.
    assert results["sequences"].tolist() == [[[1, 0], [1, 1], [1, 4]]]
    assert results["log_probs"].tolist() == [[-2, -3, -2]]
    assert results["finished"].tolist() == [[True, True, False]]


def test_equals_go_to_the_lower_id_in_a_large_vocabulary():
    tables = constant_tables(*[-1] * 200).copy()
    tables[:, :, 150] = -0.5
    results = assert_equals_reference(tables, beam_width=3, max_length=1, n_best=3, min_length=1)
    assert results["sequences"].tolist() == [[[150], [1], [4]]]


@tensorflow_only
@pytest.mark.parametrize(("batch_size", "jit_compile"), [(None, False), (5, False), (5, True)])
def test_graphs_equal_eager_execution(batch_size, jit_compile):
    import tensorflow as tf

    tables = random_tables(5, 9, seed=7)
    options = {"beam_width": 4, "max_length": 7, "length_penalty": 0.8, "n_best": 3, "min_length": 1}
    decoder = BeamSearchDecoder(**options)
    function = tf.function(
        lambda tables: search_tensors(decoder, tables, tf.shape(tables)[0]),
        input_signature=[tf.TensorSpec((batch_size, N_HASHES, 9))],
        jit_compile=jit_compile,
    )
    assert_same(function(tables), search(tables, **options))
    if batch_size is None:
        assert_same(function(tables[:2]), search(tables[:2], **options))


@tensorflow_only
def test_a_saved_model_finds_the_same(tmp_path: Path):
    import tensorflow as tf

    tables = random_tables(5, 70, seed=8)
    options = {"beam_width": 4, "max_length": 7, "length_penalty": 0.8, "n_best": 3}
    module = tf.Module()
    module.decoder = BeamSearchDecoder(**options)
    module.search = tf.function(
        lambda tables: search_tensors(module.decoder, tables, tf.shape(tables)[0]),
        input_signature=[tf.TensorSpec((None, N_HASHES, 70))],
    )
    tf.saved_model.save(module, tmp_path, signatures={"serving_default": module.search})
    loaded = tf.saved_model.load(tmp_path)
    for batch_size in (5, 1, 3):
        expected = search(tables[:batch_size], **options)
        assert_same(loaded.search(tables[:batch_size]), expected)
        assert_same(loaded.signatures["serving_default"](tf.constant(tables[:batch_size])), expected)
    assert loaded.search(tables[:0])["sequences"].shape == (0, 3, 7)


# 15: precision


@pytest.mark.parametrize("vocabulary", [9, 131])
def test_half_precision_models_have_single_precision_scores(vocabulary):
    tables = random_tables(6, vocabulary, seed=9).astype("float16")
    options = {"beam_width": 3, "max_length": 6, "length_penalty": 0.5, "n_best": 2}
    results = search(tables, **options)
    assert results["scores"].dtype == np.float32
    assert_same(results, search(tables.astype("float32"), **options))


@eager_only
def test_mixed_precision_leaves_the_states_alone():
    seen = []

    def step(tokens, states):
        seen.append([ops.dtype(state) for state in states])
        return ops.log_softmax(ops.zeros((2, 4, 6))), states

    decoder = BeamSearchDecoder(min_length=2, max_length=2, dtype="mixed_float16")
    decoder(step, (np.zeros((2, 3), "float32"), np.zeros((2,), "float16")), 2)
    assert seen == [["float32", "float16"]] * 3


# 16: corners


@pytest.mark.parametrize("beam_width", [3, 8])
def test_a_vocabulary_smaller_than_the_beam(beam_width):
    assert_equals_reference(
        random_tables(20, 2, seed=10), beam_width=beam_width, max_length=5, n_best=3, **COMPACT
    )


@eager_only
def test_tokens_stay_within_the_vocabulary_where_candidates_run_out():
    seen = []
    table = ops.convert_to_tensor(random_tables(1, 67)[0, :1])

    def step(tokens, states):
        seen.append(ops.convert_to_numpy(tokens))
        return ops.broadcast_to(table, (*tokens.shape, 67)), states

    BeamSearchDecoder(beam_width=80, max_length=2)(step, (), 1)
    assert len(seen) == 3
    assert max(tokens.max() for tokens in seen) < 67


@pytest.mark.parametrize("forbidden_ids", [(), (37, 69, 101, 133)])
@pytest.mark.parametrize("beam_width", [1, 3])
def test_a_large_vocabulary_is_searched_whole(beam_width, forbidden_ids):
    generator = np.random.default_rng(11)
    tables = generator.uniform(-30, -20, (6, N_HASHES, 320)).astype("float32")
    likely = np.arange(5, 320, 32)  # far apart, the forbidden ones and the end among them
    tables[:, :, likely] = generator.uniform(-2, 0, (6, N_HASHES, 10))
    assert_equals_reference(
        tables,
        beam_width=beam_width,
        max_length=4,
        n_best=beam_width,
        end_id=5,
        forbidden_ids=forbidden_ids,
    )


@pytest.mark.parametrize("beam_width", [1, 5])
def test_sequences_may_be_empty(beam_width):
    results = search(constant_tables(-5, -5, -5, -0.1, -5), beam_width=beam_width, max_length=3)
    assert results["lengths"].tolist() == [[0]]
    assert results["sequences"].tolist() == [[[0, 0, 0]]]
    assert results["finished"].tolist() == [[True]]


# The interface


def test_config_round_trip():
    options = {
        "beam_width": 3,
        "max_length": 9,
        "length_penalty": -0.5,
        "n_best": 2,
        "min_length": 1,
        "start_id": 4,
        "end_id": 5,
        "pad_id": 6,
        "forbidden_ids": [1, 4],
    }
    layer = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(BeamSearchDecoder(**options, name="search"))
    )
    assert isinstance(layer, BeamSearchDecoder)
    assert layer.name == "search"
    assert layer.get_config().items() >= options.items()
    assert BeamSearchDecoder().get_config().items() >= {**DEFAULTS, "forbidden_ids": [0, 2]}.items()


def test_a_start_that_is_the_end_is_not_forbidden():
    assert BeamSearchDecoder(start_id=1, end_id=1, pad_id=0).forbidden_ids == (0,)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beam_width": 0}, "n_best=1 and beam_width=0; expected 1 <= n_best <= beam_width. Widen"),
        ({"n_best": 5}, "n_best=5 and beam_width=4; expected"),
        ({"n_best": 0}, "n_best=0 and beam_width=4; expected"),
        ({"max_length": 0}, "min_length=0 and max_length=0; expected 0 <= min_length <= max_length and"),
        ({"min_length": 65}, "min_length=65 and max_length=64; expected"),
        ({"min_length": -1}, "min_length=-1 and max_length=64; expected"),
        ({"length_penalty": float("nan")}, "length_penalty=nan with max_length=64; expected penalties"),
        ({"length_penalty": 500}, "length_penalty=500 with max_length=64; expected penalties"),
        ({"length_penalty": -90}, "length_penalty=-90 with max_length=64; expected penalties"),
        ({"pad_id": -1}, r"pad_id=-1 and forbidden_ids=\[-1, 2\]; expected no negative id"),
        ({"forbidden_ids": (3, 0)}, r"end_id=3, pad_id=0 and forbidden_ids=\[0, 3\]; expected"),
    ],
)
def test_refuses_impossible_options(options, message):
    with pytest.raises(ValueError, match=message):
        BeamSearchDecoder(**options)


def test_refuses_a_vocabulary_without_the_end():
    with pytest.raises(ValueError, match=r"shape \(1, 4, 3\) from step; .* above end_id=3. Return one"):
        search(constant_tables(-1, -1, -1))
