"""Beam search over any step function (Wu et al., 2016)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import keras
from keras import ops, tree

from layers.decoding._beam_search import BeamSearch
from layers.decoding._continuations import IMPOSSIBLE, gather
from layers.decoding._coverage import Coverage
from layers.decoding._hypotheses import Live, Pool, Tensor
from layers.decoding._prefix import Prefix, check_prefix
from layers.decoding._strategies import strategy_for
from layers.decoding.search_options import SearchOptions

NestedTensors: TypeAlias = Any
Step: TypeAlias = Callable[[Tensor, NestedTensors], tuple[Any, ...]]


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
    Unfinished hypotheses are ranked alike, as if they ended now. Of equal scores that which ended first
    wins, of equal continuations that of the better hypothesis, then the lower token id.

    After `max_length` tokens only the end may follow: in one last step all unfinished hypotheses end, however
    improbable that is, and compete for the pool with their ends' probabilities counted. Only those whose end
    is impossible there are cut. As the probability of a cut hypothesis lacks that of an end, they rank behind
    all finished ones. Their score is that of their tokens, with `L = max_length`, and of the steps that
    produced these.

    With `sample`, each of the `beam_size` hypotheses draws its next token instead, independently of the
    others, and the same sequence may be drawn twice. `temperature`, `top_k` and `top_p` shape what is drawn
    from; scores remain those of the model. After `max_length` tokens the end is drawn for sure. Returned are
    the `n_best` best of what was drawn: with `n_best < beam_size` that is no longer a sample of the model's
    sequences, but prefers the probable ones.

    With `num_beam_groups`, the beam is divided into groups of equal width that are searched side by side. A
    token that `n` hypotheses of the groups before have just gone on with is ranked as if its log probability
    were lower by `n * diversity_penalty`; scores do not count that. Each group has a pool of its own, all of
    which compete for the `n_best` places; what several groups have found counts once.

    Args:
        options: `SearchOptions`, what is looked for. Defaults to `SearchOptions()`.
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
        - `finished`: bool of shape `(batch, n_best)`, `False` if the hypothesis was cut at `max_length`, or
          where `found` is.
        - `found`: bool of shape `(batch, n_best)`, `False` where there were fewer than `n_best` hypotheses.
        - `attention`, with `return_attention`: float32 of shape `(batch, n_best, max_length, source)`, the
          weights of the steps that produced the tokens; 0 behind the last one.

    Example:
    ```python
    decoder = BeamSearchDecoder(SearchOptions(beam_size=5, max_length=30, length_penalty=0.6))
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

    def __init__(self, options: SearchOptions | None = None, **kwargs: Any) -> None:
        if options is not None and not isinstance(options, SearchOptions):
            raise ValueError(
                "Received an invalid value for argument `options`, expected `SearchOptions` or `None`, got "
                f"{options!r}."
            )
        # The states are the caller's: a mixed precision policy must not cast them.
        super().__init__(autocast=False, **kwargs)
        self._allow_non_tensor_positional_args = True  # `step`
        self.options = options or SearchOptions()
        self._strategy = strategy_for(self.options)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "options": self.options.get_config()}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> BeamSearchDecoder:
        """Restores a layer from what `get_config` returned."""
        return cls(**{**config, "options": SearchOptions.from_config(config["options"])})

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
        search = self._search(batch_size, prefix, source_mask, seeds, return_attention)
        width = self.options.beam_size

        def is_unsettled(time: Tensor, live: Live, *_: Any) -> Tensor:
            # In the step after the last token the longest sequences end.
            return ops.logical_and(time <= self.options.max_length, ops.any(live.log_probs > IMPOSSIBLE))

        def advance(
            time: Tensor, live: Live, pool: Pool, flat_states: list[Tensor]
        ) -> tuple[Tensor, Live, Pool, list[Tensor]]:
            tokens = ops.reshape(live.tokens, (batch_size, width))
            log_probs, new_states, *rest = step(tokens, tree.pack_sequence_as(states, flat_states))
            self._check_vocabulary(log_probs)
            live, pool, parents = search.advance(time, live, pool, log_probs, rest[0] if rest else None)
            flat_states = [self._by_hypothesis(state, batch_size) for state in tree.flatten(new_states)]
            if width > 1:
                flat_states = [gather(state, parents) for state in flat_states]
            return time + 1, live, pool, flat_states

        flat_states = [
            self._by_hypothesis(ops.repeat(state[:, None], width, axis=1), batch_size)
            for state in tree.flatten(states)
        ]
        start = (ops.zeros((), "int32"), *search.start(), flat_states)
        _, live, pool, _ = ops.while_loop(is_unsettled, advance, start)
        return search.results(live, pool)

    def _search(
        self,
        batch_size: int | Tensor,
        prefix: Tensor | None,
        source_mask: Tensor | None,
        seeds: Tensor | None,
        return_attention: bool,
    ) -> BeamSearch:
        """Checks a call's arguments and prepares its search."""
        options, strategy = self.options, self._strategy
        if source_mask is None and (return_attention or options.coverage_penalty):
            raise ValueError(
                f"Received no source_mask with coverage_penalty={options.coverage_penalty} and "
                f"return_attention={return_attention}; expected a boolean tensor of shape (batch, source), "
                "which tells the positions that the attention is over."
            )
        if source_mask is not None:
            source_mask = strategy.to_rows(source_mask)
        forced = None
        if prefix is not None:
            check_prefix(prefix, batch_size, options.max_length)
            if prefix.shape[1]:
                forced = Prefix(strategy.to_rows(prefix), options)
        if options.sample and seeds is None:
            seeds = ops.arange(batch_size, dtype="int32") + options.seed * 1_000_003 % 2**30
        coverage = Coverage(options.coverage_penalty, source_mask, return_attention)
        return BeamSearch(strategy, batch_size, forced, coverage, seeds)

    def _check_vocabulary(self, log_probs: Tensor) -> None:
        vocabulary = log_probs.shape[-1]
        if vocabulary is None or vocabulary <= self.options.end_id:
            raise ValueError(
                f"Received log_probs of shape {tuple(log_probs.shape)} from step; expected (batch, "
                f"beam_size, vocabulary) with a static vocabulary above end_id={self.options.end_id}. Return "
                "one log probability for every token id."
            )

    def _by_hypothesis(self, state: Tensor, batch_size: int | Tensor) -> Tensor:
        """Restores the static shape of a state, which a while loop does not let a step forget."""
        return ops.reshape(state, (batch_size, self.options.beam_size, *ops.shape(state)[2:]))
