"""Coverage against accuracy: what is gained by leaving the least sure answers out.

A selective classifier (El-Yaniv and Wiener, 2010, "On the foundations of noise-free selective
classification"; Geifman and El-Yaniv, 2017, "Selective classification for deep neural networks") answers only
where its score is at least a threshold. Its coverage is the fraction of examples it answers; its risk, their
error rate.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

COVERAGES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1)
_POINTS = 200  # of the curve as it is drawn


@dataclass(frozen=True)
class Selection:
    """The examples whose score is at least a threshold.

    Args:
        threshold: on the score.
        answered: how many examples have such a score.
        correct: how many of these are right.
        examples: all there are.
    """

    threshold: float
    answered: int
    correct: int
    examples: int

    @classmethod
    def noted(cls, report: Mapping[str, Any], target: float | None) -> Selection | None:
        """Reads what a model's run has chosen on its validation split from its report.

        Args:
            report: on the run's own examples.
            target: the accuracy that a threshold is wanted for; None: for none.

        Returns:
            None where it was chosen for another accuracy, or not on a validation split, or none reaches it.
        """
        noted = report.get("confidence", {}).get("threshold") or {}
        chosen = noted.get("chosen")
        if chosen is None or not noted["on_validation"] or noted["target_accuracy"] != target:
            return None
        correct = round(chosen["accuracy"] * chosen["answered"])
        return cls(chosen["threshold"], chosen["answered"], correct, noted["chosen_examples"])

    @property
    def coverage(self) -> float:
        """The fraction that is answered."""
        return self.answered / self.examples

    @property
    def accuracy(self) -> float | None:
        """The fraction of the answered ones that is right; None without any."""
        return self.correct / self.answered if self.answered else None

    def interval(self) -> list[float] | None:
        """Returns the 95 % interval of the accuracy (Wilson, 1927); None without any answer."""
        from scipy.stats import binomtest

        if not self.answered:
            return None
        ends = binomtest(self.correct, self.answered).proportion_ci(method="wilson")
        return [float(ends.low), float(ends.high)]

    def as_json(self) -> dict[str, Any]:
        """As the report has it."""
        return {
            "threshold": self.threshold,
            "coverage": self.coverage,
            "answered": self.answered,
            "accuracy": self.accuracy,
            "interval": self.interval(),
        }


class CoverageCurve:
    """How many examples are answered, and how many of them rightly, at each threshold.

    Examples of equal scores are answered together: no threshold tells them apart.

    Args:
        scores: of the answers [n], n > 0; one that is not a number is below every threshold.
        correct: whether each is right [n].
    """

    def __init__(self, scores: Array, correct: Array) -> None:
        known = np.isfinite(scores)
        values, counts = np.unique(-scores[known].astype(np.float64), return_inverse=True)
        self.thresholds: Array = -values
        """The scores that occur, from the greatest to the least [k]."""
        self.answered: Array = np.cumsum(np.bincount(counts, minlength=len(values)))
        """How many examples have at least that score [k]."""
        right = np.bincount(counts, weights=np.asarray(correct, np.float64)[known], minlength=len(values))
        self.correct: Array = np.cumsum(right).astype(np.int64)
        """How many of those are right [k]."""
        self.examples = len(scores)

    def at(self, threshold: float) -> Selection:
        """Returns what a threshold selects."""
        place = int(np.searchsorted(-self.thresholds, -threshold, side="right")) - 1
        answered, correct = (self.answered[place], self.correct[place]) if place >= 0 else (0, 0)
        return Selection(threshold, int(answered), int(correct), self.examples)

    def covering(self, coverage: float) -> Selection | None:
        """Returns what the greatest threshold selects that covers so large a fraction; None if none does."""
        place = int(np.searchsorted(self.answered, np.ceil(coverage * self.examples - 1e-9)))
        return self._selection(place) if place < len(self.thresholds) else None

    def reaching(self, accuracy: float) -> Selection | None:
        """Returns the largest selection that is so accurate; None if none is."""
        enough = np.flatnonzero(self.correct >= accuracy * self.answered - 1e-9)
        return self._selection(int(enough[-1])) if enough.size else None

    def aurc(self) -> float | None:
        """Returns the area under the risk-coverage curve; None without any score.

        It is the mean, over the examples as the last one that is answered, of the risk: the less, the better
        the scores rank.
        """
        if not len(self.answered):
            return None
        here = np.diff(self.answered, prepend=0)
        return float(((1 - self.correct / self.answered) * here).sum() / self.answered[-1])

    def points(self) -> list[list[float]]:
        """Returns [coverage, accuracy] at up to 200 thresholds, from the least coverage to the largest."""
        places = np.unique(np.linspace(0, len(self.thresholds) - 1, _POINTS).astype(int))
        if not len(self.thresholds):
            return []
        return [
            [float(self.answered[i] / self.examples), float(self.correct[i] / self.answered[i])]
            for i in places
        ]

    def rows(self) -> list[dict[str, Any]]:
        """Returns the selections that cover all examples, 90 %, 80 %, ..., as JSON; once where they agree."""
        found = {chosen.threshold: chosen for chosen in filter(None, map(self.covering, COVERAGES))}
        return [chosen.as_json() for chosen in found.values()]

    def _selection(self, place: int) -> Selection:
        """What a threshold of few digits between this score and the next smaller one selects."""
        below = float(self.thresholds[place + 1]) if place + 1 < len(self.thresholds) else -1.0
        least = _short(float(self.thresholds[place]), below)
        return Selection(least, int(self.answered[place]), int(self.correct[place]), self.examples)


def _short(threshold: float, below: float) -> float:
    """The shortest decimal above `below`, and not above the threshold."""
    for digits in range(2, 12):
        rounded = float(np.floor(threshold * 10**digits) / 10**digits)
        if below < rounded <= threshold:
            return rounded
    return threshold
