"""Beam search over any step function, as in Wu et al. (2016).

`BeamSearchDecoder(beam_size=4, max_length=64, n_best=1, min_length=0, length_penalty=0.0, ...)` with
`call(step, states, batch_size, prefix=None, source_mask=None, seeds=None, return_attention=False) -> dict`,
where `step(tokens, states) -> (log_probs, states)` or `(log_probs, states, attention)`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from numbers import Integral, Real
from typing import Any, Literal, TypeAlias

import keras
import numpy as np
from keras import ops, tree

from layers.decoding._beam_search import BeamSearch, Live, Pool
from layers.decoding._continuations import IMPOSSIBLE, gather

Tensor: TypeAlias = keras.KerasTensor
NestedTensors: TypeAlias = Any
Step: TypeAlias = Callable[[Tensor, NestedTensors], tuple[Any, ...]]

LengthNormalization: TypeAlias = Literal["gnmt", "average"]


@keras.saving.register_keras_serializable(package="rnnpipe")
class BeamSearchDecoder(keras.layers.Layer):
    """Searches the most probable output sequences of an autoregressive model, or draws some.

    A step expands the `beam_size` unfinished hypotheses of a row into their `2 * beam_size` best
    continuations. Those among the first `beam_size` that end go to a pool of finished hypotheses; the best
    `beam_size` that do not end go on. A row is settled once no unfinished hypothesis can enter its pool any
    more, so stopping early never changes a result, and no row depends on another one. With `beam_size=1`
    this is greedy search, and a row is settled when its only hypothesis ends.

    A hypothesis of `L` tokens, the end token among them, has the score
    `log_prob / penalty(L) ** length_penalty + coverage_penalty * coverage`, where `penalty(L)` is
    `(5 + L) / 6` (`"gnmt"`) or `L` (`"average"`), and `coverage` sums `log(a)` over the positions of
    the source, `a` being all the attention that a position has got, the step of the end token included, and
    clipped to the range from 1e-7 to 1.
    Unfinished hypotheses are ranked alike, as if they ended now. Hypotheses that have not ended after
    `max_length` tokens are cut; as their probability lacks that of an end, they rank behind all finished
    ones. Of equal scores that which ended first wins, of equal continuations that of the better hypothesis,
    then the lower token id.

    With `sample`, each of the `beam_size` hypotheses draws its next token instead, independently of the
    others, and the same sequence may be drawn twice. `temperature`, `top_k` and `top_p` shape what is drawn
    from; scores remain those of the model. Returned are the `n_best` best of what was drawn: with
    `n_best < beam_size` that is no longer a sample of the model's sequences, but prefers the probable ones.

    With `num_beam_groups`, the beam is divided into groups of equal width that are searched side by side. A
    token that `n` hypotheses of the groups before have just gone on with is ranked as if its log probability
    were lower by `n * diversity_penalty`; scores do not count that. Each group has a pool of its own, all of
    which compete for the `n_best` places; what several groups have found counts once.

    Args:
        beam_size: Integer, the number of unfinished hypotheses of each row. Defaults to 4.
        max_length: Integer, the largest number of tokens, not counting the end token. Defaults to 64.
        length_penalty: Float, above 0 in favour of long sequences, below 0 of short ones. Defaults to 0.
        n_best: Integer, the number of hypotheses returned for each row, at most `beam_size`. Defaults to 1.
        min_length: Integer, the smallest number of tokens, not counting the end token. Defaults to 0.
        start_id: Integer, the token that `step` gets first. Defaults to 2.
        end_id: Integer, the token that ends a sequence. Defaults to 3.
        pad_id: Integer, what `sequences` holds behind their last token. Defaults to 0.
        forbidden_ids: Integers, the tokens that are never produced. Defaults to `(pad_id, start_id)`.
        length_normalization: `"gnmt"` or `"average"`, see above. Defaults to `"gnmt"`.
        coverage_penalty: Float of at least 0; needs a `step` that returns its attention. Defaults to 0.
        no_repeat_ngram_size: Integer, no sequence contains the same tokens, so many in a row, twice; forced
            ones may. 0 lets sequences repeat. Defaults to 0.
        sample: Whether to draw tokens. Defaults to `False`.
        temperature: Float above 0, what log probabilities are divided by before a token is drawn. Defaults
            to 1.
        top_k: Integer, draw from so many most probable tokens only; 0 for all. Defaults to 0.
        top_p: Float in (0, 1], draw from the fewest most probable tokens only that are together at least this
            probable. Defaults to 1.
        num_beam_groups: Integer that divides `beam_size`, the number of groups. Defaults to 1.
        diversity_penalty: Float of at least 0, how much groups avoid each other's tokens. Defaults to 0.
        seed: Integer of at least 0, the seed of the draws where a call gives none. Defaults to 0.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name`.

    Call arguments:
        step: Function `step(tokens, states) -> (log_probs, states)` or `(log_probs, states, attention)`.
            `tokens` are the last tokens, int32 of shape `(batch, beam_size)`; `log_probs` are the natural
            logarithms of the next tokens' probabilities, of any float type and of shape
            `(batch, beam_size, vocabulary)`; `attention` are weights of at least 0, of shape
            `(batch, beam_size, source)`. What the hypotheses of a row share, such as the encoder's outputs,
            belongs in the function's closure, once for each row.
        states: The states before the first step: tensors of shape `(batch, ...)` in any nested structure,
            `()` if there are none. `step` gets and returns them in the shape `(batch, beam_size, ...)`;
            in between they are reordered to follow their hypotheses.
        batch_size: The number of rows, an integer or a scalar int32 tensor.
        prefix: int32 of shape `(batch, n)`, what the sequences of each row begin with; `n` is at most
            `max_length`. A row's prefix stops before its first `pad_id` or `end_id`. It counts for
            `min_length` and `max_length`, but not for the score: the rest is found and ranked as if a search
            had begun behind the prefix. Tokens are forced whatever their probability.
        source_mask: Boolean tensor of shape `(batch, source)`, `True` at the positions that are to be
            covered. Required with `coverage_penalty` or `return_attention`.
        seeds: int32 of shape `(batch,)`. With `sample`, equal seeds of rows draw alike, whatever the batch.
            By default they follow from `seed` and the place in the batch, alike in every call.
        return_attention: Whether to return the attention. Defaults to `False`.

    Returns:
        A dict. Finished hypotheses come first, then those that were cut, each kind by descending score.

        - `sequences`: int32 of shape `(batch, n_best, max_length)`, without the end token.
        - `scores`: float32 of shape `(batch, n_best)`, -inf where no hypothesis was found.
        - `log_probs`: float32 of shape `(batch, n_best)`, the same without penalties.
        - `token_log_probs`: float32 of shape `(batch, n_best, max_length + 1)`, those of the tokens, the end
          token included, which add up to `log_probs`; 0 for forced tokens and behind the end.
        - `lengths`: int32 of shape `(batch, n_best)`, the number of tokens without the end token.
        - `finished`: bool of shape `(batch, n_best)`, `False` if the hypothesis was cut at `max_length`.
        - `found`: bool of shape `(batch, n_best)`, `False` where there were fewer than `n_best` hypotheses.
        - `attention`, with `return_attention`: float32 of shape `(batch, n_best, max_length, source)`, the
          weights of the steps that produced the tokens; 0 behind the last one.

    Example:
    ```python
    decoder = BeamSearchDecoder(beam_size=5, max_length=30, length_penalty=0.6)
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

    References:
        - [Google's Neural Machine Translation System](https://arxiv.org/abs/1609.08144) (Wu et al., 2016),
          section 7
        - [Diverse Beam Search](https://arxiv.org/abs/1610.02424) (Vijayakumar et al., 2018)
        - [The Curious Case of Neural Text Degeneration](https://arxiv.org/abs/1904.09751) (Holtzman et al.,
          2020), nucleus sampling
    """

    def __init__(
        self,
        beam_size: int = 4,
        max_length: int = 64,
        length_penalty: float = 0.0,
        n_best: int = 1,
        min_length: int = 0,
        start_id: int = 2,
        end_id: int = 3,
        pad_id: int = 0,
        forbidden_ids: Sequence[int] | None = None,
        length_normalization: LengthNormalization = "gnmt",
        coverage_penalty: float = 0.0,
        no_repeat_ngram_size: int = 0,
        sample: bool = False,
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 1.0,
        num_beam_groups: int = 1,
        diversity_penalty: float = 0.0,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        # The states are the caller's: a mixed precision policy must not cast them.
        super().__init__(autocast=False, **kwargs)
        self._allow_non_tensor_positional_args = True  # `step`
        forbidden = {pad_id, start_id} - {end_id} if forbidden_ids is None else set(forbidden_ids)
        self.beam_size = beam_size
        self.max_length = max_length
        self.length_penalty = length_penalty
        self.n_best = n_best
        self.min_length = min_length
        self.start_id = start_id
        self.end_id = end_id
        self.pad_id = pad_id
        self.forbidden_ids = tuple(sorted(forbidden))
        self.length_normalization = length_normalization
        self.coverage_penalty = coverage_penalty
        self.no_repeat_ngram_size = no_repeat_ngram_size
        self.sample = sample
        self.temperature = temperature
        self.top_k = top_k
        self.top_p = top_p
        self.num_beam_groups = num_beam_groups
        self.diversity_penalty = diversity_penalty
        self.seed = seed
        self._check()
        self.length_weights = self._length_weights()

    def _check(self) -> None:
        for name in (
            *("beam_size", "max_length", "n_best", "min_length", "start_id", "end_id", "pad_id"),
            *("no_repeat_ngram_size", "top_k", "num_beam_groups", "seed"),
        ):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, Integral):
                raise ValueError(f"Received {name}={value!r}; expected an integer.")
        for name in ("length_penalty", "coverage_penalty", "temperature", "top_p", "diversity_penalty"):
            if not isinstance(getattr(self, name), Real):
                raise ValueError(f"Received {name}={getattr(self, name)!r}; expected a number.")
        if not 1 <= self.n_best <= self.beam_size:
            raise ValueError(
                f"Received n_best={self.n_best} and beam_size={self.beam_size}; expected "
                "1 <= n_best <= beam_size. Widen the beam or ask for fewer hypotheses."
            )
        if not 0 <= self.min_length <= self.max_length or self.max_length == 0:
            raise ValueError(
                f"Received min_length={self.min_length} and max_length={self.max_length}; expected "
                "0 <= min_length <= max_length and max_length > 0. Change one of them."
            )
        ids = (self.start_id, self.end_id, self.pad_id, *self.forbidden_ids)
        if min(ids) < 0 or self.end_id in self.forbidden_ids:
            raise ValueError(
                f"Received start_id={self.start_id}, end_id={self.end_id}, pad_id={self.pad_id} and "
                f"forbidden_ids={list(self.forbidden_ids)}; expected no negative id, and an end_id that is "
                "not forbidden. Take the ids from the tokenizer."
            )
        if self.length_normalization not in ("gnmt", "average"):
            raise ValueError(
                f"Received length_normalization={self.length_normalization!r}; expected 'gnmt' or 'average'."
            )
        for name in ("coverage_penalty", "diversity_penalty"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(
                    f"Received {name}={getattr(self, name)}; expected a number of at least 0, which turns it "
                    "off."
                )
        if self.no_repeat_ngram_size < 0:
            raise ValueError(
                f"Received no_repeat_ngram_size={self.no_repeat_ngram_size}; expected the n of n-grams "
                "that must not "
                "occur twice, or 0 to let them."
            )
        if not (0 < self.temperature < float("inf") and self.top_k >= 0 and 0 < self.top_p <= 1):
            raise ValueError(
                f"Received temperature={self.temperature}, top_k={self.top_k} and top_p={self.top_p}; "
                "expected temperature > 0, top_k >= 0 (0 for all tokens) and 0 < top_p <= 1."
            )
        if not self.sample and (self.temperature, self.top_k, self.top_p) != (1, 0, 1):
            raise ValueError(
                f"Received temperature={self.temperature}, top_k={self.top_k} and top_p={self.top_p} with "
                "sample=False; expected their defaults, as a search draws nothing. Set sample=True."
            )
        if self.seed < 0:
            raise ValueError(f"Received seed={self.seed}; expected an integer of at least 0.")
        if self.num_beam_groups < 1 or self.beam_size % self.num_beam_groups:
            raise ValueError(
                f"Received num_beam_groups={self.num_beam_groups} and beam_size={self.beam_size}; "
                "expected a number of "
                "groups that divides the beam. Widen the beam to a multiple of groups."
            )
        if self.num_beam_groups > 1 and self.sample:
            raise ValueError(
                f"Received num_beam_groups={self.num_beam_groups} with sample=True; expected "
                "num_beam_groups=1, as draws are diverse "
                "without groups."
            )
        if self.diversity_penalty and self.num_beam_groups == 1:
            raise ValueError(
                f"Received diversity_penalty={self.diversity_penalty} with num_beam_groups=1; expected "
                "more groups, which are to "
                "differ. Set groups, such as num_beam_groups=beam_size."
            )

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "beam_size": self.beam_size,
            "max_length": self.max_length,
            "length_penalty": self.length_penalty,
            "n_best": self.n_best,
            "min_length": self.min_length,
            "start_id": self.start_id,
            "end_id": self.end_id,
            "pad_id": self.pad_id,
            "forbidden_ids": list(self.forbidden_ids),
            "length_normalization": self.length_normalization,
            "coverage_penalty": self.coverage_penalty,
            "no_repeat_ngram_size": self.no_repeat_ngram_size,
            "sample": self.sample,
            "temperature": self.temperature,
            "top_k": self.top_k,
            "top_p": self.top_p,
            "num_beam_groups": self.num_beam_groups,
            "diversity_penalty": self.diversity_penalty,
            "seed": self.seed,
        }

    def call(
        self,
        step: Step,
        states: NestedTensors,
        batch_size: int | Tensor,
        prefix: Tensor | None = None,
        source_mask: Tensor | None = None,
        seeds: Tensor | None = None,
        return_attention: bool = False,
    ) -> dict[str, Tensor]:
        """Runs the search, as the class describes."""
        if source_mask is None and (return_attention or self.coverage_penalty):
            raise ValueError(
                f"Received no source_mask with coverage_penalty={self.coverage_penalty} and "
                f"return_attention={return_attention}; expected a boolean tensor of shape (batch, source), "
                "which tells the positions that the attention is over."
            )
        if self.sample and seeds is None:
            seeds = ops.arange(batch_size, dtype="int32") + self.seed * 1_000_003 % 2**30
        search = BeamSearch(self, batch_size, prefix, source_mask, seeds, return_attention)

        def is_unsettled(time: Tensor, live: Live, *_: Any) -> Tensor:
            # The step after the last token tells which of the longest sequences end there.
            return ops.logical_and(time <= self.max_length, ops.any(live.log_probs > IMPOSSIBLE))

        def advance(
            time: Tensor, live: Live, pool: Pool, flat_states: list[Tensor]
        ) -> tuple[Tensor, Live, Pool, list[Tensor]]:
            tokens = ops.reshape(live.tokens, (batch_size, self.beam_size))
            log_probs, new_states, *rest = step(tokens, tree.pack_sequence_as(states, flat_states))
            self._check_vocabulary(log_probs)
            live, pool, parents = search.advance(time, live, pool, log_probs, rest[0] if rest else None)
            flat_states = [self._by_hypothesis(state, batch_size) for state in tree.flatten(new_states)]
            if self.beam_size > 1:
                flat_states = [gather(state, parents) for state in flat_states]
            return time + 1, live, pool, flat_states

        flat_states = [
            self._by_hypothesis(ops.repeat(state[:, None], self.beam_size, axis=1), batch_size)
            for state in tree.flatten(states)
        ]
        start = (ops.zeros((), "int32"), *search.start(), flat_states)
        _, live, pool, _ = ops.while_loop(is_unsettled, advance, start)
        return search.results(live, pool)

    def _check_vocabulary(self, log_probs: Tensor) -> None:
        vocabulary = log_probs.shape[-1]
        if vocabulary is None or vocabulary <= self.end_id:
            raise ValueError(
                f"Received log_probs of shape {tuple(log_probs.shape)} from step; expected (batch, "
                f"beam_size, vocabulary) with a static vocabulary above end_id={self.end_id}. Return one "
                "log probability for every token id."
            )

    def _by_hypothesis(self, state: Tensor, batch_size: int | Tensor) -> Tensor:
        """Restores the static shape of a state, which a while loop does not let a step forget."""
        return ops.reshape(state, (batch_size, self.beam_size, *ops.shape(state)[2:]))

    def _length_weights(self) -> np.ndarray:
        """Returns what multiplies the log probability of a hypothesis, by its number of tokens."""
        # A product is rounded alike everywhere, while graphs replace some quotients. In double precision the
        # weights are monotone, and still are when rounded to float32, as `_settled` needs.
        lengths = np.maximum(np.arange(self.max_length + 2), 1)
        penalties = (5 + lengths) / 6 if self.length_normalization == "gnmt" else lengths * 1.0
        with np.errstate(over="ignore"):
            weights = penalties**-self.length_penalty
        if not (weights.min() > 1e-30 and weights.max() < 1e30):
            raise ValueError(
                f"Received length_penalty={self.length_penalty} with max_length={self.max_length}; expected "
                "penalties of L tokens to the power of length_penalty that float32 can hold. Take a number "
                "nearer to 0."
            )
        return weights.astype("float32")
