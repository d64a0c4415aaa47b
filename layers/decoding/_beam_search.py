"""What a beam search does between two steps of the model; see `BeamSearchDecoder`."""

from __future__ import annotations

from keras import ops

from layers.decoding._continuations import (
    IMPOSSIBLE,
    Allowed,
    Continuations,
    choose,
    ends_or_none,
    gather,
    padded,
)
from layers.decoding._coverage import Coverage, Look
from layers.decoding._hypotheses import Live, Pool, Tensor, Trace, write
from layers.decoding._ngrams import without_repeated_ngrams
from layers.decoding._prefix import Prefix
from layers.decoding._results import best_of
from layers.decoding._strategies import Strategy


class BeamSearch:
    """One call's search.

    Args:
        strategy: How hypotheses go on.
        batch_size: The number of sources.
        prefix: What the sequences of each row begin with.
        coverage: What counts the attention.
        seeds: int32 of shape `(batch,)`, required to draw.
    """

    def __init__(
        self,
        strategy: Strategy,
        batch_size: int | Tensor,
        prefix: Prefix | None,
        coverage: Coverage,
        seeds: Tensor | None,
    ) -> None:
        self._options = strategy.options
        self._strategy = strategy
        self._rows = batch_size if strategy.groups == 1 else batch_size * strategy.groups
        self._width = strategy.width
        self._pool_size = min(self._options.n_best, strategy.width)
        self._prefix = prefix
        self._coverage = coverage
        self._seeds = seeds

    def start(self) -> tuple[Live, Pool]:
        """Returns the empty hypothesis of each row, and empty pools."""
        shape = (self._rows, self._width)
        log_probs = ops.convert_to_tensor(self._strategy.first_log_probs(), "float32")
        live = Live(
            tokens=ops.full(shape, self._options.start_id, "int32"),
            log_probs=ops.broadcast_to(log_probs, shape),
            coverage=ops.zeros(
                (*shape, self._coverage.source) if self._coverage.penalty else shape, "float32"
            ),
            trace=self._empty_trace(self._width),
        )
        shape = (self._rows, self._pool_size)
        pool = Pool(
            scores=ops.full(shape, IMPOSSIBLE, "float32"),
            log_probs=ops.full(shape, IMPOSSIBLE, "float32"),
            lengths=ops.zeros(shape, "int32"),
            trace=self._empty_trace(self._pool_size),
        )
        return live, pool

    def _empty_trace(self, n: int) -> Trace:
        length = self._options.max_length
        trace = {
            "sequences": ops.full((self._rows, n, length), self._options.pad_id, "int32"),
            "token_log_probs": ops.zeros((self._rows, n, length + 1), "float32"),
        }
        if self._coverage.records:
            trace["attention"] = ops.zeros((self._rows, n, length, self._coverage.source), "float32")
        return trace

    def advance(
        self, time: Tensor, live: Live, pool: Pool, log_probs: Tensor, attention: Tensor | None
    ) -> tuple[Live, Pool, Tensor]:
        """Takes the hypotheses one token further.

        Args:
            time: How many tokens the unfinished ones have.
            live: The unfinished hypotheses.
            pool: The finished ones.
            log_probs: Those of the next tokens, of shape `(batch, beam_size, vocabulary)`.
            attention: Of shape `(batch, beam_size, source)`, if the step returned it.

        Returns:
            The new hypotheses, and the places of those that the unfinished ones continue, int32 of shape
            `(batch, beam_size)`.
        """
        look = self._coverage.look(live, attention)
        continuations = self._expand(log_probs, live, look, time)
        pool = self._collect(continuations, live, pool, look, time)
        live, parents = self._continue(continuations, live, pool, look, time)
        return live, pool, self._strategy.to_beams(parents)

    def results(self, live: Live, pool: Pool) -> dict[str, Tensor]:
        """Returns what `BeamSearchDecoder` does; what is unfinished now was cut."""
        length = self._options.max_length
        scores = live.log_probs * self._weight(length)
        if self._coverage.penalty:
            scores += self._coverage.scores(live.coverage)
        scores, places = ops.top_k(scores, self._pool_size)
        cut = Pool(
            scores=scores,
            log_probs=gather(live.log_probs, places),
            lengths=ops.full_like(pool.lengths, length),
            trace={name: gather(values, places) for name, values in live.trace.items()},
        )
        return best_of(pool, cut, self._strategy)

    def _weight(self, length: int | Tensor) -> Tensor:
        """Returns the weights of so many tokens, forced ones not counted: a scalar or `(rows, 1)`."""
        forced = 0 if self._prefix is None else self._prefix.lengths
        return ops.take(self._options.length_weights, ops.maximum(length - forced, 1))

    def _expand(self, log_probs: Tensor, live: Live, look: Look, time: Tensor) -> Continuations:
        """Returns `2 * width` continuations of each row, among the first `width` of which ends count."""
        options, size = self._options, self._options.no_repeat_ngram_size
        log_probs = ops.reshape(log_probs, (self._rows, self._width, log_probs.shape[-1]))
        if size:
            log_probs = without_repeated_ngrams(log_probs, live.trace["sequences"], time, size)
        base = live.log_probs
        if look.scores is not None:
            # As if all ended now: scores of one length, divided by the weight they have in common.
            base = base + look.scores / self._weight(time + 1)
        may_end = time >= options.min_length if options.min_length else True
        allowed = Allowed(tuple(options.forbidden_ids or ()), options.end_id, may_end)
        continuations = self._strategy.expand(log_probs, base, allowed, time, self._seeds)
        continuations = padded(continuations, 2 * self._width)
        if self._prefix is not None:
            continuations = self._prefix.force(continuations, base, time)
        is_full = ops.equal(time, options.max_length)
        return choose(is_full, ends_or_none(log_probs, base, options.end_id), continuations)

    def _collect(
        self, continuations: Continuations, live: Live, pool: Pool, look: Look, time: Tensor
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
        trace["token_log_probs"] = ops.where(is_new[:, :, None], write(kept, last, time), kept)
        return Pool(
            scores=scores,
            log_probs=gather(ops.concatenate([pool.log_probs, log_probs], axis=1), places),
            lengths=gather(ops.concatenate([pool.lengths, ops.zeros_like(tokens) + time], axis=1), places),
            trace=trace,
        )

    def _continue(
        self, continuations: Continuations, live: Live, pool: Pool, look: Look, time: Tensor
    ) -> tuple[Live, Tensor]:
        """Returns the next unfinished hypotheses, and the places of those that they continue."""
        ended = ops.equal(continuations.tokens, self._options.end_id)
        ranks, places = ops.top_k(ops.where(ended, IMPOSSIBLE, continuations.ranks), self._width)
        parents, tokens, token_log_probs = (gather(values, places) for values in continuations[1:])
        log_probs = gather(live.log_probs, parents) + token_log_probs
        log_probs = ops.where(ranks > IMPOSSIBLE, log_probs, IMPOSSIBLE)
        settled = self._settled(log_probs, pool, time)
        if self._width == 1:
            ends = ops.logical_and(ended, continuations.ranks > IMPOSSIBLE)
            settled = ops.logical_or(settled, ends[:, :1])
        log_probs = ops.where(settled, IMPOSSIBLE, log_probs)

        new = {"sequences": tokens, "token_log_probs": token_log_probs}
        if self._coverage.records:
            new["attention"] = gather(look.attention, parents)
        trace = {name: write(gather(values, parents), new[name], time) for name, values in live.trace.items()}
        coverage = live.coverage
        if self._coverage.penalty:
            # To the score of a cut hypothesis belong the steps that produced its tokens.
            is_full = ops.equal(time, self._options.max_length)
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
        return self._strategy.settle(best * self._weight(length) <= pool.scores[:, -1:])
