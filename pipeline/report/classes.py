"""What the card says of the labels: how often they are there, and how well they are answered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ClassRow:
    """A label.

    Args:
        label: itself.
        train: its examples in the train split; None where they are not known.
        share: of the train split.
        examples: that were evaluated.
        figures: `precision`, `recall` and `f1`; none of a label that is neither expected nor answered.
    """

    label: str
    train: int | None
    share: float
    examples: int
    figures: Mapping[str, float]


def class_rows(report: Mapping[str, Any] | None, statistics: Mapping[str, Any] | None) -> list[ClassRow]:
    """Returns the labels, the most frequent of the train split first; none of a task without labels.

    Args:
        report: of the evaluation; None if there is none.
        statistics: of the examples; None if there are none.
    """
    measured = (report or {}).get("classes", {})
    train: dict[str, int] = (statistics or {}).get("splits", {}).get("train", {}).get("labels", {})
    total = sum(train.values())
    labels = sorted({*measured, *train}, key=lambda label: (-train.get(label, 0), label))
    rows = []
    for label in labels:
        figures = measured.get(label, {})
        rows.append(
            ClassRow(
                label,
                train.get(label, 0) if train else None,
                train.get(label, 0) / total if total else 0.0,
                figures.get("support", 0),
                {name: figures[name] for name in ("precision", "recall", "f1") if name in figures},
            )
        )
    return rows


def balance(rows: list[ClassRow]) -> str:
    """Says in a sentence how unequal the labels are in the train split; empty where that is not known.

    Args:
        rows: as `class_rows` returns them.
    """
    known = [row for row in rows if row.train]
    if len(known) < 2:
        return ""
    most, fewest = known[0], known[-1]
    times = (most.train or 0) / (fewest.train or 1)
    return (
        f"{len(known):,} labels in train; the most frequent is {times:,.1f} times as frequent as the rarest."
    )
