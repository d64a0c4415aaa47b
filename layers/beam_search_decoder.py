"""Beam search over any step function, as in Wu et al. (2016).

`BeamSearchDecoder(beam_width=4, max_length=64, length_penalty=0.0, n_best=1, min_length=0, ...)` with
`call(step, states, batch_size) -> dict`, where `step(tokens, states) -> (log_probs, states)`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import keras
import numpy as np
from keras import ops, tree

Tensor: TypeAlias = keras.KerasTensor
NestedTensors: TypeAlias = Any
Step: TypeAlias = Callable[[Tensor, NestedTensors], tuple[Tensor, NestedTensors]]

IMPOSSIBLE = float("-inf")


class _Live(NamedTuple):
    """The unfinished hypotheses of each row, best first. Those of a settled row are all impossible."""

    tokens: Tensor  # int32 (batch, beam_width), the last token of each
    log_probs: Tensor  # float32 (batch, beam_width)
    sequences: Tensor  # int32 (batch, beam_width, max_length)


class _Results(NamedTuple):
    """Hypotheses to be returned, best first. An empty place has the score -inf."""

    scores: Tensor  # float32 (batch, n_best)
    log_probs: Tensor  # float32 (batch, n_best)
    lengths: Tensor  # int32 (batch, n_best)
    sequences: Tensor  # int32 (batch, n_best, max_length)


class _Candidates(NamedTuple):
    """Continuations of the unfinished hypotheses, best first."""

    log_probs: Tensor  # float32 (batch, count)
    parents: Tensor  # int32 (batch, count), the hypotheses they continue
    tokens: Tensor  # int32 (batch, count)


@keras.saving.register_keras_serializable(package="rnnpipe")
class BeamSearchDecoder(keras.layers.Layer):
    """Searches the most probable output sequences of an autoregressive model.

    A step expands the `beam_width` unfinished hypotheses of a row into their `2 * beam_width` best
    continuations. Those among the first `beam_width` that end go to a pool of finished hypotheses; the best
    `beam_width` that do not end go on. A row is settled once no unfinished hypothesis can enter its pool any
    more, so stopping early never changes a result, and no row depends on another one. With `beam_width=1`
    this is greedy search, and a row is settled when its only hypothesis ends.

    A hypothesis of `L` tokens, the end token among them, has the score
    `log_prob / ((5 + L) / 6) ** length_penalty`. Hypotheses that have not ended after `max_length` tokens are
    cut; as their probability lacks that of an end, they rank behind all finished ones. Of equal scores that
    which ended first wins, of equal continuations that of the better hypothesis, then the lower token id.

    Args:
        beam_width: Integer, the number of unfinished hypotheses of each row. Defaults to 4.
        max_length: Integer, the largest number of tokens, not counting the end token. Defaults to 64.
        length_penalty: Float, above 0 in favour of long sequences, below 0 of short ones. Defaults to 0.
        n_best: Integer, the number of hypotheses returned for each row, at most `beam_width`. Defaults to 1.
        min_length: Integer, the smallest number of tokens, not counting the end token. Defaults to 0.
        start_id: Integer, the token that `step` gets first. Defaults to 2.
        end_id: Integer, the token that ends a sequence. Defaults to 3.
        pad_id: Integer, what `sequences` holds behind their last token. Defaults to 0.
        forbidden_ids: Integers, the tokens that are never produced. Defaults to `(pad_id, start_id)`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name`.

    Call arguments:
        step: Function `step(tokens, states) -> (log_probs, states)`. `tokens` are the last tokens, int32 of
            shape `(batch, beam_width)`; `log_probs` are the natural logarithms of the next tokens'
            probabilities, of any float type and of shape `(batch, beam_width, vocabulary)`. What the
            hypotheses of a row share, such as the encoder's outputs, belongs in the function's closure, once
            for each row.
        states: The states before the first step: tensors of shape `(batch, ...)` in any nested structure,
            `()` if there are none. `step` gets and returns them in the shape `(batch, beam_width, ...)`;
            in between they are reordered to follow their hypotheses.
        batch_size: The number of rows, an integer or a scalar int32 tensor.

    Returns:
        A dict. Finished hypotheses come first, then those that were cut, each kind by descending score.

        - `sequences`: int32 of shape `(batch, n_best, max_length)`, without the end token.
        - `scores`: float32 of shape `(batch, n_best)`, -inf where no hypothesis was found.
        - `log_probs`: float32 of shape `(batch, n_best)`, the same without the length penalty.
        - `lengths`: int32 of shape `(batch, n_best)`, the number of tokens without the end token.
        - `finished`: bool of shape `(batch, n_best)`, `False` if the hypothesis was cut.
        - `found`: bool of shape `(batch, n_best)`, `False` where there were fewer than `n_best` hypotheses.

    Example:
    ```python
    decoder = BeamSearchDecoder(beam_width=5, max_length=30, length_penalty=0.6)
    cell = keras.layers.GRUCell(64)
    embed = keras.layers.Embedding(100, 16)
    project = keras.layers.Dense(100)

    def step(tokens, states):
        inputs = keras.ops.reshape(embed(tokens), (-1, 16))
        outputs, _ = cell(inputs, [keras.ops.reshape(states, (-1, 64))])
        states = keras.ops.reshape(outputs, (-1, 5, 64))
        return keras.ops.log_softmax(project(states)), states

    results = decoder(step, np.random.random((32, 64)), batch_size=32)
    results["sequences"]  # (32, 1, 30)
    ```

    Reference:
        [Google's Neural Machine Translation System](https://arxiv.org/abs/1609.08144) (Wu et al., 2016),
        section 7, without its coverage penalty
    """

    def __init__(
        self,
        beam_width: int = 4,
        max_length: int = 64,
        length_penalty: float = 0.0,
        n_best: int = 1,
        min_length: int = 0,
        start_id: int = 2,
        end_id: int = 3,
        pad_id: int = 0,
        forbidden_ids: Sequence[int] | None = None,
        **kwargs: Any,
    ) -> None:
        # The states are the caller's: a mixed precision policy must not cast them.
        super().__init__(autocast=False, **kwargs)
        self._allow_non_tensor_positional_args = True  # `step`
        if not 1 <= n_best <= beam_width:
            raise ValueError(
                f"Received n_best={n_best} and beam_width={beam_width}; expected 1 <= n_best <= beam_width. "
                "Widen the beam or ask for fewer hypotheses."
            )
        if not 0 <= min_length <= max_length or max_length == 0:
            raise ValueError(
                f"Received min_length={min_length} and max_length={max_length}; expected "
                "0 <= min_length <= max_length and max_length > 0. Change one of them."
            )
        forbidden = {pad_id, start_id} - {end_id} if forbidden_ids is None else set(forbidden_ids)
        if min(start_id, end_id, pad_id, *forbidden) < 0 or end_id in forbidden:
            raise ValueError(
                f"Received start_id={start_id}, end_id={end_id}, pad_id={pad_id} and forbidden_ids="
                f"{sorted(forbidden)}; expected no negative id, and an end_id that is not forbidden. "
                "Take the ids from the tokenizer."
            )
        self.beam_width = beam_width
        self.max_length = max_length
        self.length_penalty = length_penalty
        self.n_best = n_best
        self.min_length = min_length
        self.start_id = start_id
        self.end_id = end_id
        self.pad_id = pad_id
        self.forbidden_ids = tuple(sorted(forbidden))
        self._weights = self._length_weights()

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "beam_width": self.beam_width,
            "max_length": self.max_length,
            "length_penalty": self.length_penalty,
            "n_best": self.n_best,
            "min_length": self.min_length,
            "start_id": self.start_id,
            "end_id": self.end_id,
            "pad_id": self.pad_id,
            "forbidden_ids": list(self.forbidden_ids),
        }

    def call(self, step: Step, states: NestedTensors, batch_size: int | Tensor) -> dict[str, Tensor]:
        """Runs the search, as the class describes."""

        def is_unsettled(time: Tensor, live: _Live, *_: Any) -> Tensor:
            # The step after the last token tells which of the longest sequences end there.
            return ops.logical_and(time <= self.max_length, ops.any(live.log_probs > IMPOSSIBLE))

        def advance(
            time: Tensor, live: _Live, pool: _Results, flat_states: list[Tensor]
        ) -> tuple[Tensor, _Live, _Results, list[Tensor]]:
            log_probs, new_states = step(live.tokens, tree.pack_sequence_as(states, flat_states))
            candidates = self._expand(log_probs, live, time, batch_size)
            pool = self._collect(candidates, live, pool, time)
            live, parents = self._continue(candidates, live, pool, time)
            flat_states = [self._by_hypothesis(state, batch_size) for state in tree.flatten(new_states)]
            if self.beam_width > 1:
                flat_states = [_gather(state, parents) for state in flat_states]
            return time + 1, live, pool, flat_states

        flat_states = [
            self._by_hypothesis(ops.repeat(state[:, None], self.beam_width, axis=1), batch_size)
            for state in tree.flatten(states)
        ]
        _, live, pool, _ = ops.while_loop(
            is_unsettled, advance, (ops.zeros((), "int32"), *self._start(batch_size), flat_states)
        )
        return self._results(live, pool)

    def _length_weights(self) -> np.ndarray:
        """Returns what multiplies the log probability of a hypothesis, by its number of tokens."""
        # A product is rounded alike everywhere, while graphs replace some quotients. In double precision the
        # weights are monotone, and still are when rounded to float32, as `_settled` needs.
        with np.errstate(over="ignore"):
            weights = ((5 + np.arange(self.max_length + 2)) / 6) ** -self.length_penalty
        if not (weights.min() > 1e-30 and weights.max() < 1e30):
            raise ValueError(
                f"Received length_penalty={self.length_penalty} with max_length={self.max_length}; expected "
                "penalties ((5 + L) / 6) ** length_penalty that float32 can hold. Take a number nearer to 0."
            )
        return weights.astype("float32")

    def _start(self, batch_size: int | Tensor) -> tuple[_Live, _Results]:
        # One possible hypothesis: were all of them, every one would find the same sequence.
        log_probs = [0.0] + [IMPOSSIBLE] * (self.beam_width - 1)
        live = _Live(
            tokens=ops.full((batch_size, self.beam_width), self.start_id, "int32"),
            log_probs=ops.broadcast_to(
                ops.convert_to_tensor(log_probs, "float32"), (batch_size, self.beam_width)
            ),
            sequences=ops.full((batch_size, self.beam_width, self.max_length), self.pad_id, "int32"),
        )
        pool = _Results(
            scores=ops.full((batch_size, self.n_best), IMPOSSIBLE, "float32"),
            log_probs=ops.full((batch_size, self.n_best), IMPOSSIBLE, "float32"),
            lengths=ops.zeros((batch_size, self.n_best), "int32"),
            sequences=ops.full((batch_size, self.n_best, self.max_length), self.pad_id, "int32"),
        )
        return live, pool

    def _by_hypothesis(self, state: Tensor, batch_size: int | Tensor) -> Tensor:
        """Restores the static shape of a state, which a while loop does not let a step forget."""
        return ops.reshape(state, (batch_size, self.beam_width, *ops.shape(state)[2:]))

    def _expand(self, log_probs: Tensor, live: _Live, time: Tensor, batch_size: int | Tensor) -> _Candidates:
        """Returns the `2 * beam_width` best continuations.

        `top_k` over the whole vocabulary is slow, so it is run only on those
        chunks of the vocabulary that have the highest maxima. This is exact, ties included: ahead of a chunk
        that is left out are `2 * beam_width` others, and so are their maxima. Chunks with a masked id are not
        counted among these, as it may be their maximum.
        """
        vocabulary = log_probs.shape[-1]
        if vocabulary is None or vocabulary <= self.end_id:
            raise ValueError(
                f"Received log_probs of shape {tuple(log_probs.shape)} from step; expected (batch, "
                f"beam_width, vocabulary) with a static vocabulary above end_id={self.end_id}. Return one "
                "log probability for every token id."
            )
        size = _chunk_size(vocabulary)
        n_chunks = -(-vocabulary // size)
        padding = n_chunks * size - vocabulary
        if padding:
            log_probs = ops.pad(log_probs, [[0, 0], [0, 0], [0, padding]], constant_values=IMPOSSIBLE)
        chunks = ops.reshape(log_probs, (batch_size, self.beam_width * n_chunks, size))

        masked_ids = {token for token in self.forbidden_ids if token < vocabulary}
        mask = _mask(masked_ids, (n_chunks, size))
        if self.min_length:
            masked_ids.add(self.end_id)
            mask = ops.where(time < self.min_length, _mask(masked_ids, (n_chunks, size)), mask)

        n_masked_chunks = len({token // size for token in masked_ids})
        n_best_chunks = self.beam_width * min(2 + n_masked_chunks, n_chunks)
        maxima = ops.reshape(ops.max(chunks, axis=-1), (batch_size, self.beam_width, n_chunks))
        maxima = ops.cast(maxima, "float32") + live.log_probs[:, :, None]
        _, best_chunks = ops.top_k(
            ops.reshape(maxima, (batch_size, self.beam_width * n_chunks)), n_best_chunks
        )
        best_chunks = ops.sort(best_chunks, axis=-1)  # `top_k` prefers the first of equals: the lowest id.

        totals = ops.cast(_gather(chunks, best_chunks), "float32")
        totals += _gather(live.log_probs, best_chunks // n_chunks)[:, :, None]
        totals += ops.take(mask, best_chunks % n_chunks, axis=0)
        totals = ops.where(totals > IMPOSSIBLE, totals, IMPOSSIBLE)  # NaN is no probability.
        totals, places = ops.top_k(
            ops.reshape(totals, (batch_size, n_best_chunks * size)),
            min(2 * self.beam_width, n_best_chunks * size),
        )
        best_chunks = _gather(best_chunks, places // size)
        tokens = best_chunks % n_chunks * size + places % size
        tokens = ops.minimum(tokens, vocabulary - 1)  # Impossible ones may lie in the padding.
        return _Candidates(log_probs=totals, parents=best_chunks // n_chunks, tokens=tokens)

    def _collect(self, candidates: _Candidates, live: _Live, pool: _Results, time: Tensor) -> _Results:
        """Returns the pool with those of the first `beam_width` candidates that end."""
        log_probs, parents, tokens = (values[:, : self.beam_width] for values in candidates)
        scores = ops.where(ops.equal(tokens, self.end_id), log_probs, IMPOSSIBLE)
        scores = scores * ops.take(self._weights, time + 1)
        scores, places = ops.top_k(ops.concatenate([pool.scores, scores], axis=1), self.n_best)
        places_in_pool = ops.broadcast_to(ops.arange(self.n_best, dtype="int32"), ops.shape(pool.lengths))
        sources = _gather(ops.concatenate([places_in_pool, self.n_best + parents], axis=1), places)
        return _Results(
            scores=scores,
            log_probs=_gather(ops.concatenate([pool.log_probs, log_probs], axis=1), places),
            lengths=_gather(ops.concatenate([pool.lengths, ops.zeros_like(tokens) + time], axis=1), places),
            sequences=_gather(ops.concatenate([pool.sequences, live.sequences], axis=1), sources),
        )

    def _continue(
        self, candidates: _Candidates, live: _Live, pool: _Results, time: Tensor
    ) -> tuple[_Live, Tensor]:
        """Returns the next unfinished hypotheses, and the places of those that they continue."""
        ended = ops.equal(candidates.tokens, self.end_id)
        log_probs, places = ops.top_k(ops.where(ended, IMPOSSIBLE, candidates.log_probs), self.beam_width)
        parents, tokens = _gather(candidates.parents, places), _gather(candidates.tokens, places)
        is_now = ops.equal(ops.arange(self.max_length, dtype="int32"), time)
        sequences = ops.where(is_now, tokens[:, :, None], _gather(live.sequences, parents))

        settled = self._settled(log_probs, pool, time)
        if self.beam_width == 1:
            settled = ops.logical_or(settled, ended[:, :1])
        log_probs = ops.where(settled, IMPOSSIBLE, log_probs)

        # Sequences of the full length can only end; those that do not are left as they are, to be cut.
        is_full = ops.equal(time, self.max_length)
        log_probs = ops.where(is_full, live.log_probs, log_probs)
        sequences = ops.where(is_full, live.sequences, sequences)
        return _Live(tokens, log_probs, sequences), parents

    def _settled(self, log_probs: Tensor, pool: _Results, time: Tensor) -> Tensor:
        """Returns where no continuation of these hypotheses can enter the pool, of shape `(batch, 1)`.

        As log probabilities only fall, no score ahead is above the present log probability with the smallest
        weight ahead: that of the longest sequence, or with a negative `length_penalty` that of the shortest.
        Of equals the pool keeps its own. Rows without a possible hypothesis are settled whatever they found.
        """
        shortest = ops.clip(time + 2, self.min_length + 1, self.max_length + 1)
        length = self.max_length + 1 if self.length_penalty > 0 else shortest
        return log_probs[:, :1] * ops.take(self._weights, length) <= pool.scores[:, -1:]

    def _results(self, live: _Live, pool: _Results) -> dict[str, Tensor]:
        """Returns the pool and behind it, as far as it has room, the hypotheses that were cut."""
        # The last step may have ended a hypothesis that is still here.
        in_pool = ops.all(ops.equal(live.sequences[:, :, None], pool.sequences[:, None]), axis=-1)
        in_pool = ops.logical_and(in_pool, ops.equal(pool.lengths, self.max_length)[:, None])
        log_probs = ops.where(ops.any(in_pool, axis=-1), IMPOSSIBLE, live.log_probs)
        log_probs, places = ops.top_k(log_probs, self.n_best)
        cut = _Results(
            scores=log_probs * self._weights[self.max_length],
            log_probs=log_probs,
            lengths=ops.full_like(places, self.max_length),
            sequences=_gather(live.sequences, places),
        )
        n_finished = ops.sum(ops.cast(pool.scores > IMPOSSIBLE, "int32"), axis=1, keepdims=True)
        places = ops.arange(self.n_best, dtype="int32")[None]
        finished = places < n_finished
        sources = ops.where(finished, places, self.n_best + places - n_finished)
        best = _Results(
            *(_gather(ops.concatenate(both, axis=1), sources) for both in zip(pool, cut, strict=True))
        )
        found = best.scores > IMPOSSIBLE
        return {
            "sequences": ops.where(found[:, :, None], best.sequences, self.pad_id),
            "scores": best.scores,
            "log_probs": ops.where(found, best.log_probs, IMPOSSIBLE),
            "lengths": ops.where(found, best.lengths, 0),
            "finished": finished,
            "found": found,
        }


def _chunk_size(vocabulary: int) -> int:
    """Returns the size from 32 to 64, the fastest ones, that needs the least padding: that costs a copy."""
    return vocabulary if vocabulary <= 64 else min(range(32, 65), key=lambda size: -vocabulary % size)


def _mask(ids: set[int], shape: tuple[int, int]) -> np.ndarray:
    """Returns -inf at these ids and 0 elsewhere, in chunks."""
    mask = np.zeros(math.prod(shape), "float32")
    mask[list(ids)] = IMPOSSIBLE
    return mask.reshape(shape)


def _gather(values: Tensor, places: Tensor) -> Tensor:
    """Returns, of each row of `values` (batch, n, ...), those at its `places` (batch, m): (batch, m, ...)."""
    n, *rest = ops.shape(values)[1:]
    batch_size, m = ops.shape(places)
    flat_places = ops.reshape(places + n * ops.arange(batch_size, dtype="int32")[:, None], (-1,))
    return ops.reshape(
        ops.take(ops.reshape(values, (-1, *rest)), flat_places, axis=0), (batch_size, m, *rest)
    )
