"""Finds the columns of a table by its header line, and header lines where none should be."""

from __future__ import annotations

import csv
import difflib
import itertools
from collections.abc import Mapping, Sequence

from components.errors import UserError
from components.ingest.advice import setting, shorten, shorten_names
from components.ingest.config import SPLIT_COLUMN
from components.strict import FIELDS

_OTHERS = "\t,;|"  # that are looked for where the given one does not suit
_COMPARED = 200  # names, and characters of a name, that are compared with what was asked for
_NEAR = 0.75  # one letter of four is another: of other words the most similar one says nothing
# What headers usually call the fields; a row of such words alone is no example.
_USUAL = {
    "text": {"text", "texts", "sentence", "review", "comment", "message"},
    "label": {"label", "labels", "class", "category", "target", "stars", "sentiment"},
    "source": {"source", "src", "input", "question"},
    "target": {"target", "tgt", "output", "answer"},
}


def find_columns(file: str, header: Sequence[str], columns: Mapping[str, str]) -> list[int]:
    """Where in the header the columns stand.

    Args:
        file: for the error message.
        header: the names the file has.
        columns: by field, the name of its column.

    Raises:
        UserError: if one is missing or stands there twice.
    """
    for field, column in columns.items():
        if header.count(column) == 1:
            continue
        if column in header:
            problem = f"{header.count(column)} columns are called {shorten(column)!r}"
            advice = "Rename all but one of them"
        else:
            problem = f"there is no column {shorten(column)!r}"
            advice = _advice(field, columns, header)
        raise UserError(
            f"ingest: {file}: {problem}, expected one for {field!r}. It has: {shorten_names(header)}. "
            f"{advice}."
        )
    return [header.index(column) for column in columns.values()]


def _advice(field: str, columns: Mapping[str, str], header: Sequence[str]) -> str:
    if any("\r" in name for name in header):
        return "Lines must end with a line feed. Convert the file: tr '\\r' '\\n' < OLD > NEW"
    section = "columns" if any(field in fields for fields in FIELDS.values()) else "keep"
    section = SPLIT_COLUMN if field == SPLIT_COLUMN else section
    names = {name.lower(): name for name in header[:_COMPARED] if 0 < len(name) < _COMPARED}
    near = difflib.get_close_matches(columns[field].lower(), names, n=1, cutoff=_NEAR)
    if near:
        return f"Did you mean {names[near[0]]!r}? {_set(section, field, names[near[0]])}"
    free = [name for name in names.values() if name not in columns.values()]
    if not free:
        return f"Add the column, or correct `ingest.{section}`"
    return f"{_set(section, field, free[0])}, or another one of these"


def _set(section: str, field: str, column: str) -> str:
    if section == SPLIT_COLUMN:
        return f"Set `ingest.{SPLIT_COLUMN}` (of crossval: --by) to {shorten(column)!r}"
    return setting(section, {field: column})


def other_dialect(line: str, delimiter: str, quoting: bool, columns: Mapping[str, str] | int) -> list[str]:
    """Advises how a line should be read in which the columns are not found.

    Args:
        line: of the table.
        delimiter: as it was read.
        quoting: likewise.
        columns: by field, the name that the header line should have; or how many columns are needed.

    Returns:
        The settings to change; none if nothing would help.
    """
    for other, quoted in itertools.product(dict.fromkeys([delimiter, *_OTHERS]), (quoting, not quoting)):
        cells = _cells(line, other, quoted)
        fits = len(cells) >= columns if isinstance(columns, int) else set(columns.values()) <= set(cells)
        if fits:
            advice = [setting("delimiter", other)] if other != delimiter else []
            return [*advice, setting("quoting", quoted)] if quoted != quoting else advice
    return []


def _cells(line: str, delimiter: str, quoting: bool) -> list[str]:
    if not quoting:
        return line.split(delimiter)
    try:
        return next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:
        return []


def names_fields(cells: Mapping[str, str], first: bool) -> bool:
    """Whether a row that is read by positions is a header line.

    Args:
        cells: by field, what stands there.
        first: whether it is the first row, where one of the fields' own names is enough.
    """
    words = {field: cell.strip().lower() for field, cell in cells.items()}
    own = [words[field] == field for field in words]
    return (any(own) if first else all(own)) or (
        first and all(words[field] in _USUAL.get(field, ()) for field in words)
    )
