"""Configuration of the ingest stage."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal, cast

from pydantic import Field, field_validator, model_validator

from components.ingest.advice import shorten
from components.ingest.encodings import encoding_problem
from components.ingest.split_config import HashSplit, SplitField
from components.strict import FIELDS, Split, Strict
from components.text import is_utf8_path, printable

Fraction = Annotated[float, Field(gt=0, lt=1)]
Source = str | list[str] | dict[str, str]
Format = Literal["tsv", "csv", "jsonl", "text", "parquet"]

SPLIT_COLUMN = "split.column"  # what the column to split by is called among `columns` and `keep`
PLACE = "record.place"  # what is kept of an example that belongs to a fold: index of the source, and line

_COLUMNS = [field for fields in FIELDS.values() for field in fields]


def _paths(given: object) -> Iterator[str]:
    """Every path or glob, however they are nested."""
    if isinstance(given, str):
        yield given
    else:
        for inner in given.values() if isinstance(given, dict) else cast(list[object], given):
            yield from _paths(inner)


class IngestConfig(Strict):
    """Which files to read, and how."""

    files: dict[Split, Source] | str | list[str]
    """Paths or globs by split; or, without splits, one path, glob or list, from which `holdout` is taken.
    With `format: text` a split is a mapping from `text` and `label` (or `source` and `target`) to a file
    each, the files being aligned line by line."""
    format: Format | Literal["auto"] = "auto"
    """`auto` goes by the file's name (.tsv, .csv, .jsonl, .parquet, each also with .gz)."""
    encoding: str = "utf-8"
    """How all files but Parquet are encoded: any name that Python knows, such as `utf-16` or `cp1252`."""
    delimiter: str | None = None
    """The character between the cells of TSV and CSV. Default: what a first line such as `sep=;` says, else
    the tab in TSV and the comma in CSV."""
    quoting: bool | None = None
    """Whether a cell of TSV and CSV may stand in double quotes, and then hold delimiters and line ends (RFC
    4180). Default: in CSV, but not in TSV, where a quote is a character as any other."""
    columns: dict[str, str | int] = Field(default_factory=dict)
    """From `text` and `label` (or `source` and `target`) to the column of that name in the files; a number is
    the position, from 0, in a file without a header line. Default: the same names."""
    keep: dict[str, str | int] = Field(default_factory=dict)
    """Further columns to keep with each example, for `evaluate.slices`: from a name of your own to the column
    in the files, as in `columns`. Values may be missing; one that cannot be read as text is left empty."""
    holdout: dict[Literal["validation", "test"], Fraction] = Field(default={"validation": 0.1, "test": 0.1})
    """Fractions of `train` that become the splits which have no files of their own, chosen as `split`
    says."""
    split: SplitField = HashSplit(type="hash")
    """What decides which examples of `train` become those of the other splits."""
    max_characters: Annotated[int, Field(gt=0, le=1_000_000)] = 10_000
    """Longer texts are rejected."""
    max_rejected: Annotated[int, Field(ge=0)] | Fraction = 0.05
    """How many records (a whole number) or which fraction of them may be rejected before the run stops."""

    @field_validator("files")
    @classmethod
    def _utf8_names(
        cls, given: dict[Split, Source] | str | list[str]
    ) -> dict[Split, Source] | str | list[str]:
        for path in _paths(given):
            if not is_utf8_path(path):
                glob = "".join(c if c.isprintable() else "?" for c in path)
                raise ValueError(
                    f"received {printable(path)!r}, which is not UTF-8, expected a name that is; give a "
                    f"glob, such as {glob!r}, or rename the file"
                )
        return given

    @field_validator("encoding")
    @classmethod
    def _known_encoding(cls, name: str) -> str:
        if problem := encoding_problem(name):
            raise ValueError(problem)
        return name

    @field_validator("delimiter")
    @classmethod
    def _one_character(cls, delimiter: str | None) -> str | None:
        if delimiter is not None and (len(delimiter) != 1 or delimiter in '"\r\n\0'):
            raise ValueError(
                f"received {shorten(delimiter)!r}, expected one character that is no quote and no line end, "
                'such as ";" or "\\t"'
            )
        return delimiter

    @model_validator(mode="after")
    def _check(self) -> IngestConfig:
        if not self.files:
            raise ValueError("files names no file: give a path, a glob, or `files: {train: ...}`")
        unknown = sorted(set(self.columns) - set(_COLUMNS))
        if unknown:
            raise ValueError(f"columns has {', '.join(unknown)}, expected some of {', '.join(_COLUMNS)}")
        reserved = sorted(set(self.keep) & {*_COLUMNS, "length", "unknown", SPLIT_COLUMN, PLACE})
        if reserved:
            raise ValueError(f"keep has {', '.join(reserved)}, which is taken; expected other names")
        if "" in self.keep or any("=" in name for name in self.keep):
            raise ValueError("keep has a name that is empty or has a =; expected names without")
        columns_of = {"columns": self.columns, "keep": {**self.columns, **self.keep}}
        for name, columns in (*columns_of.items(), ("split", {**self.columns, **self.split_column})):
            if len({type(column) for column in columns.values()}) > 1:
                raise ValueError(f"{name} mixes names and positions: use names for files with a header line")
            if any(isinstance(column, int) and column < 0 for column in columns.values()):
                raise ValueError(f"{name} has a negative position: the first column is 0")
        if sum(self.holdout.values()) >= 1:
            raise ValueError("holdout takes everything: its fractions must leave something to train on")
        return self

    @property
    def split_column(self) -> dict[str, str | int]:
        """The column to split by, as in `columns`; empty where there is none."""
        column = getattr(self.split, "column", None)
        return {} if column is None else {SPLIT_COLUMN: column}
