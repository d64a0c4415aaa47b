"""Why a file has no record that can be read, or too few columns."""

from __future__ import annotations

import itertools
from collections import Counter

from components.errors import UserError
from components.ingest.advice import shorten, shorten_names
from components.ingest.readers import read_records
from components.ingest.rows import Row, Rows
from components.ingest.sources import Source
from components.text import without_end
from pipeline.init.columns import Column
from pipeline.init.inputs import Given
from pipeline.init.nested import nested_advice
from pipeline.init.sniff import Layout, in_words

_ROWS = 2_000  # that are looked at


def no_records(source: Source, layout: Layout) -> UserError:
    """Returns the error that says so.

    Args:
        source: the file, of which no record can be read.
        layout: of it.
    """
    name = source.name()
    if layout.format == "jsonl":
        records = read_records(source, {key: key for key in layout.columns or ()})
        (reason, _), *_ = Counter(record.reason for record in records).most_common(1)
        return UserError(
            f"init: {name}: no line can be read, most for: {reason}. Expected an object with the same keys "
            f'on every line, such as {{"text": "...", "label": "..."}}. Correct the file.'
        )
    rows = [] if layout.format == "parquet" else list(itertools.islice(Rows(source), _ROWS))
    rows = rows[1:] if layout.columns else rows
    if not rows:
        return UserError(
            f"init: {name} has the columns {shorten_names(layout.columns or ())} and no records, expected "
            f"records below them. Check where the file comes from."
        )
    if readable := [row for row in rows if not row.reason]:
        return _other_width(name, layout, readable)
    (reason, _), *_ = Counter(row.reason for row in rows).most_common(1)
    return UserError(f"init: {name}: no row can be read, most for: {reason}. Correct the file.")


def one_column(column: Column, layout: Layout, file: Given) -> UserError:
    """Returns the error that says so.

    Args:
        column: the only one.
        layout: of the file.
        file: which has it.
    """
    advice = nested_advice([column], layout, file)
    if not advice:
        advice = "Add the missing column, or give two files whose lines belong together."
        if layout.format in ("csv", "tsv"):
            advice = (
                f"If there is another character than {in_words(layout)} between the cells, name it with "
                f"--delimiter; otherwise add the missing column, or give two files whose lines belong "
                f"together."
            )
    return UserError(
        f"init: {file.name}: received only one column, {column.name!r}, expected two at least: text and "
        f"label, or source and target. {advice}"
    )


def _other_width(name: str, layout: Layout, rows: list[Row]) -> UserError:
    expected = len(layout.columns or rows[0].cells)
    row = next((row for row in rows if len(row.cells) != expected), rows[0])
    line = shorten(without_end(row.raw).decode(errors="replace"))
    cells = f"{len(row.cells)} cell{'s' * (len(row.cells) != 1)}"
    return UserError(
        f"init: {name}: no row has as many cells as the header line, {expected}; the first is line "
        f"{row.line:,} with {cells}: {line!r}. Expected {expected} in every row. A cell with "
        f"{in_words(layout)} in it has to stand in double quotes, and a double quote in such a cell is "
        f"written twice."
    )
