"""Rows of CSV that every reader takes apart as they were."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from typing import Any, TextIO


class CsvWriter:
    """Writes rows; cells that hold a delimiter, a quote or a line end, of whatever kind, are quoted.

    Python's own leaves a carriage return unquoted until version 3.13, at which other readers end the row.

    Args:
        file: opened with `newline=""`.
    """

    def __init__(self, file: TextIO) -> None:
        self._usual = csv.writer(file, lineterminator="\n")
        self._quoting = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)

    def write(self, cells: Iterable[Any]) -> None:
        """Writes one row."""
        row = list(cells)
        returns = any(isinstance(cell, str) and "\r" in cell for cell in row)
        (self._quoting if returns else self._usual).writerow(row)
