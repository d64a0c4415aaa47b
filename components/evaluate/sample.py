"""A sample of rows that is the same however the rows are sharded."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import apache_beam as beam
import numpy as np

Array = np.ndarray[Any, Any]


class Sample(beam.CombineFn):
    """Combines structured arrays to one, in the order of its field `number`.

    All rows are kept while they are at most `most`; of more, those whose numbers have the smallest hashes, a
    sample without replacement that does not depend on how rows come together.

    Args:
        most: how many bytes are kept, about; memory stays below four times that.
    """

    def __init__(self, most: int) -> None:
        self._most = most

    def create_accumulator(self) -> list[Array]:
        """No rows."""
        return []

    def add_input(self, accumulator: list[Array], rows: Array) -> list[Array]:
        """Adds an array."""
        accumulator.append(rows)
        return self._bounded(accumulator)

    def merge_accumulators(self, accumulators: Iterable[list[Array]]) -> list[Array]:
        """Adds arrays up."""
        merged: list[Array] = []
        for accumulator in accumulators:
            merged = self._bounded([*merged, *accumulator])
        return merged

    def extract_output(self, accumulator: list[Array]) -> Array | None:
        """Sorts them; None without any."""
        if not accumulator:
            return None
        rows = self._chosen(accumulator)
        return rows[np.argsort(rows["number"])]

    def _bounded(self, accumulator: list[Array]) -> list[Array]:
        size = sum(rows.nbytes for rows in accumulator)
        return accumulator if size <= 2 * self._most else [self._chosen(accumulator)]

    def _chosen(self, accumulator: list[Array]) -> Array:
        rows = np.concatenate(accumulator)
        kept = max(self._most // rows.itemsize, 1)
        if len(rows) <= kept:
            return rows
        return rows[np.argpartition(_hashes(rows["number"]), kept - 1)[:kept]]


def _hashes(numbers: Array) -> Array:
    """Different unsigned hashes of different numbers (the finalizer of SplitMix64)."""
    mixed = numbers.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
