"""What MLflow gets of an artifact."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class DatasetFacts:
    """A split of the data.

    Args:
        context: what it is for, in MLflow's words.
        digest: of its content.
        source: where the examples are.
        examples: how many there are.
    """

    context: str
    digest: str
    source: str
    examples: int


@dataclass
class StageLog:
    """What there is to log.

    Args:
        metrics: by name, the task's first metric first; MLflow groups charts by what stands before a slash.
        intervals: bounds of the metrics, by name.
        tags: by name.
        params: settings that the stage has chosen, by name.
        epochs: of the training, as in its history.
        files: by the path in MLflow, the logical name in the artifact.
        datasets: the splits that were read.
    """

    metrics: dict[str, float] = field(default_factory=dict)
    intervals: dict[str, float] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    params: dict[str, Any] = field(default_factory=dict)
    epochs: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    datasets: list[DatasetFacts] = field(default_factory=list)


def epochs_seconds(epochs: Sequence[Mapping[str, Any]]) -> float:
    """Returns what epochs took together, also those before an interruption, which a node's time leaves out.

    Args:
        epochs: as in the history of a training.
    """
    return sum(epoch.get("seconds", 0.0) for epoch in epochs)
