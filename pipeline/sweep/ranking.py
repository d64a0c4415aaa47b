"""Which trials are better, which ones train on, and which one is picked: pure functions of their scores."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from components.train.monitor import monitored_value, smaller_is_better


@dataclass(frozen=True)
class Score:
    """What came of a trial in a rung.

    Args:
        value: what trials are ranked by, of the weights that the trial has kept; None if it failed.
        error: why it failed, for people.
    """

    value: float | None
    error: str = ""

    @classmethod
    def of(cls, summary: Mapping[str, Any], monitor: str) -> Score:
        """Reads the summary of a train artifact.

        Args:
            summary: of the artifact.
            monitor: what trials are ranked by.
        """
        value = float(monitored_value(monitor, summary))
        return cls(value) if math.isfinite(value) else cls(None, f"{monitor} is {value}")


@dataclass(frozen=True)
class Ranked:
    """A setting in the ranking.

    Args:
        group: the id of its first trial.
        mean: of the scores of its trials; None if all failed.
        scores: by trial.
    """

    group: str
    mean: float | None
    scores: Mapping[str, Score]

    @property
    def complete(self) -> bool:
        """Whether none of its trials failed."""
        return all(score.value is not None for score in self.scores.values())


def rank(scores: Mapping[str, Score], groups: Mapping[str, str], monitor: str) -> list[Ranked]:
    """Ranks settings by the mean of their trials' scores, the best one first.

    Settings of which a trial failed come behind all others; of equally good ones the earlier one comes first.

    Args:
        scores: by trial, in the order of the trials.
        groups: by trial, the id of the first trial with the same settings.
        monitor: what the scores are.
    """
    by_group: dict[str, dict[str, Score]] = {}
    for trial, score in scores.items():
        by_group.setdefault(groups[trial], {})[trial] = score
    ranked = [Ranked(group, _mean(own), own) for group, own in by_group.items()]
    sign = 1 if smaller_is_better(monitor) else -1
    return sorted(
        ranked, key=lambda each: (not each.complete, math.inf if each.mean is None else sign * each.mean)
    )


def going_on(ranked: Sequence[Ranked], reduction_factor: int) -> list[str]:
    """Returns the groups that train on: one in `reduction_factor`, at least one, of those that can.

    Args:
        ranked: all that were compared.
        reduction_factor: of the halving.
    """
    count = max(len(ranked) // reduction_factor, 1)
    return [each.group for each in ranked[:count] if each.complete] or [
        each.group for each in ranked[:1] if each.mean is not None
    ]


def picked(ranked: Sequence[Ranked], monitor: str) -> str:
    """Returns the trial that is evaluated and served, the best one of the best setting.

    Args:
        ranked: all that trained to the end.
        monitor: what the scores are.

    Returns:
        Empty if all failed.
    """
    if not ranked or ranked[0].mean is None:
        return ""
    scores = {trial: score.value for trial, score in ranked[0].scores.items() if score.value is not None}
    best = min if smaller_is_better(monitor) else max
    return best(scores, key=scores.__getitem__)


def _mean(scores: Mapping[str, Score]) -> float | None:
    values = [score.value for score in scores.values() if score.value is not None]
    return math.fsum(values) / len(values) if values else None
