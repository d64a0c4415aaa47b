"""What is in the columns, looked at without knowing what they are for."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from components.ingest.readers import read_records
from components.ingest.records import to_text
from components.ingest.rows import Rows
from components.ingest.sources import Source
from components.ingest.times import DATES, to_time
from pipeline.init.sniff import Layout

Key = str | int

_NUMBER = re.compile(r"[+-]?(\d+([.,]\d+)*|[.,]\d+)([eE][+-]?\d+)?")
_ID = re.compile(r"(?=\S*\d)[\w:./#-]+")
_DIGITS = re.compile(r"\d+")
_HEXADECIMAL = re.compile(r"[0-9a-fA-F-]{32,36}")
_FEW_SHAPES = 20
_MOST_VALUES = 50_000  # that are told apart; what comes later is only counted
_EXAMPLE = 200
_LONGEST = 1_000_000


@dataclass
class Column:
    """What is in a column.

    Attributes:
        key: as `ingest.columns` names it.
        alike: columns that have this name; ingest takes one by its name only where it is 1.
        rows: looked at.
        filled: of them, those with a value.
        values: the first 50,000 different ones, as labels are spelled, and how often they occur.
        more: values that were no longer told apart.
        characters: of all values.
        words: of all values, by white space.
        numbers: values that are numbers.
        fractions: of them, those that are no whole numbers.
        ids: values that look like an identifier: one word with digits in it.
        shapes: of these without their digits, up to 21.
        unfit: values that are neither text nor a whole number, true or false, by the name of their type.
        no_labels: texts that cannot be labels, as they have line ends or control characters in them.
        no_label: what speaks against the first of them.
        example: the first value, cut.
    """

    key: Key
    alike: int = 1
    rows: int = 0
    filled: int = 0
    values: Counter[str] = field(default_factory=Counter)
    more: int = 0
    characters: int = 0
    words: int = 0
    numbers: int = 0
    fractions: int = 0
    ids: int = 0
    shapes: set[str] = field(default_factory=set)
    unfit: Counter[str] = field(default_factory=Counter)
    no_labels: int = 0
    no_label: str = ""
    example: str = ""

    def add(self, value: Any) -> None:
        """Looks at one value, as ingest's readers give it."""
        self.rows += 1
        if value is None or value in ("", b""):
            return
        if isinstance(value, float):
            self.numbers += 1
            self.fractions += 1
        text, problem = to_text("label", value, _LONGEST)
        if problem.startswith(("label of several lines", "label with")):  # which a text may be
            text = value.decode() if isinstance(value, bytes) else value
            self.no_labels += 1
            self.no_label = self.no_label or problem
        elif problem:
            if not problem.startswith("empty"):
                self.unfit[type(value).__name__] += 1
                self.example = self.example or str(value)[:_EXAMPLE]
            return
        self.filled += 1
        self.example = self.example or text[:_EXAMPLE]
        if text in self.values or len(self.values) < _MOST_VALUES:
            self.values[text] += 1
        else:
            self.more += 1
        self.characters += len(text)
        self.words += text.count(" ") + 1
        if _NUMBER.fullmatch(text):
            self.numbers += 1
            self.fractions += not text.lstrip("+-").isdecimal()
        elif _HEXADECIMAL.fullmatch(text):
            self.ids += 1
        elif _ID.fullmatch(text) and not _is_date(text):
            self.ids += 1
            if len(self.shapes) <= _FEW_SHAPES:
                self.shapes.add(_DIGITS.sub("0", text))

    @property
    def distinct(self) -> int:
        """Different values, of those told apart; at most 50,000."""
        return len(self.values)

    @property
    def is_distinct(self) -> bool:
        """Whether nearly every value occurs once."""
        told_apart = self.filled - self.more
        return self.distinct > 0.9 * told_apart and self.filled > 2

    @property
    def is_number(self) -> bool:
        """Whether nearly all values are numbers."""
        return self.numbers > 0.95 * max(1, self.filled + self.unfit["float"])

    @property
    def is_id(self) -> bool:
        """Whether it is a key of its rows: nearly all values are different numbers or identifiers."""
        are_alike = len(self.shapes) <= _FEW_SHAPES
        return self.is_distinct and are_alike and self.numbers + self.ids > 0.95 * self.filled

    @property
    def mean_length(self) -> float:
        """Characters of a value."""
        return self.characters / max(1, self.filled)

    @property
    def name(self) -> str:
        """What people call it."""
        return self.key if isinstance(self.key, str) else f"column {self.key}"


def _is_date(text: str) -> bool:
    time = to_time(text)
    return time is not None and time[0] == DATES


def read_columns(sources: Iterable[Source], layout: Layout) -> list[Column]:
    """Reads every column of files.

    Args:
        sources: the files, or excerpts of them.
        layout: how they are read.
    """
    columns: dict[Key, Column] = {}
    for source in sources:
        for keys, values in _rows(source, layout):
            for key, value in zip(keys, values, strict=True):
                if key not in columns:
                    columns[key] = Column(key, keys.count(key))
                columns[key].add(value)
    return list(columns.values())


def _rows(source: Source, layout: Layout) -> Iterator[tuple[Sequence[Key], Sequence[Any]]]:
    """The cells of all columns, with the columns' keys, of every row that can be read."""
    if layout.format in ("jsonl", "parquet"):
        names = tuple(dict.fromkeys(layout.columns or ()))
        for record in read_records(source, {name: name for name in names}):
            if not record.reason:
                yield names, record.values
        return
    rows = iter(Rows(source))
    if layout.columns:
        header = next(rows, None)
        keys: Sequence[Key] = list(header.cells) if header else []
    else:
        keys = ()
    for row in rows:
        keys = keys or range(len(row.cells))
        if not row.reason and len(row.cells) == len(keys):
            yield keys, row.cells
