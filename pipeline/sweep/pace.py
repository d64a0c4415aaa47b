"""How long a training takes, by what is known of earlier ones."""

from __future__ import annotations

from statistics import median

from components.artifacts.trained_model import TrainedModel
from components.errors import UserError
from pipeline.plan.ingredients import Ingredients
from pipeline.store.store import Store

_COMPARED = 20  # of the most recent trainings


class Pace:
    """Estimates the seconds of an epoch by the training that is most like it.

    Args:
        store: where earlier trainings are.
    """

    def __init__(self, store: Store) -> None:
        self._known: list[tuple[Ingredients, float]] = []
        for artifact in store.recent(TrainedModel)[:_COMPARED]:
            ingredients = Ingredients.of(artifact.manifest.ingredients)
            seconds = _seconds(artifact) if isinstance(artifact, TrainedModel) else None
            if ingredients is not None and seconds is not None:
                self._known.append((ingredients, seconds))

    def seconds(self, ingredients: Ingredients) -> float | None:
        """Returns the seconds of an epoch; None if no training of the same task is known.

        Args:
            ingredients: of the training.
        """
        task = ingredients.settings.get("task")
        alike = [known for known in self._known if known[0].settings.get("task") == task]
        return max(alike, key=lambda known: ingredients.likeness(known[0]))[1] if alike else None


def _seconds(artifact: TrainedModel) -> float | None:
    """Of an epoch in the middle; the first one is slow."""
    try:
        return median(float(epoch["seconds"]) for epoch in artifact.history()["epochs"])
    except (UserError, OSError, ValueError, KeyError, TypeError):
        return None
