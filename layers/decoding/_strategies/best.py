"""Beam search."""

from __future__ import annotations

from typing import TypeAlias

import keras

from layers.decoding._continuations import Allowed, Continuations, best_continuations
from layers.decoding._strategies.strategy import Strategy

Tensor: TypeAlias = keras.KerasTensor


class BestStrategy(Strategy):
    """Goes on with the best continuations of all hypotheses together (Wu et al., 2016)."""

    def expand(
        self, log_probs: Tensor, base: Tensor, allowed: Allowed, time: Tensor, seeds: Tensor | None
    ) -> Continuations:
        """Returns the `2 * width` best: as many as can end, and as many that do not."""
        return best_continuations(log_probs, base, 2 * self.width, allowed)
