"""Reads a source record by record, whatever is in it, in memory that does not grow with the file."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator

from components.ingest.lines import read_lines
from components.ingest.records import EMPTY_LINE, Record, undecodable
from components.ingest.sources import Source
from components.ingest.tables import Columns, Table
from components.strict import FIELDS
from components.text import without_end

_REQUIRED = {field for fields in FIELDS.values() for field in fields}  # other columns are only kept


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
        from components.ingest.parquet_rows import read_parquet  # which loads pyarrow

        yield from read_parquet(source, {field: str(column) for field, column in columns.items()})
    else:
        yield from Table(source, columns)


def _objects(source: Source, columns: Columns) -> Iterator[Record]:
    """The records of a file with a JSON object on each line."""
    for number, raw in enumerate(read_lines(source), 1):
        value, reason = _json(raw, source.dialect.encoding)
        if not isinstance(value, dict):
            reason = reason or f"JSON of type {type(value).__name__}, not an object"
            value = {}
        missing = [column for field, column in columns.items() if column not in value and field in _REQUIRED]
        if missing:
            reason = reason or f"no key {missing[0]!r}"
        values = tuple(value.get(column) for column in columns.values())
        yield Record(number, raw, reason=reason, readable=values) if reason else Record(number, raw, values)


def _json(raw: bytes, encoding: str) -> tuple[object, str]:
    """Returns what a line says, as far as it can be read, and why it cannot."""
    reason = ""
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        text, reason = raw.decode(errors="replace"), undecodable(raw, encoding)
    try:
        return json.loads(text), reason
    except json.JSONDecodeError as error:
        return None, reason or (f"invalid JSON: {error.msg}" if raw.strip() else EMPTY_LINE)
    except (ValueError, RecursionError):  # a number of thousands of digits, brackets without end
        return None, reason or "invalid JSON: number or nesting too large"


def _aligned(source: Source) -> Iterator[Record]:
    """The records of files of which each holds one field, a line a record."""
    lines = itertools.zip_longest(*(read_lines(source, of) for of in source.files))
    for number, parts in enumerate(lines, 1):
        yield _record(number, dict(zip(source.files, parts, strict=True)), source.dialect.encoding)


def _record(number: int, lines: dict[str, bytes | None], encoding: str) -> Record:
    there = {field: without_end(line) for field, line in lines.items() if line is not None}
    raw = b"\t".join(there.values())
    for field in lines:
        if field not in there:
            return Record(number, raw, reason=f"no line of {field} goes with it", field=next(iter(there)))
    texts = []
    for field, line in there.items():
        try:
            texts.append(line.decode())
        except UnicodeDecodeError:
            return Record(number, raw, reason=undecodable(line, encoding), field=field)
    return Record(number, raw, tuple(texts))
