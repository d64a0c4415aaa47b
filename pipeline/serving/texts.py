"""Texts to be answered, from tables or lines as ingest reads them, with the columns that are kept beside."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from components import files
from components.errors import UserError
from components.ingest.beginnings import check_beginning
from components.ingest.config import IngestConfig
from components.ingest.readers import read_records
from components.ingest.records import Record, to_kept, to_text
from components.ingest.sources import USUAL, Dialect, Source, find_sources
from components.strict import FIELDS, Task
from components.text import printable
from pipeline.serving.pairs import NO_LIMIT, one_kind
from pipeline.serving.undecodable import undecodable_source, with_encoding_advice
from pipeline.serving.wording import as_options, in_options

_LINES = (".txt", ".txt.gz")
_KEEP = "--keep "  # begins what a kept column is called among the fields, which have names of their own


@dataclass(frozen=True)
class Text:
    """A record to be answered.

    Args:
        place: the file and the line of it, for people.
        text: what the model reads.
        kept: by column, what stands beside the text, as JSON has it; without what cannot be read.
        problem: why the record cannot be answered; empty if it can.
        undecodable: its source, if the record is not in the encoding in which that is read.
    """

    place: str
    text: str
    kept: Mapping[str, Any] = field(default_factory=dict)
    problem: str = ""
    undecodable: Source | None = None


def read_texts(
    pattern: str,
    task: Task,
    column: str | int | None,
    keep: Sequence[str],
    size: int,
    dialect: Dialect = USUAL,
) -> Iterator[list[Text]]:
    """Reads texts in batches, in their order. That there are any files is checked at once.

    Args:
        pattern: a path, a glob or an address; the files of a glob are read by name. Of .txt every line is a
            text, other files are tables.
        task: decides what the column is called by default.
        column: of the texts: its name, or its position in files without a header line.
        keep: columns that are kept beside the text.
        size: records of a batch, at most.
        dialect: how the tables are written.

    Yields:
        The records, also the bad ones, without holding more than a batch.

    Raises:
        UserError: if a file is not there, cannot be read, or lacks a column.
    """
    name = FIELDS[task][0]
    columns = {name: name if column is None else column}
    columns |= {
        _KEEP + kept: int(kept) if isinstance(column, int) and kept.isdecimal() else kept for kept in keep
    }
    if isinstance(column, int) and (named := [kept for kept in keep if not kept.isdecimal()]):
        raise UserError(
            f"received --column {column}, a position, and --keep {named[0]}, a name; expected positions only "
            "for a file without a header line, or names only"
        )
    if pattern.lower().endswith(_LINES):
        if column is not None or keep:
            raise UserError(
                f"received --column or --keep for {pattern}, whose lines are the texts, expected neither. "
                "Leave them out, or name a table."
            )
        sources = _lines(pattern, name, dialect)
    else:
        with as_options({name: "--column"}, "--keep"):
            config = IngestConfig(
                files=pattern,
                columns={name: columns[name]},
                **dialect._asdict(),
            )
            sources = find_sources(config, task)
    return _batches(sources, columns, task, size)


def _lines(pattern: str, name: str, dialect: Dialect) -> list[Source]:
    places = files.find(pattern)
    if not places:
        raise UserError(f"no file matches {pattern!r}. Give the path or glob of at least one file.")
    return [
        Source(index, "train", "text", {name: place}, {name: printable(files.relative(place))}, dialect)
        for index, place in enumerate(places)
    ]


def _batches(
    sources: Sequence[Source], columns: Mapping[str, str | int], task: Task, size: int
) -> Iterator[list[Text]]:
    with as_options({FIELDS[task][0]: "--column"}, "--keep"):
        for source in sources:
            if source.format == "jsonl":  # other formats say themselves which columns they have
                check_beginning(source, one_kind(columns), task)
            records = read_records(source, one_kind(columns))
            texts = (_text(source, record, list(columns)) for record in records)
            with with_encoding_advice(source):
                while batch := list(itertools.islice(texts, size)):
                    yield batch


def _text(source: Source, record: Record, names: Sequence[str]) -> Text:
    kept = {
        name.removeprefix(_KEEP): _as_it_is(value)
        for name, value in zip(names, record.values or record.readable, strict=False)
        if name.startswith(_KEEP) and not (record.reason and value is None)
    }
    if record.reason:
        text, problem = "", in_options(record.reason, {names[0]: "--column"}, "--keep")
    else:
        text, problem = to_text(names[0], record.values[0], NO_LIMIT)
    place = f"{source.name()}:{record.line}"
    return Text(place, text, kept, problem, undecodable_source(source, record))


def _as_it_is(value: Any) -> Any:
    """What stands beside a text, not cleaned or cut: other tables are joined by it.

    Returns:
        What JSON has: strings, numbers, booleans, objects, lists and None. Parquet's other values as strings.
    """
    if isinstance(value, bytes):
        value = value.decode("utf-8", "backslashreplace")
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict | list):
        try:
            json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
        except ValueError:  # half a character or no number in it, which only Python's JSON has
            return json.dumps(value)
        return value
    return value if value is None or isinstance(value, int) else to_kept("", value, NO_LIMIT)[0]
