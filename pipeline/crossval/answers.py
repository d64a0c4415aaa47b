"""The out-of-fold answers of all records, in the order of the files, as a table."""

from __future__ import annotations

import heapq
import itertools
import json
import os
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.artifacts.evaluation import Evaluation
from components.artifacts.examples import Examples
from components.csv_rows import CsvWriter
from components.errors import UserError
from components.ingest.config import PLACE
from components.ingest.sources import Source
from components.strict import FIELDS, Task
from pipeline.crossval.results import Fold

if TYPE_CHECKING:
    import pyarrow

_BATCH = 4096  # rows of a group in Parquet
_KINDS = {"line": "int64", "score": "float64", "probability": "float64", "correct": "bool_", "fold": "int64"}

Row = dict[str, Any]


def check_output(path: Path, sources: Sequence[Source]) -> None:
    """Checks where answers are to be written, before anything is computed for them.

    Args:
        path: as it was given.
        sources: the user's files.

    Raises:
        UserError: if nothing can be written there.
    """
    if path.suffix not in _WRITERS:
        raise UserError(
            f"--output received {path}, expected a file on this machine that ends in {', '.join(_WRITERS)}"
        )
    if not path.parent.is_dir():
        raise UserError(f"--output received {path}, but there is no directory {path.parent}; make it first")
    if path.is_dir():
        raise UserError(f"--output received {path}, which is a directory; expected a file")
    places = {str(place) for source in sources for place in source.files.values()}
    if str(path.absolute()) in places or str(path.resolve()) in places:
        raise UserError(
            f"--output received {path}, which is one of the files that are read; name another one"
        )


def write_answers(
    path: Path, folds: Sequence[Fold], sources: Sequence[Source], task: Task, keep: Sequence[str]
) -> int:
    """Writes what `answer_rows` yields, in the format that the name's end says; a file there is replaced.

    Args:
        path: where to, as `check_output` has it.
        folds: that were measured.
        sources: the user's files.
        task: of the pipeline.
        keep: the columns of `ingest.keep`.

    Returns:
        How many rows were written.
    """
    columns = columns_of(task, keep)
    if any(_has_probability(fold) for fold in folds):
        columns.append("probability")
    counted = _Counted(answer_rows(folds, sources, task, keep))
    new = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        _WRITERS[path.suffix](new, columns, counted)
        os.replace(new, path)
    finally:
        new.unlink(missing_ok=True)
    return counted.count


def _has_probability(fold: Fold) -> bool:
    """Whether its model has two labels; a rare third one may be in the train split of other folds only."""
    return fold.evaluation is not None and "probability" in next(fold.evaluation.predictions(), {})


def columns_of(task: Task, keep: Sequence[str]) -> list[str]:
    """Returns the columns of a row; a column of `ingest.keep` whose name is taken is called `kept_...`.

    Args:
        task: of the pipeline.
        keep: the columns of `ingest.keep`.
    """
    own = ["id", *FIELDS[task], "answer", "correct", "score", "fold"]
    return [*own, *(_kept_name(name, own) for name in keep)]


def answer_rows(
    folds: Sequence[Fold], sources: Sequence[Source], task: Task, keep: Sequence[str]
) -> Iterator[Row]:
    """Yields every record that was tested, once, in the order of the files.

    A row has the record's file and line as `id`, its text and label (or source and target), the answer of the
    model that was not trained on it, whether that is correct, its score (and of two labels the probability of
    the positive one), the fold, and what `ingest.keep` keeps.

    Args:
        folds: that were measured.
        sources: the user's files.
        task: of the pipeline.
        keep: the columns of `ingest.keep`.
    """
    names = {source.index: source.name() for source in sources}
    tested = [
        _of_fold(fold.number, fold.examples, fold.evaluation, task, keep)
        for fold in folds
        if fold.examples is not None and fold.evaluation is not None
    ]
    for (source, line), row in heapq.merge(*tested, key=lambda placed: placed[0]):
        yield {"id": f"{names[source]}:{line}", **row}


def _of_fold(
    number: int, examples: Examples, evaluation: Evaluation, task: Task, keep: Sequence[str]
) -> Iterator[tuple[tuple[int, int], Row]]:
    """The tested records of one fold and their places, in the order of the files."""
    read, expected = FIELDS[task]
    names = {name: _kept_name(name, columns_of(task, ())) for name in keep}
    records = (
        dict(zip(batch, values, strict=True))
        for part in examples.parts_of("test")
        for batch in examples.batches(part, [read, expected, *keep, PLACE])
        for values in zip(*batch.values(), strict=True)
    )
    for record, answer in zip(records, evaluation.predictions(), strict=True):
        source, _, line = record[PLACE].partition(":")
        row = {
            read: record[read],
            expected: record[expected],
            "answer": answer["prediction"],
            "correct": answer["correct"],
            "score": answer["score"],
            "fold": number,
            **{name: record[kept] for kept, name in names.items()},
        }
        if "probability" in answer:
            row["probability"] = answer["probability"]
        yield (int(source), int(line)), row


def _kept_name(name: str, own: Sequence[str]) -> str:
    return f"kept_{name}" if name in (*own, "probability") else name


class _Counted:
    """Rows, and how many of them were taken."""

    def __init__(self, rows: Iterator[Row]) -> None:
        self._rows = rows
        self.count = 0

    def __iter__(self) -> _Counted:
        return self

    def __next__(self) -> Row:
        row = next(self._rows)
        self.count += 1
        return row


def _write_csv(path: Path, columns: Sequence[str], rows: Iterable[Row]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = CsvWriter(file)
        writer.write(columns)
        for row in rows:
            cells = {**row, "correct": str(row["correct"]).lower()}
            writer.write(cells.get(name, "") for name in columns)


def _write_jsonl(path: Path, columns: Sequence[str], rows: Iterable[Row]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for row in rows:
            file.write(json.dumps({name: row.get(name) for name in columns}, ensure_ascii=False) + "\n")


def _write_parquet(path: Path, columns: Sequence[str], rows: Iterable[Row]) -> None:
    import pyarrow
    from pyarrow import parquet

    schema = pyarrow.schema([(name, _type_of(name)) for name in columns])
    rows = iter(rows)
    with parquet.ParquetWriter(path, schema) as writer:
        while batch := list(itertools.islice(rows, _BATCH)):
            writer.write_table(pyarrow.Table.from_pylist(batch, schema))


def _type_of(name: str) -> pyarrow.DataType:
    import pyarrow

    return getattr(pyarrow, _KINDS.get(name, "string"))()


_WRITERS: Mapping[str, Any] = {".csv": _write_csv, ".jsonl": _write_jsonl, ".parquet": _write_parquet}
