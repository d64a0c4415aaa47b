"""Finds the files to read. Light: the plan looks for them, too."""

from __future__ import annotations

import difflib
import glob
import os
from dataclasses import dataclass

from components.errors import UserError
from components.ingest.config import Format, IngestConfig
from components.strict import FIELDS, SPLITS, Split, Task

_FORMATS: dict[str, Format] = {".tsv": "tsv", ".csv": "csv", ".jsonl": "jsonl", ".parquet": "parquet"}


@dataclass(frozen=True)
class Source:
    """What is read by one worker from start to end: a file, or files aligned line by line.

    Args:
        index: its place in the order of all sources.
        split: the split it belongs to; `train` also where `holdout` is still to be taken from it.
        format: how it is read.
        files: the file each field is read from.
    """

    index: int
    split: Split
    format: Format
    files: dict[str, str]

    @property
    def file(self) -> str:
        """The file of the input text."""
        return next(iter(self.files.values()))


def find_sources(config: IngestConfig, task: Task) -> list[Source]:
    """Expands paths and globs: split by split, within a split sorted by name.

    Raises:
        UserError: if a path or glob matches nothing, or a file's format is unclear.
    """
    by_split = config.files if isinstance(config.files, dict) else {"train": config.files}
    found: list[tuple[Split, Format, dict[str, str]]] = []
    for split in SPLITS:
        files = by_split.get(split)
        if isinstance(files, dict):
            found += [(split, "text", aligned) for aligned in _aligned(split, files, config, task)]
        elif files is not None:
            patterns = [files] if isinstance(files, str) else files
            for path in sorted({path for pattern in patterns for path in _match(split, pattern)}):
                found.append((split, _format(path, config), dict.fromkeys(FIELDS[task], path)))
    return [Source(index, *each) for index, each in enumerate(found)]


def _format(path: str, config: IngestConfig) -> Format:
    if config.format == "text":
        raise UserError(
            f"ingest: `format: text` received one file, {path}, expected one for each field. Write "
            f"`files: {{train: {{source: a.txt, target: b.txt}}}}`, or set another format."
        )
    name = path.removesuffix(".gz")
    kind = _FORMATS.get(os.path.splitext(name)[1].lower()) if config.format == "auto" else config.format
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


def _aligned(split: Split, files: dict[str, str], config: IngestConfig, task: Task) -> list[dict[str, str]]:
    fields = FIELDS[task]
    if config.format not in ("auto", "text"):
        raise UserError(
            f"ingest: `files.{split}` received a mapping, which is for `format: text`, not {config.format}. "
            f"Give a path, a glob or a list of them."
        )
    if set(files) != set(fields):
        raise UserError(
            f"ingest: `files.{split}` received files for {', '.join(sorted(files))}, expected "
            f"one for each of {', '.join(fields)}."
        )
    matches = [sorted(_match(split, files[field])) for field in fields]
    if len({len(paths) for paths in matches}) > 1:
        counts = ", ".join(f"{len(paths)} for {field}" for field, paths in zip(fields, matches, strict=True))
        raise UserError(
            f"ingest: `files.{split}` received {counts}, expected as many files for each field. "
            f"Check the globs."
        )
    return [dict(zip(fields, paths, strict=True)) for paths in zip(*matches, strict=True)]


def _match(split: Split, pattern: str) -> list[str]:
    """The files of a path or glob."""
    try:
        if os.path.isfile(pattern):  # first: a path may hold characters that mean something in a glob
            return [pattern]
        paths = _glob(pattern)
        folder, name = os.path.split(pattern)
        siblings = [] if paths else _glob(os.path.join(folder, "*"))
    except (ValueError, OSError) as error:  # no file system for this kind of address, or no access
        raise UserError(
            f"ingest: cannot look for {pattern!r} (`files.{split}`): {error}. "
            f"Check the address and your access."
        ) from error
    if paths:
        return paths
    near = difflib.get_close_matches(name, map(os.path.basename, siblings), n=1)
    advice = f"Did you mean {os.path.join(folder, near[0])!r}? " if near else ""
    raise UserError(
        f"ingest: no file matches {pattern!r} (`files.{split}`; relative paths start in {os.getcwd()}). "
        f"{advice}Give the path or glob of at least one file."
    )


def _glob(pattern: str) -> list[str]:
    if "://" not in pattern:  # Beam's own matching finds nothing for a glob that names no folder
        return [path for path in glob.glob(pattern, recursive=True) if os.path.isfile(path)]
    from apache_beam.io.filesystems import FileSystems

    return [file.path for file in FileSystems.match([pattern])[0].metadata_list]
