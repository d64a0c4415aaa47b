"""A column that says which split a record is for, which no setting reads: files do that."""

from __future__ import annotations

import glob
import json
import os
import shlex
from collections.abc import Collection, Sequence
from typing import Any

from pipeline.init.columns import Column
from pipeline.init.inputs import Given, split_of
from pipeline.init.sniff import USUAL, Layout

_SHOWN_VALUES = 5


def split_column_warnings(
    columns: Sequence[Column], used: Collection[Column], train: Sequence[Given], layout: Layout
) -> list[str]:
    """Warns of columns of the training files that say which split a record is for.

    Args:
        columns: all there are.
        used: those that are read.
        train: the files.
        layout: of them.
    """
    return [
        f"the column {column.name!r} seems to say which split a record is for: {_values(column)}. It is not "
        f"read, so that records of all these may be trained on. Write the records of each value to a file of "
        f"their own, with the value in its name{_command(column, train, layout)}"
        for column in columns
        if column not in used and _splits(column) > 1
    ]


def _splits(column: Column) -> int:
    """How many splits the values stand for; 0 where one of them stands for none."""
    splits = {split_of(value) for value in column.values}
    return 0 if None in splits else len(splits)


def _values(column: Column) -> str:
    return ", ".join(f"{value!r} {times:,}" for value, times in column.values.most_common(_SHOWN_VALUES))


def _command(column: Column, train: Sequence[Given], layout: Layout) -> str:
    """How to write the files; empty where a short command does not do."""
    if len(train) > 1 or column.filled < column.rows or not isinstance(column.key, str):
        return ""
    options: dict[str, Any] = {"dtype_backend": "pyarrow"}  # which keeps whole numbers that have gaps
    if layout.format == "jsonl":
        options |= {"lines": True, "convert_dates": False, "encoding": layout.encoding}
    elif layout.format != "parquet":
        options = {"sep": layout.delimiter or USUAL[layout.format], "encoding": layout.encoding}
        options |= {"dtype": "str", "keep_default_na": False}
        if not layout.quoted:
            options["quoting"] = 3
    stem = os.path.basename(train[0].name).removesuffix(".gz").rpartition(".")[0]
    reader = {"jsonl": "json", "parquet": "parquet"}.get(layout.format, "csv")
    given = ", ".join([_text(train[0].name), *(f"{key}={_text(value)}" for key, value in options.items())])
    code = (
        f"import pandas; [part.to_parquet(name + {_text(f'-{stem}.parquet')}, index=False) for name, part in "
        f"pandas.read_{reader}({given}).groupby({_text(column.key)})]"
    )
    written = shlex.quote(f"*-{glob.escape(stem)}.parquet")
    return f", and give these: python -c {shlex.quote(code)} && rnnpipe init {written}"


def _text(value: Any) -> str:
    """A value in Python, with double quotes, as it stands between single ones in a shell."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)
