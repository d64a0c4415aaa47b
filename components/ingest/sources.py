"""Finds the files to read. Light: the plan looks for them, too."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from upath import UPath

from components import files
from components.errors import UserError
from components.ingest.config import Format, IngestConfig
from components.ingest.encodings import UTF8, is_utf8
from components.patterns import why_unmatched
from components.stores import StoreError
from components.strict import FIELDS, SPLITS, Split, Task
from components.text import printable

_FORMATS: dict[str, Format] = {".tsv": "tsv", ".csv": "csv", ".jsonl": "jsonl", ".parquet": "parquet"}


class Dialect(NamedTuple):
    """How text files are written; see `IngestConfig`. None: as is usual for the format."""

    delimiter: str | None = None
    quoting: bool | None = None
    encoding: str = UTF8


USUAL = Dialect()


@dataclass(frozen=True)
class Source:
    """What is read by one worker from start to end: a file, or files aligned line by line.

    Args:
        index: its place in the order of all sources.
        split: the split it belongs to; `train` also where `holdout` is still to be taken from it.
        format: how it is read.
        files: by field, where the file is that it is read from.
        names: by field, what people call that file: as they wrote it, so where relative paths were given,
            they are relative to where the command was given. Default: where it is.
        dialect: how it is written.
    """

    index: int
    split: Split
    format: Format
    files: Mapping[str, UPath]
    names: Mapping[str, str] = field(default_factory=dict)
    dialect: Dialect = USUAL

    def place(self, of: str = "") -> UPath:
        """Returns where the file of a field is, by default that of the input text."""
        return self.files[of or next(iter(self.files))]

    def name(self, of: str = "") -> str:
        """Returns what that file is called."""
        return self.names.get(of or next(iter(self.files))) or str(self.place(of))


class _Found(NamedTuple):
    """A file that a path or glob matches, and what people call it."""

    name: str
    place: UPath


def find_sources(config: IngestConfig, task: Task) -> list[Source]:
    """Expands paths and globs: split by split, within a split sorted by name.

    Relative ones start in the working directory of this moment; what is returned can be read from any.

    Raises:
        UserError: if a path or glob matches nothing, or a file's format is unclear.
    """
    by_split = config.files if isinstance(config.files, dict) else {"train": config.files}
    named: list[tuple[Split, Format, dict[str, _Found]]] = []
    for split in SPLITS:
        given = by_split.get(split)
        if isinstance(given, dict):
            named += [(split, "text", aligned) for aligned in _aligned(split, given, config, task)]
        elif given is not None:
            patterns = [given] if isinstance(given, str) else given
            for file in _distinct(file for pattern in patterns for file in _match(split, pattern)):
                named.append((split, _format(file.name, config), dict.fromkeys(FIELDS[task], file)))
    dialect = Dialect(config.delimiter, config.quoting, config.encoding)
    _check_dialect(dialect, {kind for _, kind, _ in named})
    return [
        Source(
            index,
            split,
            kind,
            {name: file.place for name, file in chosen.items()},
            {name: file.name for name, file in chosen.items()},
            dialect,
        )
        for index, (split, kind, chosen) in enumerate(named)
    ]


def named_format(path: str) -> Format | None:
    """Returns the format that a file's name stands for, also before .gz; None if it stands for none."""
    return _FORMATS.get(os.path.splitext(path.removesuffix(".gz"))[1].lower())


def _check_dialect(dialect: Dialect, formats: set[Format]) -> None:
    """Checks that there is a file that a setting is for."""
    given = {
        "delimiter": (dialect.delimiter is not None, {"tsv", "csv"}),
        "quoting": (dialect.quoting is not None, {"tsv", "csv"}),
        "encoding": (not is_utf8(dialect.encoding), {"tsv", "csv", "jsonl", "text"}),
    }
    for key, (is_set, suitable) in given.items():
        if is_set and formats and not formats & suitable:
            raise UserError(
                f"ingest: received `ingest.{key}`, which is for {', '.join(sorted(suitable))}, but all files "
                f"are {', '.join(sorted(formats))}. Remove it, or correct `ingest.format`."
            )


def _distinct(matches: Iterable[_Found]) -> list[_Found]:
    """Each file once, sorted by name."""
    by_place: dict[UPath, _Found] = {}
    for match in matches:
        by_place.setdefault(match.place, match)
    return sorted(by_place.values(), key=lambda each: each.name)


def _format(path: str, config: IngestConfig) -> Format:
    if config.format == "text":
        raise UserError(
            f"ingest: `format: text` received one file, {path}, expected one for each field. Write "
            f"`files: {{train: {{source: a.txt, target: b.txt}}}}`, or set another format."
        )
    kind = named_format(path) if config.format == "auto" else config.format
    if kind is None:
        raise UserError(
            f"ingest: cannot tell the format of {path} from its name, expected one of "
            f"{', '.join(_FORMATS)}, also with .gz. Rename it or set `ingest.format`."
        )
    columns = {**config.columns, **config.keep}
    if kind in ("jsonl", "parquet") and any(isinstance(column, int) for column in columns.values()):
        raise UserError(
            f"ingest: `ingest.columns` or `ingest.keep` received positions, but {path} is {kind}, where "
            f"columns have names. Give the names."
        )
    return kind


def _aligned(
    split: Split, given: dict[str, str], config: IngestConfig, task: Task
) -> list[dict[str, _Found]]:
    fields = FIELDS[task]
    if config.format not in ("auto", "text"):
        raise UserError(
            f"ingest: `files.{split}` received a mapping, which is for `format: text`, not {config.format}. "
            f"Give a path, a glob or a list of them."
        )
    if set(given) != set(fields):
        raise UserError(
            f"ingest: `files.{split}` received files for {', '.join(sorted(given))}, expected "
            f"one for each of {', '.join(fields)}."
        )
    matches = [_distinct(_match(split, given[name])) for name in fields]
    if len({len(paths) for paths in matches}) > 1:
        counts = ", ".join(f"{len(paths)} for {name}" for name, paths in zip(fields, matches, strict=True))
        raise UserError(
            f"ingest: `files.{split}` received {counts}, expected as many files for each field. "
            f"Check the globs."
        )
    return [dict(zip(fields, paths, strict=True)) for paths in zip(*matches, strict=True)]


def _match(split: Split, pattern: str) -> list[_Found]:
    """The files of a path or glob."""
    folder, name = os.path.split(pattern)
    try:
        places = files.find(pattern)
        siblings = [] if places else files.find(os.path.join(folder, "*"))
    except UserError as error:
        raise UserError(f"ingest: `files.{split}`: {error}") from error
    except Exception as error:  # every kind of store has errors of its own
        advice = "" if isinstance(error, StoreError) else ". Check the address and your access."
        raise UserError(f"ingest: cannot look for {pattern!r} (`files.{split}`): {error}{advice}") from error
    if places:
        relative = "://" not in pattern and not os.path.isabs(os.path.expanduser(pattern))
        paths = [os.path.relpath(str(place)) if relative else str(place) for place in places]
        return [_Found(printable(path), place) for path, place in zip(paths, places, strict=True)]
    near = difflib.get_close_matches(name, [sibling.name for sibling in siblings], n=1)
    advice = f"Did you mean {os.path.join(folder, near[0])!r}? " if near else ""
    raise UserError(
        f"ingest: no file matches {pattern!r} (`files.{split}`; relative paths start in "
        f"{printable(os.getcwd())}{why_unmatched(pattern)}). "
        f"{advice}Give the path or glob of at least one file."
    )
