"""Tests of BeamSearchDecoder against exhaustive search and a plain beam search that never stops early.

What a correct beam search does, and which test shows it:

 1. full width is exhaustive search: test_full_width_is_exhaustive_search
 2. width 1 is greedy: test_width_one_is_greedy_search
 3. the score is that of a rescoring: test_returned_score_is_that_of_an_independent_rescoring
 4. the pool only improves: test_finished_pool_only_improves
 5. no row depends on others: test_rows_do_not_depend_on_batch_and_order,
    test_padding_of_the_source_changes_nothing
 6. sorted, distinct, the missing marked: test_results_are_sorted_distinct_and_nothing_follows_the_end,
    test_too_few_hypotheses_are_marked_as_empty
 7. not below greedy: test_score_is_not_below_greedys_where_its_path_is_kept
 8. nothing after the end: as 6
 9. exact lengths: test_minimum_and_maximum_length_are_exact, test_cut_hypotheses_are_flagged
10. early stops are safe: test_stopping_early_is_safe, test_equals_a_beam_search_that_never_stops_early
11. prefixes: test_prefix_leaves_the_ranking_of_suffixes_unchanged
12. n-grams: test_repeated_ngrams_are_blocked, test_rows_that_are_blocked_altogether_find_nothing
13. back-pointers: test_states_and_attention_follow_back_pointers
14. ties; eager, graph and SavedModel: test_equals_go_to_the_better_hypothesis_then_to_the_lower_id,
    test_graphs_equal_eager_execution, test_a_saved_model_finds_the_same
15. half precision: test_half_precision_models_have_single_precision_scores
16. corners: test_a_vocabulary_smaller_than_the_beam, test_tokens_stay_within_the_vocabulary_where_...,
    test_a_large_vocabulary_is_searched_whole, test_sequences_may_be_empty, test_sources_may_be_empty
"""

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import ops
from layer_checks import examples

from layers.decoding._continuations import Allowed, drawn_continuations
from layers.decoding.beam_search_decoder import BeamSearchDecoder

N_HASHES, SOURCE = 61, 3
DEFAULTS: dict[str, Any] = {
    "beam_size": 4,
    "max_length": 64,
    "length_penalty": 0.0,
    "n_best": 1,
    "min_length": 0,
    "start_id": 2,
    "end_id": 3,
    "pad_id": 0,
    "forbidden_ids": (0, 2),
    "length_normalization": "gnmt",
    "coverage_penalty": 0.0,
    "no_repeat_ngram_size": 0,
    "sample": False,
    "temperature": 1.0,
    "top_k": 0,
    "top_p": 1.0,
    "num_beam_groups": 1,
    "diversity_penalty": 0.0,
    "seed": 0,
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


def random_attention(batch_size: int, seed: int = 0) -> np.ndarray:
    """Attention (batch, N_HASHES, SOURCE), by a hash of all the tokens so far."""
    return np.random.default_rng(seed).dirichlet([0.3] * SOURCE, (batch_size, N_HASHES)).astype("float32")


def table_step(
    tables: Any, batch_size: Any, attention: np.ndarray | None = None
) -> Callable[[Any, Any], tuple[Any, ...]]:
    """The model as a step function, with the hash in two states of different rank and type."""
    flat_tables = ops.reshape(tables, (-1, tables.shape[-1]))
    rows = ops.arange(batch_size, dtype="int32")[:, None] * N_HASHES

    def step(tokens: Any, states: Any) -> tuple[Any, ...]:
        history = next_hash(states["hash"], tokens)
        copy = next_hash(states["nested"][0], ops.cast(tokens, "float32")[:, :, None, None])
        agree = ops.equal(copy[:, :, 0, 1], ops.cast(history, "float32"))
        log_probs = ops.take(flat_tables, history + rows, axis=0)
        log_probs = ops.where(agree[:, :, None], log_probs, ops.full_like(log_probs, np.nan))
        new_states = {"hash": history, "nested": [copy]}
        if attention is None:
            return log_probs, new_states
        return log_probs, new_states, ops.take(ops.reshape(attention, (-1, SOURCE)), history + rows, axis=0)

    return step


def search_tensors(
    decoder: BeamSearchDecoder, tables: Any, batch_size: Any, attention: Any = None, **call: Any
) -> dict[str, Any]:
    states = {"hash": ops.zeros((batch_size,), "int32"), "nested": [ops.zeros((batch_size, 1, 2))]}
    return decoder(table_step(tables, batch_size, attention), states, batch_size, **call)


def search(tables: np.ndarray, attention: np.ndarray | None = None, **options: Any) -> Results:
    call = {name: options.pop(name) for name in ("prefix", "source_mask", "seeds") if name in options}
    if attention is not None:
        call = {"source_mask": np.ones((len(tables), SOURCE), bool), "return_attention": True, **call}
    decoder = BeamSearchDecoder(**options)
    results = search_tensors(decoder, ops.convert_to_tensor(tables), len(tables), attention, **call)
    return {name: ops.convert_to_numpy(values) for name, values in results.items()}


def weight(length: int, option: dict[str, Any]) -> np.float32:
    length = max(length, 1)
    base = (5 + length) / 6 if option["length_normalization"] == "gnmt" else length
    return np.float32(base ** -option["length_penalty"])


class Model(NamedTuple):
    """One row of the toy model, the table's log probabilities and what they are looked up with."""

    table: np.ndarray  # (N_HASHES, vocabulary)
    attention: np.ndarray | None = None  # (N_HASHES, SOURCE)
    mask: np.ndarray | None = None  # (SOURCE,)
    prefix: tuple[int, ...] = ()

    def histories(self, sequence: Sequence[int], option: dict[str, Any]) -> list[int]:
        """The hash before each token and before the end."""
        return list(itertools.accumulate([option["start_id"], *sequence], next_hash, initial=0))[1:]

    def coverage(self, sequence: Sequence[int], option: dict[str, Any]) -> float:
        """What coverage adds to the score, `sequence` and the next token having been looked up."""
        if not option["coverage_penalty"]:
            return 0.0
        total = self.attention[self.histories(sequence, option)].sum(axis=0, dtype="float64")
        logs = np.log(np.clip(total, 1e-7, 1))
        return option["coverage_penalty"] * logs[slice(None) if self.mask is None else self.mask].sum()


def rescore(model: Model, sequence: Sequence[int], **options: Any) -> tuple[float, float, list[float]]:
    """Score, log probability and those of the tokens of a sequence that ends, independently of any search."""
    option = {**DEFAULTS, **options}
    tokens = [*sequence, option["end_id"]]
    values = model.table[model.histories(sequence, option), tokens].astype("float64")
    values[: len(model.prefix)] = 0
    length = len(tokens) - len(model.prefix)
    score = values.sum() * float(weight(length, option)) + model.coverage(sequence, option)
    return score, values.sum(), values.tolist()


def allowed_tokens(
    model: Model, sequence: tuple[int, ...], option: dict[str, Any]
) -> Iterator[tuple[int, Any]]:
    """The tokens that may continue a sequence, and their log probabilities."""
    history = model.histories(sequence, option)[-1]
    if len(sequence) < len(model.prefix):
        yield model.prefix[len(sequence)], np.float32(0)
        return
    size = option["no_repeat_ngram_size"]
    for token, value in enumerate(model.table[history]):
        grams = [(*sequence, token)[i : i + size] for i in range(len(sequence) + 2 - size)]
        repeats = size and token != option["end_id"] and grams and grams[-1] in grams[:-1]
        allowed = token not in option["forbidden_ids"] and not repeats
        if token == option["end_id"]:
            allowed = len(sequence) >= option["min_length"]
        if allowed and value > -np.inf:
            yield token, value


def reference_search(model: Model, **options: Any) -> list[tuple[Any, Any, tuple[int, ...], bool]]:
    """Beam search of one row that never stops early: (score, log_prob, sequence, finished), best first."""
    option = {**DEFAULTS, **options}
    width, end_id = option["beam_size"] // option["num_beam_groups"], option["end_id"]
    groups: list[list] = [[(np.float32(0), ())] for _ in range(option["num_beam_groups"])]
    pools: list[list] = [[] for _ in groups]
    cuts: list[list] = [[] for _ in groups]
    settled = [False for _ in groups]
    for time in range(option["max_length"] + 1):
        taken: Counter[int] = Counter()
        length = time + 1 - len(model.prefix)
        for group, live in enumerate(groups):
            candidates = []
            for place, (log_prob, sequence) in enumerate(live):
                coverage = np.float32(model.coverage(sequence, option))
                base = np.float32(log_prob + coverage / weight(length, option))
                for token, value in allowed_tokens(model, sequence, option):
                    penalty = np.float32(option["diversity_penalty"] * taken[token])
                    is_forced = time < len(model.prefix)
                    rank = np.float32(np.float32(value - (0 if is_forced else penalty)) + base)
                    candidates.append((rank, place, token, np.float32(log_prob + value), coverage))
            candidates.sort(key=lambda candidate: (-candidate[0], candidate[1], candidate[2]))
            ended = {place: rest for _, place, token, *rest in candidates[:width] if token == end_id}
            for place, (total, coverage) in ended.items():
                score = total * weight(length, option) + coverage
                pools[group].append((score, total, live[place][1], True))
            if time == option["max_length"] and not settled[group]:
                for place, (total, sequence) in enumerate(live):
                    if place not in ended:
                        coverage = np.float32(model.coverage(sequence[:-1], option))
                        score = total * weight(length - 1, option) + coverage
                        cuts[group].append((score, total, sequence, False))
            goes_on = [candidate for candidate in candidates if candidate[2] != end_id][:width]
            if time >= len(model.prefix):
                taken.update(token for _, _, token, *_ in goes_on)
            groups[group] = [(total, (*live[place][1], token)) for _, place, token, total, _ in goes_on]
            if width == 1 and ended:
                groups[group], settled[group] = [], True
    results: list[tuple] = []
    size = min(option["n_best"], width)
    for pool, cut in zip(pools, cuts, strict=True):
        ranked = [sorted(kind, key=lambda hypothesis: -hypothesis[0]) for kind in (pool, cut)]
        results += (ranked[0] + ranked[1])[:size]
    results.sort(key=lambda hypothesis: not hypothesis[3])
    distinct = {hypothesis[2]: hypothesis for hypothesis in reversed(results)}  # the first of each
    return sorted(distinct.values(), key=lambda h: (not h[3], -h[0], results.index(h)))[: option["n_best"]]


def forced_tokens(prefix: list[int], option: dict[str, Any]) -> tuple[int, ...]:
    return tuple(itertools.takewhile(lambda token: token not in (option["pad_id"], option["end_id"]), prefix))


def assert_equals_reference(
    tables: np.ndarray, attention: np.ndarray | None = None, **options: Any
) -> Results:
    results = search(tables, attention, **options)
    prefix, mask = options.pop("prefix", None), options.pop("source_mask", None)
    option = {**DEFAULTS, **options}
    # The reference adds up coverage in double precision.
    rtol = 1e-5 if option["coverage_penalty"] else 0
    for row, table in enumerate(tables):
        model = Model(
            table,
            None if attention is None else attention[row],
            None if mask is None else mask[row],
            () if prefix is None else forced_tokens(prefix[row].tolist(), option),
        )
        expected = reference_search(model, **options)
        n_empty = option["n_best"] - len(expected)
        padding = [option["pad_id"]] * option["max_length"]
        sequences = [[*sequence, *padding][: option["max_length"]] for *_, sequence, _ in expected]
        found = {name: values[row] for name, values in results.items()}
        np.testing.assert_array_equal(found["sequences"], sequences + [padding] * n_empty)
        scores = np.array([e[0] for e in expected] + [-np.inf] * n_empty)
        np.testing.assert_allclose(found["scores"], scores, rtol=rtol)
        np.testing.assert_array_equal(found["log_probs"], [e[1] for e in expected] + [-np.inf] * n_empty)
        np.testing.assert_array_equal(found["lengths"], [len(e[2]) for e in expected] + [0] * n_empty)
        np.testing.assert_array_equal(found["finished"], [e[3] for e in expected] + [False] * n_empty)
        np.testing.assert_array_equal(found["found"], [True] * len(expected) + [False] * n_empty)
        for index, (score, _, sequence, finished) in enumerate(expected):
            values = model.table[model.histories(sequence, option), [*sequence, option["end_id"]]]
            values = np.where(np.arange(len(values)) < len(model.prefix), 0, values)
            values = np.pad(values if finished else values[:-1], (0, option["max_length"] + 1))
            np.testing.assert_array_equal(found["token_log_probs"][index], values[: option["max_length"] + 1])
            if finished:
                np.testing.assert_allclose(
                    score, rescore(model, sequence, **options)[0], rtol=1e-4, atol=1e-5
                )
            if attention is not None:
                looked = attention[row, model.histories(sequence, option)[:-1]]
                looked = np.pad(looked, ((0, option["max_length"] - len(sequence)), (0, 0)))
                np.testing.assert_array_equal(found["attention"][index], looked)
    return results


def assert_same(one: Results, other: Results) -> None:
    assert one.keys() == other.keys()
    for name, values in one.items():
        np.testing.assert_array_equal(np.asarray(values), np.asarray(other[name]), err_msg=name)


# 1, 3, 7: what the search finds


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


# 2: greedy search


@pytest.mark.parametrize("length_penalty", LENGTH_PENALTIES)
def test_width_one_is_greedy_search(length_penalty):
    tables = random_tables(60, 6, seed=1)
    results = search(tables, beam_size=1, max_length=8, length_penalty=length_penalty)
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


# 3, 6, 8, 9, 10, 11, 12, 13, 14, 16: every option against the reference


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
        results = BeamSearchDecoder(**options)(step, (), 2)
        assert len(calls) == expected, options
        assert ops.convert_to_numpy(results["finished"]).all()


# 4: the pool


@pytest.mark.parametrize("length_penalty", [-1.0, 0.6])
def test_finished_pool_only_improves(length_penalty):
    tables = random_tables(50, 6, seed=3)
    before = np.full((50, 3), -np.inf)
    for max_length in (1, 2, 3, 6):
        results = search(tables, beam_size=3, max_length=max_length, length_penalty=length_penalty, n_best=3)
        finished = np.where(results["finished"], results["scores"], -np.inf)
        assert (finished >= before).all()
        before = finished


# 5: independence of rows


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


# 6, 8, 9: what is returned


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
        constant_tables(-9, -1, -9, -30, -3), beam_size=beam_size, max_length=4, length_penalty=1.0
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


# 11: prefixes


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
            start_id=prefix[-1], forbidden_ids=(0, 2), max_length=7 - len(prefix), **options
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


# 12: n-grams


def test_repeated_ngrams_are_blocked():
    # Greedy would write 1 1 1 1, then with single tokens or pairs blocked what has not been yet.
    tables = constant_tables(-np.inf, -1, -np.inf, -9, -2)
    for size, expected in [(0, [1, 1, 1, 1, 1]), (1, [1, 4]), (2, [1, 1, 4, 1]), (3, [1, 1, 1, 4, 1])]:
        results = search(tables, beam_size=1, max_length=5, no_repeat_ngram_size=size)
        assert results["sequences"][0, 0].tolist() == expected + [0] * (5 - len(expected))
        assert results["lengths"][0, 0] == len(expected)
        assert results["finished"][0, 0] == (len(expected) < 5)


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


# 13: what follows the back-pointers


def test_states_and_attention_follow_back_pointers():
    # Here 1 is better at first, but what begins with 4 wins: all its tokens' attention must be its own.
    tables, attention = random_tables(40, 8, seed=15), random_attention(40, seed=15)
    results = assert_equals_reference(tables, attention, beam_size=4, n_best=4, max_length=6)
    greedy = search(tables, beam_size=1, max_length=6)
    assert (results["sequences"][:, 0, 0] != greedy["sequences"][:, 0, 0]).any()


# Sampling and groups


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
    drawn = drawn_continuations(
        np.broadcast_to(log_probs, (1, 50, vocabulary)),
        ops.zeros((1, 50)),
        uniforms,
        Allowed((), 3, True),
        temperature=1.0,
        top_k=0,
        top_p=1.0,
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


# 14: ties, graphs, SavedModels


def test_equals_go_to_the_better_hypothesis_then_to_the_lower_id():
    results = search(constant_tables(*[-1] * 7), beam_size=3, max_length=2, n_best=3, min_length=1)
    # After [1], [4] and [5] all that continues [1] comes first: ids 1, 3 (the end) and 4.
    assert results["sequences"].tolist() == [[[1, 0], [1, 1], [1, 4]]]
    assert results["log_probs"].tolist() == [[-2, -3, -2]]
    assert results["finished"].tolist() == [[True, True, False]]


def test_equals_go_to_the_lower_id_in_a_large_vocabulary():
    tables = constant_tables(*[-1] * 200).copy()
    tables[:, :, 150] = -0.5
    results = assert_equals_reference(tables, beam_size=3, max_length=1, n_best=3, min_length=1)
    assert results["sequences"].tolist() == [[[150], [1], [4]]]


ALL_SORTS: list[dict[str, Any]] = [
    {"beam_size": 4, "max_length": 7, "length_penalty": 0.8, "n_best": 3, "min_length": 1},
    {"beam_size": 3, "max_length": 5, "coverage_penalty": 0.4, "no_repeat_ngram_size": 2, "n_best": 2},
    {"beam_size": 4, "max_length": 5, "num_beam_groups": 2, "diversity_penalty": 1.0, "n_best": 4},
    {"beam_size": 3, "max_length": 5, "sample": True, "top_p": 0.9, "n_best": 3},
]


def all_sorts_of_calls(rows: int, decoder: BeamSearchDecoder) -> dict[str, Any]:
    call: dict[str, Any] = {"source_mask": np.arange(SOURCE) <= np.arange(rows)[:, None]}
    if decoder.no_repeat_ngram_size:
        call["prefix"] = np.array([[1, 4], [5, 0], [0, 0], [6, 6], [1, 0]], "int32")[:rows]
    if decoder.sample:
        call["seeds"] = np.arange(rows, dtype="int32")
    return call


@tensorflow_only
@pytest.mark.parametrize("options", ALL_SORTS)
def test_graphs_equal_eager_execution(options):
    import tensorflow as tf

    tables = random_tables(5, 9, seed=7)
    # Compiling by XLA takes long.
    for jit_compile in (False, True) if options is ALL_SORTS[0] else (False,):
        decoder = BeamSearchDecoder(**options)
        call = all_sorts_of_calls(5, decoder)
        attention = random_attention(5)
        function = tf.function(
            lambda tables, attention, call, decoder=decoder: search_tensors(
                decoder, tables, tf.shape(tables)[0], attention, return_attention=True, **call
            ),
            jit_compile=jit_compile,
        )
        found = function(tables, attention, call)
        for name, values in search(tables, attention, **options, **call).items():
            # Sums of coverage may be rounded in another order.
            np.testing.assert_allclose(found[name], values, rtol=1e-6, err_msg=name)


@tensorflow_only
def test_a_saved_model_finds_the_same(tmp_path: Path):
    """Through Python, and through the C API as TensorFlow Serving does: strings name the rows."""
    import tensorflow as tf

    from components.export.session import SavedModelSession

    tables, attention = random_tables(5, 70, seed=8), random_attention(5)
    module = tf.Module()
    module.tables, module.attention = tf.constant(tables), tf.constant(attention)

    def search_rows(decoder, call, text):
        rows = tf.strings.to_number(text, tf.int32)
        return search_tensors(
            decoder,
            tf.gather(module.tables, rows),
            tf.size(rows),
            tf.gather(module.attention, rows),
            return_attention=True,
            **{name: tf.gather(values, rows) for name, values in call.items()},
        )

    signatures = {}
    for index, options in enumerate(ALL_SORTS):
        decoder = BeamSearchDecoder(**options)
        call = all_sorts_of_calls(5, decoder)

        signatures[f"sort_{index}"] = tf.function(
            partial(search_rows, decoder, call), input_signature=[tf.TensorSpec([None], tf.string)]
        )
    module.functions = list(signatures.values())
    tf.saved_model.save(module, tmp_path, signatures=signatures)
    loaded = tf.saved_model.load(tmp_path)
    with SavedModelSession(tmp_path) as session:
        for index, options in enumerate(ALL_SORTS):
            call = all_sorts_of_calls(5, BeamSearchDecoder(**options))
            expected = search(tables, attention, **options, **call)
            for rows in ([0, 1, 2, 3, 4], [3], [4, 1, 1]):
                text = [str(row) for row in rows]
                by_python = loaded.signatures[f"sort_{index}"](tf.constant(text))
                by_c = session.run(text, signature=f"sort_{index}")
                for name, values in expected.items():
                    for found in (by_python[name], by_c[name]):
                        np.testing.assert_allclose(found, values[rows], rtol=1e-6, err_msg=name)
    nothing = loaded.signatures["sort_0"](tf.constant([], tf.string))
    assert nothing["sequences"].shape == (0, 3, 7)


# 15: precision


@pytest.mark.parametrize("vocabulary", [9, 131])
def test_half_precision_models_have_single_precision_scores(vocabulary):
    tables = random_tables(6, vocabulary, seed=9).astype("float16")
    options = {"beam_size": 3, "max_length": 6, "length_penalty": 0.5, "n_best": 2}
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

    BeamSearchDecoder(beam_size=80, max_length=2)(step, (), 1)
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
    results = BeamSearchDecoder(coverage_penalty=0.5, **options)(
        step, states, 3, source_mask=mask, return_attention=True
    )
    results = {name: ops.convert_to_numpy(values) for name, values in results.items()}
    assert results.pop("attention").shape == (3, 2, 4, source)
    assert_same(results, search(tables, **options))


# The interface


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
    layer = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(BeamSearchDecoder(**options, name="search"))
    )
    assert isinstance(layer, BeamSearchDecoder)
    assert layer.name == "search"
    assert layer.get_config().items() >= options.items()
    groups = BeamSearchDecoder(num_beam_groups=2, diversity_penalty=0.5).get_config()
    assert groups.items() >= {"num_beam_groups": 2, "diversity_penalty": 0.5}.items()
    assert BeamSearchDecoder().get_config().items() >= {**DEFAULTS, "forbidden_ids": [0, 2]}.items()


def test_a_start_that_is_the_end_is_not_forbidden():
    assert BeamSearchDecoder(start_id=1, end_id=1, pad_id=0).forbidden_ids == (0,)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beam_size": 0}, "n_best=1 and beam_size=0; expected 1 <= n_best <= beam_size. Widen"),
        ({"n_best": 5}, "n_best=5 and beam_size=4; expected"),
        ({"n_best": 0}, "n_best=0 and beam_size=4; expected"),
        ({"max_length": 0}, "min_length=0 and max_length=0; expected 0 <= min_length <= max_length and"),
        ({"min_length": 65}, "min_length=65 and max_length=64; expected"),
        ({"min_length": -1}, "min_length=-1 and max_length=64; expected"),
        ({"length_penalty": float("nan")}, "length_penalty=nan with max_length=64; expected penalties"),
        ({"length_penalty": 500}, "length_penalty=500 with max_length=64; expected penalties"),
        ({"length_penalty": -90}, "length_penalty=-90 with max_length=64; expected penalties"),
        ({"pad_id": -1}, r"pad_id=-1 and forbidden_ids=\[-1, 2\]; expected no negative id"),
        ({"forbidden_ids": (3, 0)}, r"end_id=3, pad_id=0 and forbidden_ids=\[0, 3\]; expected"),
        ({"length_normalization": "none"}, "length_normalization='none'; expected 'gnmt' or 'average'"),
        ({"coverage_penalty": -0.1}, "coverage_penalty=-0.1; expected a number of at least 0"),
        ({"diversity_penalty": float("nan")}, "diversity_penalty=nan; expected a number of at least 0"),
        ({"no_repeat_ngram_size": -1}, "no_repeat_ngram_size=-1; expected the n of n-grams"),
        (
            {"temperature": 0, "sample": True},
            "temperature=0, top_k=0 and top_p=1.0; expected temperature > 0",
        ),
        ({"top_p": 1.5, "sample": True}, "top_p=1.5; expected temperature > 0, top_k >= 0"),
        ({"seed": -1}, "seed=-1; expected an integer of at least 0"),
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
        ({"beam_size": 2.5}, "beam_size=2.5; expected an integer"),
        ({"n_best": True}, "n_best=True; expected an integer"),
        ({"length_penalty": "0.6"}, "length_penalty='0.6'; expected a number"),
    ],
)
def test_refuses_impossible_options(options, message):
    with pytest.raises(ValueError, match=message):
        BeamSearchDecoder(**options)


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
