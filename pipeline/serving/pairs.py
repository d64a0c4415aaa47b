"""Texts with their targets, from tables as ingest reads them, or from lines."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from components.errors import UserError
from components.ingest.beginnings import check_beginning
from components.ingest.config import IngestConfig
from components.ingest.readers import read_records
from components.ingest.records import EMPTY_LINE, Record, to_text
from components.ingest.sources import USUAL, Dialect, Source, find_sources
from components.ingest.tables import Columns
from components.strict import FIELDS, Task
from components.text import without_end
from pipeline.serving.predict import line_batches
from pipeline.serving.undecodable import undecodable_source, with_encoding_advice
from pipeline.serving.wording import as_options, in_options

STANDARD_INPUT = "-"

NO_LIMIT = sys.maxsize  # of characters: a model cuts texts as it did when it was trained


class Pair(NamedTuple):
    """A text and what is asked about it.

    Args:
        place: the file and the line of it, for people.
        text: what the model reads.
        target: the label or text that the answer is supposed to be.
        problem: why the record is no pair; empty if it is one.
        undecodable: its source, if the record is not in the encoding in which that is read.
    """

    place: str
    text: str
    target: str
    problem: str = ""
    undecodable: Source | None = None


def column_of(option: str | None) -> str | int | None:
    """Reads a column as the command line has it: a number is a position, from 0."""
    return int(option) if option is not None and option.isdecimal() else option


def read_tables(
    pattern: str,
    task: Task,
    text: str | int | None,
    target: str | int | None,
    size: int,
    dialect: Dialect = USUAL,
) -> Iterator[list[Pair]]:
    """Reads tables as a run does, in batches. That there are any is checked at once.

    Args:
        pattern: a path, a glob or an address; the files of a glob are read by name.
        task: decides what the columns are called by default.
        text: the column of the texts: its name, or its position in files without a header line.
        target: the column of the targets, likewise.
        size: records of a batch, at most.
        dialect: how the tables are written.

    Yields:
        The records, also the bad ones, without holding more than a batch.

    Raises:
        UserError: if a file is not there, cannot be read, or lacks a column.
    """
    fields = FIELDS[task]
    given = dict(zip(fields, (text, target), strict=True))
    columns = {field: field if column is None else column for field, column in given.items()}
    if len({type(column) for column in columns.values()}) > 1:
        raise UserError(
            f"received --text {columns[fields[0]]} and --target {columns[fields[1]]}, expected two names, or "
            "two positions for files without a header line. Give both."
        )
    with as_options(_options(fields)):
        config = IngestConfig(files=pattern, columns=columns, **dialect._asdict())
        sources = find_sources(config, task)
    return _batches(sources, columns, task, size)


def _batches(
    sources: Sequence[Source], columns: Mapping[str, str | int], task: Task, size: int
) -> Iterator[list[Pair]]:
    fields = FIELDS[task]
    with as_options(_options(fields)):
        for source in sources:
            if source.format == "jsonl":  # other formats say themselves which columns they have
                check_beginning(source, one_kind(columns), task)
            records = read_records(source, one_kind(columns))
            pairs = (
                _pair(source.name(), record, fields)._replace(undecodable=undecodable_source(source, record))
                for record in records
            )
            with with_encoding_advice(source):
                while batch := list(itertools.islice(pairs, size)):
                    yield batch


def read_lines(lines: Iterable[bytes], task: Task, size: int) -> Iterator[list[Pair]]:
    """Reads lines with a text, a tab and its target, as they come.

    Args:
        lines: UTF-8; a binary stream, whose lines are passed on without waiting for a full batch.
        task: decides what a target may be.
        size: lines of a batch, at most.

    Yields:
        The records, also the bad ones.
    """
    done = 0
    for batch in line_batches(lines, size):
        records = [_record(number, line) for number, line in enumerate(batch, done + 1)]
        yield [_pair("standard input", record, FIELDS[task]) for record in records]
        done += len(batch)


def _record(number: int, line: bytes) -> Record:
    cells = without_end(line).split(b"\t")
    if len(cells) == 2:
        return Record(number, line, tuple(cells))
    reason = EMPTY_LINE if cells == [b""] else f"{len(cells)} columns instead of 2"
    return Record(number, line, reason=reason)


def _pair(name: str, record: Record, fields: Sequence[str]) -> Pair:
    place = f"{name}:{record.line}"
    if record.reason:
        return Pair(place, "", "", in_options(record.reason, _options(fields)))
    checked = [to_text(field, value, NO_LIMIT) for field, value in zip(fields, record.values, strict=True)]
    (text, no_text), (target, no_target) = checked
    return Pair(place, text, target, no_text or no_target)


def one_kind(columns: Mapping[str, str | int]) -> Columns:
    """Returns by field the positions, if there are any, and else the names."""
    positions = {field: column for field, column in columns.items() if isinstance(column, int)}
    return positions or {field: str(column) for field, column in columns.items()}


def _options(fields: Sequence[str]) -> dict[str, str]:
    return dict(zip(fields, ("--text", "--target"), strict=True))
