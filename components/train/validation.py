"""What is measured of a model on the validation split while it is trained."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import keras

from components.train.dataset import TokenData
from components.train.losses import CrossEntropy


class Validation:
    """Loss and accuracy under teacher forcing, and the monitored metric if it is another.

    Args:
        model: compiled.
        loss: its loss, which is measured as plain cross-entropy.
        data: the validation split.
        boundaries: of the length buckets.
        metric: its name; see TrainConfig.monitored.
        measure: measures it; None for the loss.
    """

    def __init__(
        self,
        model: keras.Model,
        loss: CrossEntropy,
        data: TokenData,
        boundaries: list[int],
        metric: str,
        measure: Callable[[], float] | None,
    ) -> None:
        self._model = model
        self._loss = loss
        self._metric = metric
        self._measure = measure
        self._batches = data.batches(boundaries) if len(data.lengths()) else None

    def __call__(self) -> dict[str, float]:
        """Returns {"val_loss", "val_accuracy", ...}; nothing without a validation split.

        The running means of the epoch in progress are as before.
        """
        if self._batches is None:
            return {}
        with running_means_kept(self._model), self._loss.plain():
            values = self._model.evaluate(self._batches, verbose=0, return_dict=True)
        measured = {f"val_{name}": float(value) for name, value in values.items()}
        if self._measure is not None:
            measured[f"val_{self._metric}"] = self._measure()
        return measured


@contextmanager
def running_means_kept(model: keras.Model) -> Iterator[None]:
    """Has a model's metrics go on afterwards as if they had not been used in the meantime."""
    values = [variable.numpy() for variable in model.metrics_variables]
    try:
        yield
    finally:
        for variable, value in zip(model.metrics_variables, values, strict=True):
            variable.assign(value)
