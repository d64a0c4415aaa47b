"""From files to everything that a configuration says."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from components.errors import UserError
from components.ingest.advice import shorten_names
from components.ingest.config import IngestConfig
from components.ingest.sources import Source, find_sources
from components.strict import FIELDS, SPLITS, Split, Task
from components.tokenize.lengths import percentile
from pipeline.init.ask import Asker
from pipeline.init.columns import Column, Key
from pipeline.init.excerpt import WHOLE_BYTES, is_wide
from pipeline.init.inputs import Given, by_split, find_given, siblings_of
from pipeline.init.looking import Looked, look, look_at_lines
from pipeline.init.names import aligned_files, files_of, name_of
from pipeline.init.nested import nested_advice
from pipeline.init.roles import Roles, choose_roles, keys
from pipeline.init.sniff import Layout
from pipeline.init.split_column import split_column_warnings
from pipeline.init.statistics import LONGEST, Statistics, count
from pipeline.serving.wording import in_options

OPTIONS = {field: f"--{field}" for fields in FIELDS.values() for field in fields}
"""By field, the option that names its column."""
_MOST_CHARACTERS = int(IngestConfig.model_fields["max_characters"].default)
_MOST_REJECTED = 0.05
_SHOWN_FILES = 3


@dataclass(frozen=True)
class Wishes:
    """What the user decides.

    Args:
        name: of the pipeline.
        task: of it.
        columns: by field, the column, or the file where every field has its own.
        encoding: of the files.
        delimiter: between the cells.
        yes: whether the best guess is taken where something is not clear.
    """

    name: str | None = None
    task: Task | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    encoding: str | None = None
    delimiter: str | None = None
    yes: bool = False


@dataclass(frozen=True)
class Draft:
    """Everything that a configuration says, and what it follows from.

    Args:
        name: of the pipeline.
        layout: of the files.
        roles: of the columns.
        columns: all there are.
        ingest: the section.
        found: what was counted, by split.
        notes: what was decided about the files.
        warnings: what someone should know before running it.
    """

    name: str
    layout: Layout
    roles: Roles
    columns: Sequence[Column]
    ingest: Mapping[str, Any]
    found: dict[Split, Statistics]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]


def make_draft(patterns: Sequence[str], wishes: Wishes, folder: Path) -> Draft:
    """Looks at files, and decides how they are to be read.

    Args:
        patterns: paths and globs.
        wishes: what is decided already.
        folder: for excerpts of large files.

    Raises:
        UserError: the files are no data for a pipeline, or something is not clear and nobody can be asked.
    """
    of = ", ".join(patterns[:3]) + (", ..." if len(patterns) > 3 else "")
    asker = Asker(wishes.yes, of)
    given = find_given(patterns)
    beside = siblings_of(given) if {file.split for file in given} == {"train"} else []
    splits, looked, notes = _look_beside(given, beside, wishes, folder)
    notes += looked.notes
    aligned = looked.layout.format == "text"
    nested = nested_advice(looked.columns, looked.layout, splits["train"][0])
    roles = choose_roles(looked.columns, wishes.task, wishes.columns, asker, of, aligned, nested)
    if aligned:
        ingest = aligned_files(splits, looked, roles)
    else:
        splits = _with_columns(splits, looked, roles, patterns, notes)
        ingest = {
            "files": files_of(splits, [*given, *beside]),
            **looked.layout.settings(),
            "columns": keys(roles.columns),
        }
        if all(name == column for name, column in ingest["columns"].items()):
            del ingest["columns"]
    found = _count(ingest, roles.task, looked)
    notes += _beginnings(looked)
    warnings = [*roles.warnings, *_adjust(ingest, found, of), *_label_notes(found)]
    warnings += split_column_warnings(looked.columns, roles.columns.values(), splits["train"], looked.layout)
    name = wishes.name or name_of(splits["train"][0])
    return Draft(name, looked.layout, roles, looked.columns, ingest, found, tuple(notes), tuple(warnings))


def _look(splits: dict[Split, list[Given]], wishes: Wishes, folder: Path) -> Looked:
    looked = look(splits, wishes.encoding, folder, list(wishes.columns.values()), wishes.delimiter)
    return look_at_lines(splits, looked, folder) if looked.layout.format == "text" else looked


def _look_beside(
    given: list[Given], beside: list[Given], wishes: Wishes, folder: Path
) -> tuple[dict[Split, list[Given]], Looked, list[str]]:
    """Looks into the files given and into those beside them, of which any that does not fit is left out.

    Returns:
        The files that are taken, what was seen in them, and what is to be said about those beside.
    """
    taken, notes = list(beside), []
    splits = by_split([*given, *taken])
    try:
        looked = _look(splits, wishes, folder)
    except UserError:
        if not beside:
            raise
        taken, splits = [], by_split(given)
        looked = _look(splits, wishes, folder)
        # Of aligned files only those of a split together say anything.
        aligned = looked.layout.format == "text"
        for files in by_split(beside).values() if aligned else [[file] for file in beside]:
            more = by_split([*given, *taken, *files])
            try:
                looked = _look(more, wishes, folder)
            except UserError as error:
                why = in_options(str(error), OPTIONS).removeprefix("init: ")
                notes.append(f"{', '.join(file.name for file in files)}: left out. {why}")
            else:
                taken, splits = [*taken, *files], more
    found = [f"{file.name}: found beside {given[0].name}, for {file.split}" for file in taken]
    return splits, looked, [*found, *notes]


def _beginnings(looked: Looked) -> list[str]:
    """Says where the rest of a file was not looked at, in which there may be other labels."""
    text = looked.layout.format == "text"
    cut = [
        place.name
        for place, one in looked.excerpts.items()
        if one.share < 1 and (text or is_wide(looked.layout.encoding))
    ]
    if not cut:
        return []
    return [
        f"only the first {WHOLE_BYTES >> 20} MiB of {shorten_names(cut)} were looked at: if the file is "
        f"sorted by label, mix it up first"
    ]


def _with_columns(
    splits: dict[Split, list[Given]],
    looked: Looked,
    roles: Roles,
    patterns: Sequence[str],
    notes: list[str],
) -> dict[Split, list[Given]]:
    """The files that have the columns; those that were only found beside others may lack them."""
    every = [file for files in splits.values() for file in files]
    lacking = {file: why for file in every if (why := _lacking(looked.names.get(file.place), roles))}
    if given := {file: why for file, why in lacking.items() if file.pattern in patterns}:
        fit = [file.name for file in every if file not in lacking]
        named = f"rnnpipe init {' '.join(map(shlex.quote, fit))}" if 0 < len(fit) <= _SHOWN_FILES else ""
        raise UserError(
            f"init: {_listed(f'{file.name} {why}' for file, why in given.items())}; expected every file to "
            f"have both {' and '.join(repr(column.key) for column in roles.columns.values())}. Correct "
            f"the others, or give only the files that have them{f': {named}' if named else ''}"
        )
    for file, why in lacking.items():
        notes[:] = [note for note in notes if not note.startswith(f"{file.name}: ")]
        notes.append(f"{file.name}: left out, as it {why}")
    kept = {split: [file for file in files if file not in lacking] for split, files in splits.items()}
    return {split: files for split, files in kept.items() if files}


def _lacking(names: Sequence[Key] | None, roles: Roles) -> str:
    """Which columns a file lacks, as the end of a sentence; empty for none, or a file not looked into."""
    keys = [column.key for column in roles.columns.values()]
    lacking = [key for key in keys if names is not None and key not in names]
    if not lacking:
        return ""
    return f"has no {'column' if len(lacking) == 1 else 'columns'} {' and '.join(map(repr, lacking))}"


def _listed(sentences: Iterable[str]) -> str:
    every = list(sentences)
    more = len(every) - _SHOWN_FILES
    return "; ".join(every[:_SHOWN_FILES]) + (f"; and so {more:,} more" if more > 0 else "")


def _count(ingest: Mapping[str, Any], task: Task, looked: Looked) -> dict[Split, Statistics]:
    config = IngestConfig.model_validate({**ingest, "max_characters": LONGEST, "holdout": {}})
    sources: dict[Split, list[tuple[Source, float]]] = {}
    for source in find_sources(config, task):
        excerpts = {name: looked.excerpts.get(place) for name, place in source.files.items()}
        if all(excerpts.values()):
            there = {name: one for name, one in excerpts.items() if one}
            source = replace(source, files={name: one.place for name, one in there.items()})
            sources.setdefault(source.split, []).append((source, min(one.share for one in there.values())))
    found = {}
    for split in SPLITS:
        if of_split := sources.get(split):
            share = sum(share for _, share in of_split) / len(of_split) * looked.shares[split]
            found[split] = count(config, task, [source for source, _ in of_split], share)
    return found


def _adjust(ingest: dict[str, Any], found: dict[Split, Statistics], of: str) -> list[str]:
    """Has long texts and many unreadable records taken as they are; warns of it."""
    warnings = []
    lengths = [one.characters for statistics in found.values() for one in statistics.lengths.values()]
    too_long = sum(sum(n > _MOST_CHARACTERS for n in characters) for characters in lengths)
    if too_long > 0.005 * sum(map(len, lengths)):
        longest = max(percentile(characters, 100) for characters in lengths)
        ingest["max_characters"] = min(LONGEST, -(-longest // 10_000) * 10_000)
    for split, statistics in found.items():
        (reason, times), *_ = [*statistics.rejected.most_common(1), ("", 0)]
        if not statistics.examples:
            raise UserError(
                f"init: {of}: none of {statistics.records:,} records for {split} is an example, most for: "
                f"{reason or 'there are none'}. Correct the files, or name other columns."
            )
        part = statistics.rejected.total() / statistics.records
        if times > 1 or part > 0.01:
            warnings.append(
                f"{split}: {statistics.rejected.total():,} of {statistics.records:,} records looked at are "
                f"no examples, most for: {reason} ({times:,}). A run lists them in rejected.jsonl."
            )
        if part > 0.8 * _MOST_REJECTED:
            ingest["max_rejected"] = max(
                ingest.get("max_rejected", 0.0), min(0.95, round(1.25 * part + 0.05, 2))
            )
    return warnings


def _label_notes(found: dict[Split, Statistics]) -> list[str]:
    known = found["train"].labels
    if not known:
        return []
    warnings = []
    if len(known) == 1:
        raise UserError(
            f"init: all examples for train have the label {next(iter(known))!r}, expected two labels or "
            f"more. Name another column with --label, or add records of other labels."
        )
    for split, statistics in found.items():
        if new := sorted(set(statistics.labels) - set(known)):
            warnings.append(f"{split} has labels that train lacks, such as {new[0]!r}: always answered wrong")
    if rare := [label for label, times in known.items() if times < 10 and found["train"].share == 1]:
        warnings.append(f"{len(rare):,} labels have fewer than 10 examples, such as {rare[0]!r}")
    return warnings
