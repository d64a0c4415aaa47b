"""What the strategies have in common."""

from __future__ import annotations

from typing import TypeAlias

import keras

from layers.decoding._continuations import IMPOSSIBLE, Allowed, Continuations
from layers.decoding.search_options import SearchOptions

Tensor: TypeAlias = keras.KerasTensor


class Strategy:
    """Chooses how hypotheses go on, and says which of them compete.

    The hypotheses of a row compete for its places. Here a source has one row; where it has several, a
    subclass translates between sources and rows.

    Args:
        options: What is looked for.

    Attributes:
        groups: How many rows a source has.
        width: How many unfinished hypotheses a row has.
    """

    def __init__(self, options: SearchOptions) -> None:
        self.options = options
        self.groups = options.num_beam_groups
        self.width = options.beam_size // self.groups

    def first_log_probs(self) -> list[float]:
        """Returns the log probabilities of a row's hypotheses before the first step."""
        # One possible hypothesis: were all of them, every one would continue to the same sequences.
        return [0.0] + [IMPOSSIBLE] * (self.width - 1)

    def expand(
        self, log_probs: Tensor, base: Tensor, allowed: Allowed, time: Tensor, seeds: Tensor | None
    ) -> Continuations:
        """Returns the continuations that compete for a row's places, at least `width` of them.

        Args:
            log_probs: Those of the next tokens, of any float type and of shape `(rows, width, vocabulary)`.
            base: Float32 of shape `(rows, width)`, what each hypothesis adds to the rank of its
                continuations.
            allowed: Which tokens may come next.
            time: How many tokens the hypotheses have, a scalar.
            seeds: int32 of shape `(batch,)`, given if tokens are drawn.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say how hypotheses go on.")

    def to_rows(self, values: Tensor) -> Tensor:
        """Gives every row what belongs to its source: of `(batch, ...)` it makes `(rows, ...)`."""
        return values

    def to_sources(self, values: Tensor) -> Tensor:
        """Joins the hypotheses of a source's rows: of `(rows, n, ...)` it makes `(batch, n', ...)`."""
        return values

    def to_beams(self, parents: Tensor) -> Tensor:
        """Turns places in a row, int32 `(rows, width)`, to places in the beam, `(batch, beam_size)`."""
        return parents

    def settle(self, settled: Tensor) -> Tensor:
        """Returns which rows may stop, given which of them would by themselves, bool `(rows, 1)`."""
        return settled
