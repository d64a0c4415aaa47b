"""Columns of nested values, which are not read, and how to take them apart."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Sequence

from components.ingest.advice import shorten_names
from pipeline.init.columns import Column
from pipeline.init.inputs import Given
from pipeline.init.sniff import Layout

_FLATTEN = (
    '. as $all | reduce paths(type != "object" and type != "array") as $path '
    '({}; .[$path | map(tostring) | join("_")] = ($all | getpath($path)))'
)


def is_nested(column: Column) -> bool:
    """Whether most values are objects or lists."""
    return column.unfit["dict"] + column.unfit["list"] > column.filled


def nested_advice(columns: Sequence[Column], layout: Layout, file: Given) -> str:
    """Returns what to do where the texts or labels are in nested values; empty where no column has some.

    Args:
        columns: all there are.
        layout: of the files.
        file: one of them.
    """
    nested = [column for column in columns if is_nested(column)]
    if not nested:
        return ""
    told = (
        f"Nested values, as in {shorten_names(column.name for column in nested)}, are not read: give each "
        f"value within them a column of its own"
    )
    name = shlex.quote(file.name)
    stem = os.path.basename(file.name).removesuffix(".gz").rpartition(".")[0]
    if layout.format == "jsonl":
        flat = shlex.quote(f"{stem}-flat.jsonl")
        read = (
            f"gzip -dc {name} | jq -c '{_FLATTEN}'"
            if file.name.endswith(".gz")
            else f"jq -c '{_FLATTEN}' {name}"
        )
        return f"{told}: {read} > {flat} && rnnpipe init {flat}"
    if any(column.unfit["dict"] for column in nested):
        flat = f"{stem}-flat.parquet"
        code = (
            f"from pyarrow import parquet; parquet.write_table(parquet.read_table("
            f"{json.dumps(file.name, ensure_ascii=False)}).flatten(), {json.dumps(flat, ensure_ascii=False)})"
        )
        return f"{told}: python -c {shlex.quote(code)} && rnnpipe init {shlex.quote(flat)}"
    return f"{told}."
