"""Writes and counts what one source holds: examples, what is kept beside them, and rejected records."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import BinaryIO, NamedTuple

from components.artifacts.artifact import FileRef
from components.artifacts.columns import GROUP_ROWS
from components.artifacts.examples import ExampleWriter, kept_name, part_name
from components.ingest.sources import Source
from components.strict import Split
from components.work import Attempt

PART_BYTES = 64 << 20  # of the source, after which its parts end, however many workers there are
_HELD_BYTES = 8 << 20  # of the source, held in memory for one part


class Unreadable(NamedTuple):
    """Values of a column other than the fields that say nothing.

    Args:
        values: how many.
        line: where the first one is.
        reason: why it cannot be read.
    """

    values: int
    line: int
    reason: str


class Times(NamedTuple):
    """The first and the last of some times of one kind: what they are ordered by, and their lines.

    Args:
        first: the earliest one.
        last: the latest one.
        examples: how many there are.
    """

    first: tuple[int, int]
    last: tuple[int, int]
    examples: int


@dataclass
class Part:
    """Examples of one split from one source, and what is in them.

    Args:
        split: whose examples they are.
        source: index of the source.
        name: what people call the file that they come from.
        number: which part of this source and split it is.
        lengths: by field, how many texts have how many characters.
        labels: how many examples have which label.
        unreadable: by kept column, what was left empty.
        examples: how many there are.
        head: the label of the first record of the source, if it is here and the table is read by positions.
        times: by kind, those of the examples, where there is a column of times to split by.
        unlocated: values of the column to split by that say nothing, in a file that has its split.
        files: the examples and, if columns are kept, those beside them; numbered within the source.
    """

    split: Split
    source: int
    name: str
    number: int
    lengths: dict[str, Counter[int]]
    labels: Counter[str] = field(default_factory=Counter)
    unreadable: dict[str, Unreadable] = field(default_factory=dict)
    examples: int = 0
    head: str = ""
    times: dict[int, Times] = field(default_factory=dict)
    unlocated: Unreadable | None = None
    files: tuple[FileRef, ...] = ()

    def leave_empty(self, column: str, line: int, reason: str) -> None:
        """Counts a value of a kept column that cannot be read as text."""
        before = self.unreadable.get(column, Unreadable(0, line, reason))
        self.unreadable[column] = before._replace(values=before.values + 1)

    def note_time(self, kind: int, key: int, line: int) -> None:
        """Adds the time of an example."""
        here = (key, line)
        before = self.times.get(kind, Times(here, here, 0))
        first, last = min(before.first, here), max(before.last, here, key=lambda time: time[0])
        self.times[kind] = Times(first, last, before.examples + 1)

    def note_unlocated(self, line: int, reason: str) -> None:
        """Counts an example of which the column to split by says nothing."""
        before = self.unlocated or Unreadable(0, line, reason)
        self.unlocated = before._replace(values=before.values + 1)


@dataclass
class Rejections:
    """The rejected records of one file, and why.

    Args:
        name: what people call the file that they come from.
        source: index of the source.
        reasons: how many were rejected for which reason.
        first: by reason, the first line it was met on.
        file: the lines of rejected.jsonl about them; None while they are written.
    """

    name: str
    source: int
    reasons: Counter[str] = field(default_factory=Counter)
    first: dict[str, int] = field(default_factory=dict)
    file: FileRef | None = None


class PartWriter:
    """Writes the parts of one source. A `with` block closes the files; `finish` makes parts of them.

    Args:
        attempt: whose files they are.
        source: what is read.
        fields: the fields of an example.
        keep: the names of the columns to keep beside them.
    """

    def __init__(self, attempt: Attempt, source: Source, fields: Sequence[str], keep: Sequence[str]) -> None:
        self._attempt = attempt
        self._source = source
        self._fields = tuple(fields)
        self._keep = tuple(keep)
        self._read = 0
        self._numbers: Counter[Split] = Counter()
        self._open: dict[Split, _OpenPart] = {}
        self._parts: list[Part] = []
        self._files = ExitStack()
        self._rejections: dict[str, tuple[Rejections, BinaryIO]] = {}

    def __enter__(self) -> PartWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._files.close()

    def advance(self, size: int) -> None:
        """Counts what was read of the source, and ends the parts where it is time.

        Args:
            size: of one more record, in bytes.
        """
        if self._read >= PART_BYTES:
            self._end_parts()
            self._read = 0
        self._read += size

    def write(self, split: Split, texts: Sequence[str], kept: Sequence[str], size: int) -> Part:
        """Adds an example; returns the part where it went.

        Args:
            split: where it belongs.
            texts: by the order of the fields.
            kept: by the order of the kept columns.
            size: of the record, in bytes.
        """
        part = self._open.get(split) or self._begin(split)
        part.add(texts, kept, size)
        return part.part

    def reject(self, name: str, line: int, reason: str, text: str) -> None:
        """Adds a rejected record; the arguments are what rejected.jsonl says about it."""
        if name not in self._rejections:
            path = self._attempt.path(_rejected_name(len(self._rejections)))
            self._rejections[name] = (
                Rejections(name, self._source.index),
                self._files.enter_context(path.open("wb")),
            )
        rejections, file = self._rejections[name]
        record = {"file": name, "line": line, "reason": reason, "text": text}
        file.write(json.dumps(record, ensure_ascii=False).encode() + b"\n")
        rejections.reasons[reason] += 1
        rejections.first.setdefault(reason, line)

    def finish(self) -> list[Part | Rejections]:
        """Ends everything, and returns it."""
        self._end_parts()
        self._files.close()
        rejected = [rejections for rejections, _ in self._rejections.values()]
        for index, rejections in enumerate(rejected):
            rejections.file = self._attempt.add(_rejected_name(index))
        return [*self._parts, *rejected]

    def _begin(self, split: Split) -> _OpenPart:
        lengths = {name: Counter[int]() for name in self._fields}
        part = Part(split, self._source.index, self._source.name(), self._numbers[split], lengths)
        name = part_name(split, part.number)
        writers = [ExampleWriter(self._attempt, name, self._fields)]
        if self._keep:
            writers.append(ExampleWriter(self._attempt, kept_name(name), self._keep))
        self._numbers[split] += 1
        self._open[split] = _OpenPart(part, self._fields, writers)
        return self._open[split]

    def _end_parts(self) -> None:
        self._parts += [part.end() for part in self._open.values()]
        self._open.clear()


class _OpenPart:
    """A part that is written."""

    def __init__(self, part: Part, fields: Sequence[str], writers: list[ExampleWriter]) -> None:
        self.part = part
        self._fields = fields
        self._writers = writers
        self._rows: list[tuple[Sequence[str], Sequence[str]]] = []
        self._held = 0

    def add(self, texts: Sequence[str], kept: Sequence[str], size: int) -> None:
        self._rows.append((texts, kept))
        self._held += size
        if len(self._rows) >= GROUP_ROWS or self._held >= _HELD_BYTES:
            self._write()

    def end(self) -> Part:
        self._write()
        self.part.files = tuple(writer.close() for writer in self._writers)
        return self.part

    def _write(self) -> None:
        if not self._rows:
            return
        texts, kept = zip(*self._rows, strict=True)
        for writer, rows in zip(self._writers, (texts, kept), strict=False):  # perhaps nothing is kept
            writer.write(list(zip(*rows, strict=True)))
        for name, column in zip(self._fields, zip(*texts, strict=True), strict=True):
            self.part.lengths[name].update(map(len, column))
            if name == "label":
                self.part.labels.update(column)
        self.part.examples += len(self._rows)
        self._rows.clear()
        self._held = 0


def _rejected_name(index: int) -> str:
    return f"rejected/{index:05d}.jsonl"
