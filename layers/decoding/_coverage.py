"""What a beam search does with the attention: it counts how much of the source was looked at."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import keras
from keras import ops

from layers.decoding._continuations import IMPOSSIBLE
from layers.decoding._hypotheses import Live

Tensor: TypeAlias = keras.KerasTensor

# Of a position that nothing has looked at; the logarithm of 0 would be infinite.
_LEAST_COVERAGE = 1e-7


class Look(NamedTuple):
    """A step's attention and what comes of it; what is not needed is `None`, or as it was."""

    attention: Tensor | None  # float32 (rows, width, source)
    coverage: Tensor  # as in `Live`, this step included
    scores: Tensor | None  # float32 (rows, width), what the coverage adds to scores


class Coverage:
    """Records attention and scores how much of the source it covers (Wu et al., 2016, section 7).

    Args:
        penalty: What the sum of the logarithms is multiplied by.
        source_mask: Boolean tensor of shape `(rows, source)`, `True` at the positions that are to be covered;
            `None` if no attention is needed.
        records: Whether the attention of each step is wanted, too.
    """

    def __init__(self, penalty: float, source_mask: Tensor | None, records: bool) -> None:
        self.penalty = penalty
        self.records = records
        self._mask = None if source_mask is None else ops.cast(source_mask, "bool")[:, None]

    @property
    def source(self) -> int | Tensor:
        """The number of the source's positions."""
        return ops.shape(self._mask)[2]

    def look(self, live: Live, attention: Tensor | None) -> Look:
        """Counts what the step has looked at.

        Args:
            live: The hypotheses before the step.
            attention: Of shape `(batch, beam_size, source)`, if the step returned it.
        """
        if not (self.penalty or self.records):
            return Look(None, live.coverage, None)
        if attention is None:
            raise ValueError(
                f"Received log_probs and states from step with coverage_penalty={self.penalty} and "
                f"return_attention={self.records}; expected also the attention, of shape "
                "(batch, beam_size, source). Return it as the third."
            )
        attention = ops.reshape(ops.cast(attention, "float32"), (*ops.shape(live.log_probs), self.source))
        if not self.penalty:
            return Look(attention, live.coverage, None)
        # Impossible hypotheses may bring anything, which must not spread.
        possible = (live.log_probs > IMPOSSIBLE)[:, :, None]
        coverage = ops.where(possible, live.coverage + attention, 0.0)
        return Look(attention, coverage, self.scores(coverage))

    def scores(self, coverage: Tensor) -> Tensor:
        """Returns what coverage, of shape `(rows, n, source)`, adds to scores, of shape `(rows, n)`."""
        logs = ops.log(ops.clip(coverage, _LEAST_COVERAGE, 1.0))
        return self.penalty * ops.sum(ops.where(self._mask, logs, 0.0), axis=-1)
