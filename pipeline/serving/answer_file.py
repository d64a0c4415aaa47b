"""A file of answers: CSV, JSON lines or Parquet, there as a whole or not at all."""

from __future__ import annotations

import json
import os
import tempfile
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from components import files
from components.csv_rows import CsvWriter
from components.errors import UserError

_ASIDE = ".rnnpipe-"  # begins the name of a file until it is whole
_GROUP = 10_000  # rows of Parquet that are written together
_STALE = 86_400.0  # seconds after which nobody writes a file any more

Rows = Sequence[Mapping[str, Any]]


class AnswerFile(ABC):
    """Takes rows in their order."""

    @abstractmethod
    def write(self, rows: Rows) -> None:
        """Adds rows; what a row lacks is empty."""

    @abstractmethod
    def close(self) -> None:
        """Ends the file."""


class _Lines(AnswerFile):
    def __init__(self, path: Path, texts: Sequence[str], answer: Sequence[str]) -> None:
        self._columns = (*texts, *answer)
        self._file: TextIO = path.open("w", encoding="utf-8", newline="")

    def close(self) -> None:
        self._file.close()


class _Json(_Lines):
    """A JSON object a line, without the columns that it has no value for."""

    def write(self, rows: Rows) -> None:
        for row in rows:
            there = {name: row[name] for name in self._columns if name in row}
            self._file.write(json.dumps(there, ensure_ascii=False) + "\n")


class _Csv(_Lines):
    """With a header line; what is neither string nor number is written as JSON."""

    def __init__(self, path: Path, texts: Sequence[str], answer: Sequence[str]) -> None:
        super().__init__(path, texts, answer)
        self._writer = CsvWriter(self._file)
        self._writer.write(self._columns)

    def write(self, rows: Rows) -> None:
        for row in rows:
            self._writer.write(_cell(row.get(name)) for name in self._columns)


class _Parquet(AnswerFile):
    """Columns of strings, numbers and lists of them; what is missing is null.

    What is kept of a record is a string, whatever it was: the files that are read need not agree on its type.
    """

    def __init__(self, path: Path, texts: Sequence[str], answer: Sequence[str]) -> None:
        import pyarrow
        from pyarrow import parquet

        text, number = pyarrow.string(), pyarrow.float64()
        kinds = {
            "score": number,
            "scores": pyarrow.list_(number),
            "classes": pyarrow.list_(text),
            "predictions": pyarrow.list_(text),
            "finished": pyarrow.list_(pyarrow.bool_()),
            "source_tokens": pyarrow.list_(text),
            "target_tokens": pyarrow.list_(text),
            "attention": pyarrow.list_(pyarrow.list_(number)),
        }
        fields = [(name, text) for name in texts] + [(name, kinds.get(name, text)) for name in answer]
        self._texts = texts
        self._schema = pyarrow.schema(fields)
        self._table = pyarrow.Table
        self._writer = parquet.ParquetWriter(path, self._schema)
        self._rows: list[Mapping[str, Any]] = []

    def write(self, rows: Rows) -> None:
        self._rows += [{**row, **{name: _string(row.get(name)) for name in self._texts}} for row in rows]
        if len(self._rows) >= _GROUP:
            self._flush()

    def close(self) -> None:
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        if self._rows:
            self._writer.write_table(self._table.from_pylist(self._rows, self._schema))
            self._rows = []


_KINDS: dict[str, Callable[[Path, Sequence[str], Sequence[str]], AnswerFile]] = {
    ".csv": _Csv,
    ".jsonl": _Json,
    ".parquet": _Parquet,
}


def check_output(output: str) -> None:
    """Checks where answers are to be written, before there are any.

    Raises:
        UserError: the name stands for no kind of file, for a directory, or for what would lie in a file.
    """
    if Path(output).suffix.lower() not in _KINDS:
        raise UserError(
            f"received --output {output}, expected a name that ends in {', '.join(_KINDS)}, which says how "
            "it is written"
        )
    place = files.resolve(output)
    if not files.is_local(place):
        return
    if files.local(place).is_dir():
        raise UserError(f"received --output {output}, which is a directory; expected a file")
    for parent in files.local(place).parents:
        if parent.exists() and not parent.is_dir():
            raise UserError(
                f"received --output {output}, but {parent} is a file; expected a file in a directory. Give "
                "another one."
            )


@contextmanager
def answer_file(output: str, texts: Sequence[str], answer: Sequence[str]) -> Iterator[AnswerFile]:
    """Opens a file to be written, which takes its place at the end of the block, if that does not fail.

    Args:
        output: a path or an address, whose end says how it is written; what is there is replaced.
        texts: names of the columns of strings.
        answer: names of the columns that a signature gives.

    Raises:
        UserError: the file cannot be written there.
    """
    check_output(output)
    place = files.resolve(output)
    folder = files.local(place).parent if files.is_local(place) else Path(tempfile.gettempdir())
    aside = folder / f"{_ASIDE}{uuid.uuid4().hex}{place.suffix}"
    try:
        with _worded(output):
            folder.mkdir(parents=True, exist_ok=True)
            _remove_stale(folder)
            file = _KINDS[place.suffix.lower()](aside, texts, answer)
        try:
            yield file
        finally:
            file.close()
        if files.is_local(place):
            with _worded(output):
                os.replace(aside, files.local(place))
        else:
            files.upload(aside, place)
    finally:
        with suppress(OSError):
            aside.unlink(missing_ok=True)


@contextmanager
def _worded(output: str) -> Iterator[None]:
    """Says of the system's errors which option they are about."""
    try:
        yield
    except OSError as error:
        file = f"{error.filename}: " if error.filename else ""
        raise UserError(
            f"received --output {output}, which cannot be written ({file}{error.strerror or error}); "
            "expected a file in a directory that is there or can be made. Give another one."
        ) from error


def _remove_stale(folder: Path) -> None:
    """Removes what commands that were killed have left."""
    for left in folder.glob(f"{_ASIDE}*"):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > _STALE:
                left.unlink()


def _cell(value: Any) -> float | str:
    return value if isinstance(value, float) else _string(value) or ""


def _string(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)
