"""A toy model whose log probabilities are looked up, and a plain NumPy beam search that never stops early."""

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import pytest
from keras import ops

from layers import BeamSearchDecoder, SearchOptions

N_HASHES, SOURCE = 61, 3
DEFAULTS = SearchOptions().get_config()
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
    decoder = BeamSearchDecoder(SearchOptions(**options))
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
        elif len(sequence) == option["max_length"]:
            allowed = False
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
