"""Cuts the lines of a table into rows of cells, with and without quotes."""

from __future__ import annotations

import csv
import itertools
import re
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from components.ingest.lines import read_lines
from components.ingest.records import EMPTY_LINE, undecodable
from components.ingest.sources import Source
from components.text import without_end

_DELIMITERS = {"tsv": "\t", "csv": ","}
_RECORD_LIMIT = 4 << 20  # characters after which a quoted cell counts as never closed
SEPARATOR = re.compile(rb'"?sep=([^"])"?')
"""What Excel writes before the header, to name the delimiter."""


class Row(NamedTuple):
    """A row of a table.

    Args:
        line: where it starts, from 1.
        raw: its bytes, in UTF-8.
        cells: what is in it, with U+FFFD for what is not in the encoding.
        reason: why it cannot be read; empty if it can.
    """

    line: int
    raw: bytes
    cells: list[str]
    reason: str


class Rows:
    """The rows of a table, to be read once.

    Args:
        source: the table.

    Attributes:
        delimiter: the character between cells.
        quoting: whether cells may stand in quotes.
    """

    def __init__(self, source: Source) -> None:
        dialect = source.dialect
        self.delimiter = dialect.delimiter or _DELIMITERS[source.format]
        self.quoting = source.format == "csv" if dialect.quoting is None else dialect.quoting
        self._encoding = dialect.encoding
        lines = read_lines(source)
        first = next(lines, b"")
        separator = SEPARATOR.fullmatch(without_end(first))
        if separator and dialect.delimiter is None:
            self.delimiter = separator[1].decode(errors="replace")
        start = 2 if separator else 1
        lines = itertools.chain([first] if first and not separator else [], lines)
        self._rows = self._quoted(lines, start) if self.quoting else self._unquoted(lines, start)

    def __iter__(self) -> Iterator[Row]:
        return self._rows

    def _unquoted(self, lines: Iterator[bytes], start: int) -> Iterator[Row]:
        """In which a quote is a character as any other."""
        for number, line in enumerate(lines, start):
            text = without_end(line)
            reason = "" if text else EMPTY_LINE
            try:
                cells = text.decode().split(self.delimiter)
            except UnicodeDecodeError:
                cells = text.decode(errors="replace").split(self.delimiter)
                reason = undecodable(line, self._encoding)
            yield Row(number, line, cells, reason)

    def _quoted(self, lines: Iterator[bytes], start: int) -> Iterator[Row]:
        """As in CSV (RFC 4180): a quoted cell may hold delimiters and line ends."""
        csv.field_size_limit(_RECORD_LIMIT)
        feed = _Feed(lines)
        reader = csv.reader(feed, strict=True, delimiter=self.delimiter)
        number = start
        while True:
            cells: list[str] = []
            reason = ""
            try:
                cells = next(reader)
                reason = "" if cells else EMPTY_LINE
            except StopIteration:
                return
            except csv.Error as error:
                # An opening quote without its end swallows good lines: only the line that has it is lost.
                feed.return_all_but_first()
                reader = csv.reader(feed, strict=True, delimiter=self.delimiter)
                reason = f"broken CSV: {error}"
            raw = b"".join(feed.taken)
            try:
                raw.decode()
            except UnicodeDecodeError:
                reason = undecodable(raw, self._encoding)
            yield Row(number, raw, cells, reason)
            number += len(feed.taken)
            feed.taken.clear()


class _Feed:
    """Hands a CSV reader its lines, and knows which of them the present record has taken."""

    def __init__(self, lines: Iterator[bytes]) -> None:
        self._lines = lines
        self._returned: deque[bytes] = deque()
        self.taken: list[bytes] = []

    def __iter__(self) -> _Feed:
        return self

    def __next__(self) -> str:
        line = self._returned.popleft() if self._returned else next(self._lines)
        self.taken.append(line)
        return line.decode(errors="replace")

    def return_all_but_first(self) -> None:
        self._returned.extendleft(reversed(self.taken[1:]))
        del self.taken[1:]
