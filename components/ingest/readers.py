"""Reads a source record by record, whatever is in it, in memory that does not grow with the file."""

from __future__ import annotations

import csv
import itertools
import json
from collections import deque
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

import pyarrow
from pyarrow import parquet

from components.errors import UserError
from components.ingest.files import find_columns, open_file
from components.ingest.records import CUT, EMPTY_LINE, Record, undecodable
from components.ingest.sources import Source
from components.strict import FIELDS
from components.text import first_line, without_end

Columns = dict[str, str] | dict[str, int]

_REQUIRED = {field for fields in FIELDS.values() for field in fields}  # other columns are only kept
_LINE_LIMIT = 16 << 20  # bytes
_RECORD_LIMIT = 4 << 20  # characters after which a quoted CSV field counts as never closed
_ROWS = 1024  # Parquet rows in memory


def read_records(source: Source, columns: Columns) -> Iterator[Record]:
    """Reads every record of a source in order.

    Args:
        source: what to read.
        columns: by field, the name or the position of its column.

    Yields:
        The records, also those that cannot be read, with the reason. Empty lines at the end are no records.

    Raises:
        UserError: if the file cannot be read at all, or lacks a column.
    """
    if source.format == "text":
        yield from _aligned(source)
    elif source.format == "jsonl":
        yield from _objects(source, columns)
    elif source.format == "parquet":
        yield from _parquet(source, columns)
    elif source.format == "csv":
        yield from _table(source, columns, _quoted(source))
    else:
        yield from _table(source, columns, _unquoted(source))


def _lines(source: Source, of: str = "") -> Iterator[bytes]:
    """The lines with their ends, without a byte order mark and without empty lines at the end."""
    with open_file(source.place(of), source.name(of)) as file:
        empty: list[bytes] = []
        for number, line in enumerate(_limited(file)):
            if not number:
                line = first_line(line)
            if not without_end(line):
                empty.append(line)
                continue
            if empty:
                yield from empty
                empty.clear()
            yield line


def _limited(file: BinaryIO) -> Iterator[bytes]:
    """The lines; of one that would not fit in memory only the start, marked as cut."""
    while line := file.readline(_LINE_LIMIT):
        if len(line) < _LINE_LIMIT or line.endswith(b"\n"):
            yield line
        else:
            yield line + CUT
            while len(line) == _LINE_LIMIT and not line.endswith(b"\n"):
                line = file.readline(_LINE_LIMIT)


class _Row(NamedTuple):
    line: int
    raw: bytes
    cells: list[str]
    reason: str


def _unquoted(source: Source) -> Iterator[_Row]:
    """The rows of a TSV file, in which a quote is a character as any other."""
    for number, line in enumerate(_lines(source), 1):
        text = without_end(line)
        cells: list[str] = []
        reason = "" if text else EMPTY_LINE
        try:
            cells = text.decode().split("\t")
        except UnicodeDecodeError:
            reason = undecodable(line)
        yield _Row(number, line, cells, reason)


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


def _quoted(source: Source) -> Iterator[_Row]:
    """The rows of a CSV file (RFC 4180): a quoted cell may hold commas and line ends."""
    csv.field_size_limit(_RECORD_LIMIT)
    feed = _Feed(_lines(source))
    reader = csv.reader(feed, strict=True)
    number = 1
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
            reader = csv.reader(feed, strict=True)
            reason = f"broken CSV: {error}"
        raw = b"".join(feed.taken)
        try:
            raw.decode()
        except UnicodeDecodeError:
            reason = undecodable(raw)
        yield _Row(number, raw, cells, reason)
        number += len(feed.taken)
        feed.taken.clear()


def _table(source: Source, columns: Columns, rows: Iterator[_Row]) -> Iterator[Record]:
    positions, width = _header(source, columns, rows)
    for line, raw, cells, reason in rows:
        if not reason and not width:  # without a header the first good row says how many columns there are
            width = max(len(cells), max(positions) + 1)
        if reason:
            yield Record(line, raw, reason=reason)
        elif len(cells) != width:
            yield Record(line, raw, reason=f"{len(cells)} columns instead of {width}")
        else:
            yield Record(line, raw, tuple([cells[position] for position in positions]))


def _header(source: Source, columns: Columns, rows: Iterator[_Row]) -> tuple[list[int], int]:
    """Returns where the columns stand, and how many there are (0: as many as in the first row)."""
    positions = [column for column in columns.values() if isinstance(column, int)]
    if positions:
        return positions, 0
    header = next(rows, None)
    if header is None or header.reason:
        received = header.reason if header else "nothing"
        raise UserError(
            f"ingest: {source.name()}: received {received} in the first line, expected the names of the "
            f"columns, in UTF-8. Add such a line, or give positions, as in "
            f"`ingest.columns: {{{next(iter(columns))}: 0, ...}}`."
        )
    names = {field: str(column) for field, column in columns.items()}
    return find_columns(source.name(), header.cells, names), len(header.cells)


def _objects(source: Source, columns: Columns) -> Iterator[Record]:
    """The records of a file with a JSON object on each line."""
    for number, raw in enumerate(_lines(source), 1):
        try:
            value = json.loads(raw.decode())
        except UnicodeDecodeError:
            yield Record(number, raw, reason=undecodable(raw))
        except json.JSONDecodeError as error:
            yield Record(number, raw, reason=f"invalid JSON: {error.msg}" if raw.strip() else EMPTY_LINE)
        except (ValueError, RecursionError):  # a number of thousands of digits, brackets without end
            yield Record(number, raw, reason="invalid JSON: number or nesting too large")
        else:
            yield _object(number, raw, value, columns)


def _object(number: int, raw: bytes, value: object, columns: Columns) -> Record:
    if not isinstance(value, dict):
        return Record(number, raw, reason=f"JSON of type {type(value).__name__}, not an object")
    missing = [column for field, column in columns.items() if column not in value and field in _REQUIRED]
    if missing:
        return Record(number, raw, reason=f"no key {missing[0]!r}")
    return Record(number, raw, tuple(value.get(column) for column in columns.values()))


def _parquet(source: Source, columns: Columns) -> Iterator[Record]:
    """The rows of a Parquet file."""
    names = {field: str(column) for field, column in columns.items()}
    with open_file(source.place(), source.name()) as file:
        table = parquet.ParquetFile(file)
        find_columns(source.name(), table.schema_arrow.names, names)
        done = 0
        for batch in table.iter_batches(_ROWS, columns=list(dict.fromkeys(names.values()))):
            values = [_column(batch.column(name)) for name in names.values()]
            for row, cells in enumerate(zip(*values, strict=True), done + 1):
                yield Record(row, cells, cells)
            done += batch.num_rows


def _column(column: pyarrow.Array) -> list[object]:
    if pyarrow.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pyarrow.types.is_string(column.type) or pyarrow.types.is_large_string(column.type):
        column = column.cast(pyarrow.large_binary())  # so that bytes that are no UTF-8 spoil one row, not all
    return column.to_pylist()


def _aligned(source: Source) -> Iterator[Record]:
    """The records of files of which each holds one field, a line a record."""
    lines = itertools.zip_longest(*(_lines(source, of) for of in source.files))
    for number, parts in enumerate(lines, 1):
        reason, field = "", ""
        for name, part in zip(source.files, parts, strict=True):
            if part is None:
                reason = f"no line of {name} goes with it"
                field = next(
                    other for other, line in zip(source.files, parts, strict=True) if line is not None
                )
        raw = b"\t".join(without_end(part) for part in parts if part is not None)
        values = () if reason else tuple(without_end(part) for part in parts)
        yield Record(number, raw, values, reason, field)
