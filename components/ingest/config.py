"""Configuration of the ingest stage."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from components.strict import Split, Strict

Fraction = Annotated[float, Field(gt=0, lt=1)]
Source = str | list[str] | dict[str, str]


class IngestConfig(Strict):
    """Which files to read, and how."""

    files: dict[Split, Source] | str | list[str]
    """Paths or globs by split; or, without splits, one path, glob or list, from which `holdout` is taken.
    With `format: text` a split is a mapping from column to file, the files being aligned line by line."""
    format: Literal["auto", "tsv", "csv", "jsonl", "text", "parquet"] = "auto"
    """`auto` goes by the file's name (.tsv, .csv, .jsonl, .parquet, each also with .gz)."""
    columns: dict[str, str | int] = Field(default_factory=dict)
    """From `text` and `label` (or `source` and `target`) to the column of that name in the files; a number is
    the position, from 0, in a file without a header line. Default: the same names."""
    holdout: dict[Literal["validation", "test"], Fraction] = {"validation": 0.1, "test": 0.1}
    """Fractions of `train` that become the splits which have no files of their own, chosen by a stable hash
    of the input text."""
    max_characters: Annotated[int, Field(gt=0)] = 10_000
    """Longer texts are rejected."""
    max_rejected: Annotated[int, Field(ge=0)] | Fraction = 0.05
    """How many records (a whole number) or which fraction of them may be rejected before the run stops."""
