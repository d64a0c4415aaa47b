"""How far a training is, for people."""

from __future__ import annotations

import time
from collections.abc import Mapping

from components.reports import Progress, emit

_SECONDS = 0.2  # between two reports


class TrainingProgress:
    """Tells how far the training is, at most five times a second.

    Args:
        steps: of an epoch.
        epochs: at most.
    """

    def __init__(self, steps: int, epochs: int) -> None:
        self._steps = steps
        self._epochs = epochs
        self._told = 0.0

    def step(self, epoch: int, done: int, loss: float) -> None:
        """A training step is over.

        Args:
            epoch: from 1.
            done: steps of it.
            loss: the mean in the epoch so far.
        """
        now = time.monotonic()
        if now - self._told >= _SECONDS:
            self._told = now
            self._tell(epoch, done, f"loss {loss:.4f}")

    def validated(self, epoch: int, done: int, measured: Mapping[str, float]) -> None:
        """A validation within an epoch is over, and its checkpoint is kept."""
        figures = ", ".join(f"{name} {value:.4f}" for name, value in measured.items())
        self._tell(epoch, done, f"validated at step {(epoch - 1) * self._steps + done}: {figures}")

    def _tell(self, epoch: int, done: int, what: str) -> None:
        total = self._epochs * self._steps
        message = f"epoch {epoch}/{self._epochs}, {what}"
        emit(Progress("train", (epoch - 1) * self._steps + done, total, message))
