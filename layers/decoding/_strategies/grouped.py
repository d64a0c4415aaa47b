"""Diverse beam search."""

from __future__ import annotations

from typing import TypeAlias

import keras
from keras import ops

from layers.decoding._continuations import IMPOSSIBLE, Allowed, Continuations, best_continuations, gather
from layers.decoding._strategies.strategy import Strategy

Tensor: TypeAlias = keras.KerasTensor


class GroupedStrategy(Strategy):
    """Searches groups of hypotheses side by side, which avoid each other's tokens (Vijayakumar et al., 2018).

    Every group of a source's hypotheses is a row, as if it were a source of its own.
    """

    def expand(
        self, log_probs: Tensor, base: Tensor, allowed: Allowed, time: Tensor, seeds: Tensor | None
    ) -> Continuations:
        """Returns the `2 * width` best of each group, which avoids the tokens of those before."""
        vocabulary = log_probs.shape[-1]
        log_probs, base = (
            ops.reshape(values, (ops.shape(values)[0] // self.groups, self.groups, *ops.shape(values)[1:]))
            for values in (log_probs, base)
        )
        taken = ops.zeros((ops.shape(base)[0], 1, vocabulary), "float32")
        by_group = []
        for group in range(self.groups):
            ranked = ops.cast(log_probs[:, group], "float32") - self.options.diversity_penalty * taken
            continuations = best_continuations(
                log_probs[:, group], base[:, group], 2 * self.width, allowed, ranked
            )
            ended = ops.equal(continuations.tokens, allowed.end_id)
            ranks, places = ops.top_k(ops.where(ended, IMPOSSIBLE, continuations.ranks), self.width)
            tokens = gather(continuations.tokens, places)
            counts = ops.one_hot(tokens, vocabulary) * ops.cast(ranks > IMPOSSIBLE, "float32")[:, :, None]
            taken += ops.sum(counts, axis=1, keepdims=True)
            by_group.append(continuations)
        return Continuations(*(self._rows(values) for values in zip(*by_group, strict=True)))

    def to_rows(self, values: Tensor) -> Tensor:
        """Repeats the values of each source for its groups."""
        return ops.repeat(values, self.groups, axis=0)

    def to_sources(self, values: Tensor) -> Tensor:
        """Puts the groups of each source one behind the other."""
        rows, n, *rest = ops.shape(values)
        return ops.reshape(values, (rows // self.groups, self.groups * n, *rest))

    def to_beams(self, parents: Tensor) -> Tensor:
        """Shifts the places of each group behind those of the groups before."""
        first = ops.arange(self.groups, dtype="int32")[:, None] * self.width
        parents = (
            ops.reshape(parents, (ops.shape(parents)[0] // self.groups, self.groups, self.width)) + first
        )
        return ops.reshape(parents, (ops.shape(parents)[0], self.options.beam_size))

    def settle(self, settled: Tensor) -> Tensor:
        """Settles the groups of a source together: one that goes on could still push others elsewhere."""
        by_source = ops.reshape(settled, (ops.shape(settled)[0] // self.groups, self.groups))
        return ops.repeat(ops.all(by_source, axis=1), self.groups)[:, None]

    def _rows(self, by_group: tuple[Tensor, ...]) -> Tensor:
        """Turns a tensor `(batch, n)` of each group to rows, `(rows, n)`."""
        batch, n = ops.shape(by_group[0])
        return ops.reshape(ops.stack(by_group, axis=1), (batch * self.groups, n))
