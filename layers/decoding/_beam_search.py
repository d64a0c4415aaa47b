"""What a beam search does between two steps of the model; see `BeamSearchDecoder`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import keras
import numpy as np
from keras import ops, tree

from layers.decoding._continuations import (
    IMPOSSIBLE,
    Allowed,
    Continuations,
    best_continuations,
    drawn_continuations,
    gather,
    hashed_uniforms,
    without_repeated_ngrams,
)

if TYPE_CHECKING:
    from layers.decoding.beam_search_decoder import BeamSearchDecoder

Tensor: TypeAlias = keras.KerasTensor

# A position that nothing has looked at, whose logarithm a coverage penalty could not take.
_LEAST_COVERAGE = 1e-7

# Of what a hypothesis has gone through, by name and each of shape (rows, width, max_length or more, ...):
# "sequences", "token_log_probs" and, if wanted, "attention".
Trace: TypeAlias = dict[str, Tensor]


class Live(NamedTuple):
    """The unfinished hypotheses of each row. Those of a settled row are all impossible."""

    tokens: Tensor  # int32 (rows, width), the last token of each
    log_probs: Tensor  # float32 (rows, width)
    coverage: Tensor  # float32 (rows, width, source), the sum of the attention; no `source` if not needed
    trace: Trace


class Pool(NamedTuple):
    """Hypotheses that may be returned, best first. An empty place has the score -inf."""

    scores: Tensor  # float32 (rows, size)
    log_probs: Tensor  # float32 (rows, size)
    lengths: Tensor  # int32 (rows, size)
    trace: Trace


class _Look(NamedTuple):
    """A step's attention and what comes of it; what is not needed is `None`, or as it was."""

    attention: Tensor | None  # float32 (rows, width, source)
    coverage: Tensor  # as in `Live`, this step included
    scores: Tensor | None  # float32 (rows, width), what the coverage adds to scores


class BeamSearch:
    """One call's search: what happens between two steps of the model.

    Each group of a source's hypotheses is a row, as if it were a source of its own. Most often there is one
    group, and a row is a row of the batch.

    Args:
        options: The decoder whose settings apply.
        batch_size: The number of sources.
        prefix: As of `BeamSearchDecoder.call`, like all that follow.
        source_mask: Required for a coverage penalty, and to return attention.
        seeds: Required to draw.
        return_attention: Whether `results` has the attention.
    """

    def __init__(
        self,
        options: BeamSearchDecoder,
        batch_size: int | Tensor,
        prefix: Tensor | None,
        source_mask: Tensor | None,
        seeds: Tensor | None,
        return_attention: bool,
    ) -> None:
        self._options = options
        self._batch_size = batch_size
        self._seeds = seeds
        self._return_attention = return_attention
        self._width = options.beam_size // options.num_beam_groups
        self._pool_size = min(options.n_best, self._width)
        self._prefix: Tensor | None = None
        self._prefix_lengths: Tensor | int = 0  # int32 (rows, 1)
        if prefix is not None:
            shape = tuple(prefix.shape)
            if len(shape) != 2 or shape[1] is None or shape[1] > options.max_length:
                raise ValueError(
                    f"Received a prefix of shape {shape} with max_length={options.max_length}; expected "
                    "(batch, n) with a static n of at most max_length. Raise max_length, or shorten it."
                )
            if isinstance(batch_size, int) and shape[0] not in (None, batch_size):
                raise ValueError(
                    f"Received a prefix of shape {shape} with batch_size={batch_size}; expected a row for "
                    "each of the batch. Repeat the prefix for each row."
                )
            if shape[1]:
                self._prefix = self._by_row(ops.cast(prefix, "int32"))
                goes_on = ops.logical_and(self._prefix != options.pad_id, self._prefix != options.end_id)
                goes_on = ops.cumprod(ops.cast(goes_on, "int32"), axis=1)
                self._prefix_lengths = ops.sum(goes_on, axis=1, keepdims=True)
        self._source_mask = source_mask  # bool (rows, 1, source)
        if source_mask is not None:
            self._source_mask = self._by_row(ops.cast(source_mask, "bool"))[:, None]

    def _by_row(self, values: Tensor) -> Tensor:
        return (
            values
            if self._options.num_beam_groups == 1
            else ops.repeat(values, self._options.num_beam_groups, axis=0)
        )

    def start(self) -> tuple[Live, Pool]:
        """Returns the empty hypothesis of each row, and empty pools."""
        rows = self._batch_size * self._options.num_beam_groups

        def trace(width: int) -> Trace:
            empty = {
                "sequences": ops.full((rows, width, self._options.max_length), self._options.pad_id, "int32"),
                "token_log_probs": ops.zeros((rows, width, self._options.max_length + 1), "float32"),
            }
            if self._return_attention:
                source = ops.shape(self._source_mask)[2]
                empty["attention"] = ops.zeros((rows, width, self._options.max_length, source), "float32")
            return empty

        # One possible hypothesis: were all of them, every one would find the same sequence.
        log_probs = [0.0] + [0.0 if self._options.sample else IMPOSSIBLE] * (self._width - 1)
        coverage_shape: tuple[Any, ...] = (rows, self._width)
        if self._options.coverage_penalty:
            coverage_shape = (*coverage_shape, ops.shape(self._source_mask)[2])
        live = Live(
            tokens=ops.full((rows, self._width), self._options.start_id, "int32"),
            log_probs=ops.broadcast_to(ops.convert_to_tensor(log_probs, "float32"), (rows, self._width)),
            coverage=ops.zeros(coverage_shape, "float32"),
            trace=trace(self._width),
        )
        pool = Pool(
            scores=ops.full((rows, self._pool_size), IMPOSSIBLE, "float32"),
            log_probs=ops.full((rows, self._pool_size), IMPOSSIBLE, "float32"),
            lengths=ops.zeros((rows, self._pool_size), "int32"),
            trace=trace(self._pool_size),
        )
        return live, pool

    def advance(
        self, time: Tensor, live: Live, pool: Pool, log_probs: Tensor, attention: Tensor | None
    ) -> tuple[Live, Pool, Tensor]:
        """Takes the hypotheses one token further.

        Args:
            time: How many tokens the unfinished ones have.
            live: The unfinished hypotheses.
            pool: The finished ones.
            log_probs: Those of the next tokens, of shape `(batch, beam_size, vocabulary)`.
            attention: Of shape `(batch, beam_size, source)`, if the step gave it.

        Returns:
            The new hypotheses, and the places of those that the unfinished ones continue, int32 of shape
            `(batch, beam_size)`.
        """
        look = self._look(live, attention)
        continuations = self._expand(log_probs, live, look, time)
        pool = self._collect(continuations, live, pool, look, time)
        live, parents = self._continue(continuations, live, pool, look, time)
        if self._options.num_beam_groups > 1:
            parents = ops.reshape(parents, (self._batch_size, self._options.num_beam_groups, self._width))
            parents += ops.arange(self._options.num_beam_groups, dtype="int32")[:, None] * self._width
            parents = ops.reshape(parents, (self._batch_size, self._options.beam_size))
        return live, pool, parents

    def _weight(self, length: int | Tensor) -> Tensor:
        """Returns the weights of so many tokens, forced ones not counted: a scalar or `(rows, 1)`."""
        return ops.take(self._options.length_weights, ops.maximum(length - self._prefix_lengths, 1))

    def _look(self, live: Live, attention: Tensor | None) -> _Look:
        """Counts what the step has looked at."""
        if not (self._options.coverage_penalty or self._return_attention):
            return _Look(None, live.coverage, None)
        if attention is None:
            raise ValueError(
                "Received log_probs and states from step with coverage_penalty="
                f"{self._options.coverage_penalty} and return_attention={self._return_attention}; expected "
                "also the attention, of shape (batch, beam_size, source). Return it as the third."
            )
        source = ops.shape(self._source_mask)[2]
        attention = ops.reshape(ops.cast(attention, "float32"), (*ops.shape(live.log_probs), source))
        if not self._options.coverage_penalty:
            return _Look(attention, live.coverage, None)
        # Impossible hypotheses may bring anything, which must not spread.
        possible = (live.log_probs > IMPOSSIBLE)[:, :, None]
        coverage = ops.where(possible, live.coverage + attention, 0.0)
        return _Look(attention, coverage, self._coverage_scores(coverage))

    def _coverage_scores(self, coverage: Tensor) -> Tensor:
        logs = ops.log(ops.clip(coverage, _LEAST_COVERAGE, 1.0))
        return self._options.coverage_penalty * ops.sum(ops.where(self._source_mask, logs, 0.0), axis=-1)

    def _expand(self, log_probs: Tensor, live: Live, look: _Look, time: Tensor) -> Continuations:
        """Returns the `2 * width` best continuations of each row, or `width` drawn ones."""
        rows = self._batch_size * self._options.num_beam_groups
        log_probs = ops.reshape(log_probs, (rows, self._width, log_probs.shape[-1]))
        if self._options.no_repeat_ngram_size:
            log_probs = without_repeated_ngrams(
                log_probs, live.trace["sequences"], time, self._options.no_repeat_ngram_size
            )
        base = live.log_probs
        if look.scores is not None:
            # As if all ended now: scores of one length, divided by the weight they have in common.
            base = base + look.scores / self._weight(time + 1)
        allowed = Allowed(
            self._options.forbidden_ids,
            self._options.end_id,
            time >= self._options.min_length if self._options.min_length else True,
        )
        if self._options.sample:
            uniforms = hashed_uniforms(self._seeds, time, self._width)
            continuations = drawn_continuations(
                log_probs,
                base,
                uniforms,
                allowed,
                self._options.temperature,
                self._options.top_k,
                self._options.top_p,
            )
        elif self._options.num_beam_groups == 1:
            continuations = best_continuations(log_probs, base, 2 * self._width, allowed)
        else:
            continuations = self._expand_groups(log_probs, base, allowed)
        return continuations if self._prefix is None else self._forced(continuations, base, time)

    def _expand_groups(self, log_probs: Tensor, base: Tensor, allowed: Allowed) -> Continuations:
        """Expands one group after the other, each avoiding the tokens of those before."""
        vocabulary = log_probs.shape[-1]
        log_probs, base = (
            ops.reshape(values, (self._batch_size, self._options.num_beam_groups, *ops.shape(values)[1:]))
            for values in (log_probs, base)
        )
        taken = ops.zeros((self._batch_size, 1, vocabulary), "float32")
        found = []
        for group in range(self._options.num_beam_groups):
            ranked = ops.cast(log_probs[:, group], "float32") - self._options.diversity_penalty * taken
            continuations = best_continuations(
                log_probs[:, group], base[:, group], 2 * self._width, allowed, ranked
            )
            ended = ops.equal(continuations.tokens, self._options.end_id)
            ranks, places = ops.top_k(
                ops.where(ended, IMPOSSIBLE, continuations.ranks), min(self._width, ended.shape[1])
            )
            tokens = gather(continuations.tokens, places)
            counts = ops.one_hot(tokens, vocabulary) * ops.cast(ranks > IMPOSSIBLE, "float32")[:, :, None]
            taken += ops.sum(counts, axis=1, keepdims=True)
            found.append(continuations)
        rows = self._batch_size * self._options.num_beam_groups
        return Continuations(
            *(
                ops.reshape(ops.stack(each, axis=1), (rows, each[0].shape[1]))
                for each in zip(*found, strict=True)
            )
        )

    def _forced(self, continuations: Continuations, base: Tensor, time: Tensor) -> Continuations:
        """Replaces the continuations of those rows whose prefix goes on."""
        more = continuations.tokens.shape[1] - self._width
        is_forced = time < self._prefix_lengths
        prefix = self._prefix
        assert prefix is not None
        token = ops.take(prefix, ops.minimum(time, prefix.shape[1] - 1), axis=1)[:, None]
        ranks, parents = ops.top_k(base, self._width)
        forced = Continuations(
            ranks=ops.pad(ranks, [[0, 0], [0, more]], constant_values=IMPOSSIBLE),
            parents=ops.pad(parents, [[0, 0], [0, more]]),
            tokens=ops.broadcast_to(token, ops.shape(continuations.tokens)),
            token_log_probs=ops.zeros_like(continuations.token_log_probs),
        )
        return Continuations(
            *(ops.where(is_forced, *both) for both in zip(forced, continuations, strict=True))
        )

    def _collect(
        self,
        continuations: Continuations,
        live: Live,
        pool: Pool,
        look: _Look,
        time: Tensor,
    ) -> Pool:
        """Returns the pool with those of the first `width` continuations that end."""
        ranks, parents, tokens, token_log_probs = (values[:, : self._width] for values in continuations)
        ends = ops.logical_and(ops.equal(tokens, self._options.end_id), ranks > IMPOSSIBLE)
        log_probs = ops.where(ends, gather(live.log_probs, parents) + token_log_probs, IMPOSSIBLE)
        scores = log_probs * self._weight(time + 1)
        if look.scores is not None:
            scores += gather(look.scores, parents)
        scores, places = ops.top_k(ops.concatenate([pool.scores, scores], axis=1), self._pool_size)
        places_in_pool = ops.broadcast_to(ops.arange(self._pool_size, dtype="int32"), ops.shape(pool.lengths))
        sources = gather(ops.concatenate([places_in_pool, self._pool_size + parents], axis=1), places)
        trace = {
            name: gather(ops.concatenate([values, live.trace[name]], axis=1), sources)
            for name, values in pool.trace.items()
        }
        last = gather(ops.concatenate([ops.zeros_like(pool.scores), token_log_probs], axis=1), places)
        is_new = places >= self._pool_size
        kept = trace["token_log_probs"]
        trace["token_log_probs"] = ops.where(is_new[:, :, None], _written(kept, last, time), kept)
        return Pool(
            scores=scores,
            log_probs=gather(ops.concatenate([pool.log_probs, log_probs], axis=1), places),
            lengths=gather(ops.concatenate([pool.lengths, ops.zeros_like(tokens) + time], axis=1), places),
            trace=trace,
        )

    def _continue(
        self,
        continuations: Continuations,
        live: Live,
        pool: Pool,
        look: _Look,
        time: Tensor,
    ) -> tuple[Live, Tensor]:
        """Returns the next unfinished hypotheses, and the places of those that they continue."""
        ended = ops.equal(continuations.tokens, self._options.end_id)
        ranks, places = ops.top_k(ops.where(ended, IMPOSSIBLE, continuations.ranks), self._width)
        parents, tokens, token_log_probs = (
            gather(values, places)
            for values in (continuations.parents, continuations.tokens, continuations.token_log_probs)
        )
        log_probs = gather(live.log_probs, parents) + token_log_probs
        log_probs = ops.where(ranks > IMPOSSIBLE, log_probs, IMPOSSIBLE)
        settled = self._settled(log_probs, pool, time)
        if self._width == 1:
            settled = ops.logical_or(settled, ended[:, :1])
        log_probs = ops.where(settled, IMPOSSIBLE, log_probs)

        # Sequences of the full length can only end; those that do not are left as they are, to be cut.
        is_full = ops.equal(time, self._options.max_length)
        log_probs = ops.where(is_full, _unended(live.log_probs, continuations, ended), log_probs)
        parents = ops.where(is_full, ops.arange(self._width, dtype="int32"), parents)

        trace = {name: gather(values, parents) for name, values in live.trace.items()}
        new = {"sequences": tokens, "token_log_probs": token_log_probs}
        if "attention" in trace:
            new["attention"] = gather(look.attention, parents)
        now = ops.where(is_full, -1, time)
        trace = {name: _written(values, new[name], now) for name, values in trace.items()}
        coverage = live.coverage
        if self._options.coverage_penalty:
            coverage = gather(ops.where(is_full, live.coverage, look.coverage), parents)
        return Live(tokens, log_probs, coverage, trace), parents

    def _settled(self, log_probs: Tensor, pool: Pool, time: Tensor) -> Tensor:
        """Returns where no continuation of these hypotheses can enter the pool, of shape `(rows, 1)`.

        As log probabilities only fall, no score ahead is above the best present log probability with the
        smallest weight ahead: that of the longest sequence, or with a negative `length_penalty` that of the
        shortest. Coverage adds 0 at best. Of equals the pool keeps its own. Rows without a possible
        hypothesis are settled whatever they found.
        """
        shortest = ops.clip(time + 2, self._options.min_length + 1, self._options.max_length + 1)
        length = self._options.max_length + 1 if self._options.length_penalty > 0 else shortest
        best = ops.max(log_probs, axis=1, keepdims=True)
        settled = best * self._weight(length) <= pool.scores[:, -1:]
        if self._options.num_beam_groups == 1:
            return settled
        # A group that goes on may depend on what the others go on with.
        by_source = ops.reshape(settled, (self._batch_size, self._options.num_beam_groups))
        return ops.repeat(ops.all(by_source, axis=1), self._options.num_beam_groups)[:, None]

    def results(self, live: Live, pool: Pool) -> dict[str, Tensor]:
        """Returns the finished hypotheses and behind them, as far as there is room, those that were cut."""
        scores = live.log_probs * self._weight(self._options.max_length)
        if self._options.coverage_penalty:
            scores += self._coverage_scores(live.coverage)
        scores, places = ops.top_k(scores, self._pool_size)
        n_finished = ops.sum(ops.cast(pool.scores > IMPOSSIBLE, "int32"), axis=1, keepdims=True)
        has_room = ops.arange(self._pool_size, dtype="int32") < self._pool_size - n_finished
        cut = Pool(
            scores=ops.where(has_room, scores, IMPOSSIBLE),
            log_probs=gather(live.log_probs, places),
            lengths=ops.full_like(pool.lengths, self._options.max_length),
            trace={name: gather(values, places) for name, values in live.trace.items()},
        )
        all_ = tree.map_structure(lambda *both: self._of_all_groups(ops.concatenate(both, axis=1)), pool, cut)
        # `top_k` prefers the first of equals: sorted by score, then by kind.
        is_cut = ops.tile(ops.arange(2 * self._pool_size) >= self._pool_size, [self._options.num_beam_groups])
        count = is_cut.shape[0]
        scores, places = ops.top_k(all_.scores, count)
        kinds = ops.cast(scores > IMPOSSIBLE, "int32") * (2 - ops.cast(ops.take(is_cut, places), "int32"))
        if self._options.num_beam_groups > 1:
            kinds, order = ops.top_k(kinds, count)
            places = gather(places, order)
            sequences, lengths = gather(all_.trace["sequences"], places), gather(all_.lengths, places)
            kinds = ops.where(_repeat_others(sequences, lengths), 0, kinds)
        kinds, order = ops.top_k(kinds, self._options.n_best)
        places = gather(places, order)
        best = tree.map_structure(lambda values: gather(values, places), all_)
        found = kinds > 0
        results = {
            "sequences": ops.where(found[:, :, None], best.trace.pop("sequences"), self._options.pad_id),
            "scores": ops.where(found, best.scores, IMPOSSIBLE),
            "log_probs": ops.where(found, best.log_probs, IMPOSSIBLE),
            "lengths": ops.where(found, best.lengths, 0),
            "finished": kinds == 2,
            "found": found,
        }
        for name, values in best.trace.items():
            shape = (*ops.shape(found), *[1] * (len(values.shape) - 2))
            results[name] = ops.where(ops.reshape(found, shape), values, 0.0)
        return results

    def _of_all_groups(self, values: Tensor) -> Tensor:
        """Turns `(rows, n, ...)` into `(batch, groups * n, ...)`."""
        if self._options.num_beam_groups == 1:
            return values
        n, *rest = ops.shape(values)[1:]
        return ops.reshape(values, (self._batch_size, self._options.num_beam_groups * n, *rest))


def _repeat_others(sequences: Tensor, lengths: Tensor) -> Tensor:
    """Returns which hypotheses are the same as one before, of shape `(batch, count)`."""
    same = ops.all(ops.equal(sequences[:, :, None], sequences[:, None]), axis=-1)
    same = ops.logical_and(same, ops.equal(lengths[:, :, None], lengths[:, None]))
    before = ops.convert_to_tensor(np.tri(lengths.shape[1], k=-1, dtype=bool))
    return ops.any(ops.logical_and(same, before), axis=-1)


def _unended(log_probs: Tensor, continuations: Continuations, ended: Tensor) -> Tensor:
    """Makes those hypotheses impossible of which a continuation went to the pool."""
    width = log_probs.shape[1]
    ended = ops.logical_and(ended, continuations.ranks > IMPOSSIBLE)[:, :width, None]
    by_parent = ops.equal(continuations.parents[:, :width, None], ops.arange(width, dtype="int32"))
    return ops.where(ops.any(ops.logical_and(ended, by_parent), axis=1), IMPOSSIBLE, log_probs)


def _written(values: Tensor, new: Tensor, time: Tensor) -> Tensor:
    """Writes `new` (rows, width, ...) into `values` (rows, width, length, ...) at this time, if it exists."""
    length, *rest = ops.shape(values)[2:]
    is_now = ops.reshape(ops.equal(ops.arange(length, dtype="int32"), time), (length, *[1] * len(rest)))
    return ops.where(is_now, new[:, :, None], values)
