"""Sampling."""

from __future__ import annotations

from typing import TypeAlias

import keras
from keras import ops

from layers.decoding._continuations import (
    IMPOSSIBLE,
    Allowed,
    Continuations,
    gather,
    look_up,
    mask_of,
)
from layers.decoding._hashes import hashed_uniforms
from layers.decoding._strategies.strategy import Strategy

Tensor: TypeAlias = keras.KerasTensor


class DrawnStrategy(Strategy):
    """Draws the next token of every hypothesis by its probability, independently of the others."""

    def first_log_probs(self) -> list[float]:
        """Returns zeros: hypotheses that begin alike are drawn apart."""
        return [0.0] * self.width

    def expand(
        self, log_probs: Tensor, base: Tensor, allowed: Allowed, time: Tensor, seeds: Tensor | None
    ) -> Continuations:
        """Returns one continuation of each hypothesis."""
        return self.draw(log_probs, base, hashed_uniforms(seeds, time, self.width), allowed)

    def draw(self, log_probs: Tensor, base: Tensor, uniforms: Tensor, allowed: Allowed) -> Continuations:
        """Draws one continuation of each hypothesis.

        Args:
            log_probs: As for `expand`, like `base` and `allowed`.
            base: See there.
            uniforms: Float32 of shape `(rows, width)`, drawn uniformly from [0, 1].
            allowed: See there.
        """
        (rows, width), vocabulary = ops.shape(base), log_probs.shape[-1]
        masked_ids = {token for token in allowed.forbidden_ids if token < vocabulary}
        mask = mask_of(masked_ids, (vocabulary,))
        if allowed.may_end is not True:
            mask = ops.where(allowed.may_end, mask, mask_of(masked_ids | {allowed.end_id}, (vocabulary,)))
        values = ops.cast(log_probs, "float32") + mask
        values = ops.where(values > IMPOSSIBLE, values, IMPOSSIBLE)
        values, tokens = ops.top_k(values, min(self.options.top_k or vocabulary, vocabulary))
        weights = ops.exp((values - ops.maximum(values[:, :, :1], -1e30)) / self.options.temperature)
        if self.options.top_p < 1:
            sums = ops.cumsum(weights, axis=-1)
            # The first one that makes the sum large enough still counts.
            weights = ops.where(sums - weights < self.options.top_p * sums[:, :, -1:], weights, 0.0)
        # From the smallest up: added to a sum near 1, many small ones together would be rounded away.
        sums = ops.cumsum(ops.flip(weights, axis=-1), axis=-1)
        below = ops.sum(ops.cast(sums <= uniforms[:, :, None] * sums[:, :, -1:], "int32"), axis=-1)
        drawn = ops.maximum(weights.shape[-1] - 1 - below, 0)  # A uniform may be rounded to 1.
        parents = ops.broadcast_to(ops.arange(width, dtype="int32"), (rows, width))
        # Of each hypothesis' sorted tokens the drawn one: the same lookup as that of a token's probability.
        tokens = look_up(tokens, parents, drawn)
        token_log_probs = look_up(values, parents, drawn)
        ranks, places = ops.top_k(base + token_log_probs, width)
        return Continuations(
            ranks, *(gather(values, places) for values in (parents, tokens, token_log_probs))
        )
