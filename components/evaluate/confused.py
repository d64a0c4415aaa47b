"""Which labels are taken for which others, with examples of each confusion."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from typing import Any

import apache_beam as beam
from apache_beam.transforms.combiners import Top

from components.evaluate.worst import badness

CELLS = 20  # of the confusion matrix, beside its diagonal
_EXAMPLES = 5  # of a cell
CHARACTERS = 500  # of a text

Cell = tuple[str, str]  # expected, predicted
Counted = tuple[int, list[dict[str, Any]]]


class Confused(beam.PTransform):
    """Wrong answers, as `graded` yields them, to one list of the most frequent confusions.

    A confusion has `expected`, `predicted`, `examples` (how many) and `answers`: the five that the model was
    surest of, with `example`, `input` (at most 500 characters) and `score`.
    """

    def expand(self, wrong: beam.PCollection) -> beam.PCollection:
        """A PCollection of wrong answers to one list."""
        return (
            wrong
            | "key" >> beam.Map(lambda row: (_cell(row), row))
            | "examples" >> beam.CombinePerKey(_Examples())
            | "largest" >> Top.Of(CELLS, key=_size)
            | "name" >> beam.Map(lambda cells: [_confusion(*each) for each in cells])
        )


class _Examples(beam.CombineFn):
    """Counts the answers of a cell, and keeps a few."""

    def create_accumulator(self) -> Counted:
        return 0, []

    def add_input(self, counted: Counted, row: dict[str, Any]) -> Counted:
        count, rows = counted
        return count + 1, _surest([*rows, {**row, "input": shortened(row["input"])}])

    def merge_accumulators(self, accumulators: Iterable[Counted]) -> Counted:
        total = 0
        merged: list[dict[str, Any]] = []
        for count, rows in accumulators:
            total, merged = total + count, _surest([*merged, *rows])
        return total, merged

    def extract_output(self, counted: Counted) -> Counted:
        return counted


def shortened(text: str) -> str:
    """A text of at most 500 characters."""
    return text if len(text) <= CHARACTERS else f"{text[: CHARACTERS - 1]}…"


def _surest(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return heapq.nlargest(_EXAMPLES, rows, key=badness)


def _cell(row: dict[str, Any]) -> Cell:
    return row["target"], row["prediction"]


def _size(item: tuple[Cell, Counted]) -> tuple[int, Cell]:
    cell, (count, _) = item
    return count, cell


def _confusion(cell: Cell, counted: Counted) -> dict[str, Any]:
    count, rows = counted
    answers = [{name: row[name] for name in ("example", "input", "score")} for row in rows]
    return {"expected": cell[0], "predicted": cell[1], "examples": count, "answers": answers}
