"""Looks into files: encoding, layout and columns, in excerpts where they are large."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from upath import UPath

from components.errors import UserError
from components.ingest.advice import shorten
from components.ingest.encodings import encoding_problem
from components.ingest.readers import read_records
from components.ingest.rows import Rows
from components.ingest.sources import Source, named_format
from components.strict import Split
from components.text import without_end
from pipeline.init.columns import Column, Key, read_columns
from pipeline.init.encoding import Encoding, find_encoding
from pipeline.init.excerpt import Excerpt, excerpt, excerpt_of_lines, first_bytes, is_wide
from pipeline.init.inputs import Given
from pipeline.init.sniff import Layout, describe, find_layout
from pipeline.init.unread import no_records, one_column

_ROWS = 2_000  # that are looked at to see how a table is written
MOST_FILES = 8
"""Files of a split that are looked into, evenly spaced; the others are only known to be there."""


@dataclass(frozen=True)
class Looked:
    """What was seen.

    Args:
        layout: of all files.
        columns: of the files of train.
        excerpts: by file, what was looked at of it.
        names: by file, the names or positions of its columns.
        shares: by split, which part of its files was looked into.
        notes: what was decided about the files.
    """

    layout: Layout
    columns: list[Column]
    excerpts: dict[UPath, Excerpt]
    names: dict[UPath, Sequence[Key]] = field(default_factory=dict)
    shares: dict[Split, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def look(
    splits: dict[Split, list[Given]],
    encoding: str | None,
    folder: Path,
    named: Collection[str] = (),
    delimiter: str | None = None,
) -> Looked:
    """Looks into files.

    Args:
        splits: the files.
        encoding: of them, if it is known.
        folder: for excerpts.
        named: columns that are asked for by name.
        delimiter: between the cells, if it is known.

    Raises:
        UserError: one cannot be read, has no records or only one column, or they are not all alike.
    """
    chosen = {split: _some(files) for split, files in splits.items()}
    shares = {split: len(chosen[split]) / len(files) for split, files in splits.items()}
    every = [file for files in chosen.values() for file in files]
    name, notes = _encoding(every, encoding)
    # A file beside those that are called train may be something else, such as an empty answer sheet.
    first = next((file for file in chosen["train"] if file.split), chosen["train"][0])
    excerpts = {first.place: excerpt(first.place, first.name, name, folder)}
    layout = find_layout(excerpts[first.place].place, first.name, name, named, delimiter)
    looked = Looked(layout, [], excerpts, shares=shares, notes=notes)
    if _has_lines_in_cells(layout, excerpts[first.place], first.name):
        excerpts[first.place] = _beginning(first, layout, folder)
        if excerpts[first.place].share < 1:
            notes.append(f"cells hold line ends, so only the beginning of {first.name} was looked at")
    if layout.format == "text":
        return looked
    for file in every:
        if file.place not in excerpts:
            taken = excerpt(file.place, file.name, name, folder)
            in_cells = _has_lines_in_cells(layout, taken, file.name)
            excerpts[file.place] = _beginning(file, layout, folder) if in_cells else taken
        looked.names[file.place] = _names(file, layout, excerpts[file.place], first)
    of_train = [layout.source(excerpts[file.place].place, file.name) for file in chosen["train"]]
    looked.columns.extend(read_columns(of_train, layout))
    if not looked.columns:
        raise no_records(of_train[0], layout)
    if len(looked.columns) == 1:
        raise one_column(looked.columns[0], layout, first)
    return looked


def look_at_lines(splits: dict[Split, list[Given]], looked: Looked, folder: Path) -> Looked:
    """Looks into files of plain text, of which every split has two whose lines belong together.

    Args:
        splits: the files; put into the order of those of train.
        looked: as `look` returns it.
        folder: for excerpts.

    Raises:
        UserError: they are not two, or not equally long.
    """
    stems = [file.stem for file in splits["train"]]
    for split, files in splits.items():
        if tables := [file.name for file in files if named_format(file.name)]:
            raise UserError(
                f"init: {tables[0]} is a table by its name, but the first file plain text; expected a table, "
                f"or two text files whose lines belong together."
            )
        if len(files) != 2:
            names = ", ".join(file.name for file in files)
            alone = "a table with one column" if len(files) == 1 else f"{len(files)} files of plain text"
            raise UserError(
                f"init: received {alone} for {split} ({names}), expected a table with two columns or "
                f"more, or two files whose lines belong together, such as source.txt and target.txt. If it "
                f"is a table, name the character between its cells with --delimiter."
            )
        if {file.stem for file in files} == set(stems):  # otherwise the order given is all there is
            files.sort(key=lambda file: stems.index(file.stem))
    excerpts: dict[UPath, Excerpt] = {}
    columns: list[Column] = []
    for split, files in splits.items():
        taken = excerpt_of_lines([(file.place, file.name) for file in files], folder)
        excerpts |= {file.place: one for file, one in zip(files, taken, strict=True)}
        seen = [Column(file.name) for file in files]
        source = Source(
            0,
            split,
            "text",
            {file.name: one.place for file, one in zip(files, taken, strict=True)},
            {file.name: file.name for file in files},
            looked.layout.dialect,
        )
        for record in read_records(source, {}):
            if record.reason.startswith("no line of"):
                lines = [_lines(source, file.name) for file in files]
                raise UserError(
                    f"init: {files[0].name} has {lines[0]:,} lines and {files[1].name} {lines[1]:,}, "
                    f"expected equally many: line by line they belong together. Correct the files."
                )
            for column, value in zip(seen, record.values, strict=False):
                column.add(value)
        columns = columns or seen
    return replace(looked, columns=columns, excerpts=excerpts)


def _lines(source: Source, of: str) -> int:
    alone = replace(source, files={of: source.files[of]}, names={of: of})
    return sum(1 for _ in read_records(alone, {}))


def _some(files: list[Given]) -> list[Given]:
    if len(files) <= MOST_FILES:
        return files
    return [files[index * len(files) // MOST_FILES] for index in range(MOST_FILES)]


def _encoding(files: Sequence[Given], given: str | None) -> tuple[str, list[str]]:
    """The encoding of all files; and what is to be said about it."""
    if given is not None and (problem := encoding_problem(given)):
        raise UserError(f"init: --encoding {problem}")
    found: dict[str, tuple[Given, Encoding]] = {}
    for file in files:
        sample = first_bytes(file.place, file.name)
        if not sample.strip():
            raise UserError(
                f"init: {file.name} is empty, expected a table or text. Check where it comes from."
            )
        if sample.startswith(b"PAR1"):
            continue
        one = find_encoding(file.name, sample) if given is None else Encoding(given)
        if not one.ascii:
            found.setdefault(one.name, (file, one))
    if len(found) > 1:
        (name, (file, _)), (other_name, (other, _)), *_ = found.items()
        raise UserError(
            f"init: {file.name} is in {name} and {other.name} in {other_name}, expected one encoding for all "
            f"files. Convert one of them: iconv -f {other_name} -t {name} OLD > NEW; or, if that is wrong, "
            f"say which it is: --encoding NAME"
        )
    if not found:
        return "utf-8", []
    ((name, (file, one)),) = found.items()
    if not one.others:
        return name, []
    return name, [
        f"the encoding {name} is a guess: {' and '.join(one.others)} would fit as well; if letters look "
        f"wrong, say --encoding NAME"
    ]


def _has_lines_in_cells(layout: Layout, taken: Excerpt, name: str) -> bool:
    """Whether cells of a table that is only looked at in part have line ends in them."""
    if taken.share == 1 or layout.format not in ("csv", "tsv") or is_wide(layout.encoding):
        return False
    rows = itertools.islice(Rows(layout.source(taken.place, name)), _ROWS)
    return any(b"\n" in without_end(row.raw) for row in rows)


def _beginning(file: Given, layout: Layout, folder: Path) -> Excerpt:
    """The whole records at the beginning of a file: a piece from elsewhere may begin within a cell."""
    taken = excerpt(file.place, file.name, layout.encoding, folder, pieces=False)
    if taken.share < 1:
        rows = Rows(layout.source(taken.place, file.name))
        line = next((row.line for row in rows if "unexpected end of data" in row.reason), 0)
        with Path(str(taken.place)).open("rb+") as copy:
            for _ in range(line - 1):
                copy.readline()
            if line:
                copy.truncate(copy.tell())
    return taken


def _first_cells(layout: Layout, place: UPath, name: str) -> list[str]:
    return next((row.cells for row in Rows(layout.source(place, name))), [])


def _names(file: Given, layout: Layout, taken: Excerpt, first: Given) -> Sequence[Key]:
    """The names or positions of a file's columns.

    Raises:
        UserError: it has another layout than the first one, or lines above its header line.
    """
    named = named_format(file.name) or layout.format
    if named != layout.format:
        raise UserError(
            f"init: {file.name} is {named}, but {first.name} {layout.format}, expected files of one "
            f"format. Describe them one by one."
        )
    if layout.format in ("jsonl", "parquet"):
        return find_layout(taken.place, file.name, layout.encoding).columns or ()
    rows: Iterator[list[str]] = (row.cells for row in Rows(layout.source(taken.place, file.name)))
    cells = next(rows, [])
    widths = Counter(len(row) for row in itertools.islice(rows, _ROWS))
    width = max(widths, key=widths.__getitem__, default=0)
    if file is first and len(cells) < 2 <= width:
        raise UserError(
            f"init: {file.name} begins with {repr(shorten(' '.join(cells))) if cells else 'an empty line'}, "
            f"but most lines have {width} cells; expected the header line first, or a record. Remove the "
            f"lines above it."
        )
    if len(cells) < 2 and len(layout.columns or "  ") > 1:
        own = find_layout(taken.place, file.name, layout.encoding)
        if len(_first_cells(own, taken.place, file.name)) > 1:  # otherwise it only lacks columns
            raise UserError(
                f"init: {file.name} is {describe(own)}, but {first.name} is {describe(layout)}; expected "
                f"files that are written alike. Convert one of them."
            )
    return cells if layout.columns else list(range(len(cells)))
