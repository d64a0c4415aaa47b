"""The last step of ingest: what the workers wrote becomes the artifact, or an error that says why not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from components.artifacts.artifact import FileRef, local_file
from components.artifacts.examples import CONFLICTS, REJECTED, STATISTICS, kept_name, part_name
from components.errors import UserError
from components.ingest.advice import setting
from components.ingest.config import SPLIT_COLUMN, IngestConfig
from components.ingest.conflicts import Names, conflict_lines, conflict_warning
from components.ingest.duplicates import Duplicates, merge_duplicates
from components.ingest.parts import Part, Rejections
from components.ingest.split_config import FoldSplit
from components.ingest.split_report import split_report
from components.ingest.splits import reads_train
from components.ingest.statistics import make_statistics
from components.reports import Progress, Warned, emit
from components.strict import SPLITS, Task
from components.text import NOT_UTF8
from components.work import Attempt, Made, Work


def publish(
    work: Work,
    attempt: Attempt,
    config: IngestConfig,
    task: Task,
    written: Iterable[Part | Rejections],
    duplicates: Iterable[Duplicates],
    groups: Iterable[Duplicates],
    names: Iterable[Names],
) -> Made:
    """Numbers the parts over all sources and writes what is known about them.

    Args:
        work: of the stage.
        attempt: this one.
        config: says how much may be rejected.
        task: decides the fields.
        written: all that was written.
        duplicates: the duplicates, by partition.
        groups: which groups are in several splits, likewise.
        names: the texts and labels of conflicts.

    Returns:
        All files; the summary holds the examples by split, the number of rejected records, and the warnings.

    Raises:
        UserError: if too many records were rejected, or nothing is left to train on.
    """
    written = list(written)
    parts = sorted(
        (item for item in written if isinstance(item, Part)), key=lambda part: (part.source, part.number)
    )
    rejected = sorted(
        (item for item in written if isinstance(item, Rejections)), key=lambda item: (item.name, item.source)
    )
    lines = _join(work, attempt, rejected)
    if problem := _problem(config, parts, rejected, str(work.root / lines.path)):
        raise UserError(problem)
    merged = merge_duplicates(duplicates)
    statistics = make_statistics(task, parts, rejected, merged, list(config.keep), reads_train(config))
    split = split_report(config, parts, merge_duplicates(groups))
    statistics["warnings"] += split.pop("warnings")
    statistics["split"] = split
    made = [*_numbered(parts), lines]
    conflicts = merged.conflicts
    if task == "classification":
        statistics["conflicts"] = {"texts": conflicts.texts, "examples": conflicts.examples}
        if conflicts.texts:
            statistics["warnings"].append(conflict_warning(conflicts))
            files = {part.source: part.name for part in parts}
            made.append(attempt.put(CONFLICTS, conflict_lines(conflicts, names, files)))
    as_json = json.dumps(statistics, ensure_ascii=False, indent=2).encode() + b"\n"
    counts = {split: statistics["splits"][split]["examples"] for split in SPLITS}
    total = statistics["rejected"]["total"]
    records = sum(counts.values()) + total
    emit(Progress(work.stage, records, records, "records"))
    for warning in statistics["warnings"]:
        emit(Warned(work.stage, warning))
    summary: dict[str, Any] = {"examples": counts, "rejected": total, "warnings": statistics["warnings"]}
    return Made((*made, attempt.put(STATISTICS, as_json)), summary)


def _join(work: Work, attempt: Attempt, rejected: Sequence[Rejections]) -> FileRef:
    with attempt.path(REJECTED).open("wb") as whole:
        for part in rejected:
            if part.file:
                with local_file(work.root, part.file).open("rb") as file:
                    shutil.copyfileobj(file, whole)
    return attempt.add(REJECTED)


def _numbered(parts: Sequence[Part]) -> list[FileRef]:
    """Calls the files of each split by one row of numbers: they were numbered source by source."""
    files = []
    for split in SPLITS:
        for index, part in enumerate(part for part in parts if part.split == split):
            name = part_name(split, index)
            for file, called in zip(
                part.files, (name, kept_name(name)), strict=False
            ):  # perhaps none is kept
                files.append(replace(file, name=called))
    return files


def _problem(config: IngestConfig, parts: list[Part], rejected: list[Rejections], path: str) -> str:
    """Why the run must stop: too much was rejected, or nothing is left to train on; empty if it need not."""
    lost = sum(part.reasons.total() for part in rejected)
    total = lost + sum(part.examples for part in parts)
    counted = isinstance(config.max_rejected, int)
    allowed = f"{config.max_rejected}" if counted else f"{config.max_rejected} of them"
    undecodable = any(NOT_UTF8 in part.reasons for part in rejected)
    other = f" If they are in another encoding: {setting('encoding', 'cp1252')}, or whichever it is."
    advice = other if undecodable else ""
    columns = "`ingest.columns`" + (f" or `ingest.{SPLIT_COLUMN}`" if config.split_column else "")
    if lost and (lost if counted else lost / total) > config.max_rejected:
        return (
            f"ingest: {lost:,} of {total:,} records were rejected, expected at most "
            f"{allowed} (`ingest.max_rejected`). Most frequent reasons:\n"
            f"{_reasons(rejected)}\n"
            f"All of them are in {path}. Correct the files, `ingest.format` or {columns}, or raise "
            f"`ingest.max_rejected`.{advice}"
        )
    if reads_train(config) and not any(part.split == "train" for part in parts):
        return (
            f"ingest: no example is left to train on: received {total:,} records, of which {lost:,} were "
            f"rejected (see {path}) and the rest belongs to other splits. Expected at least one in train. "
            f"Check `ingest.files` and `ingest.holdout`."
        )
    if isinstance(config.split, FoldSplit) and not any(part.split == "test" for part in parts):
        return (
            f"ingest: no example is in fold {config.split.fold} of {config.split.folds}: received {total:,} "
            f"records, of which {lost:,} were rejected (see {path}), and equal texts share a fold. Ask for "
            "fewer folds (--folds), or add records."
        )
    return ""


def _reasons(rejected: list[Rejections]) -> str:
    counts: dict[str, int] = {}
    first: dict[str, str] = {}
    for part in rejected:
        for reason, count in part.reasons.items():
            counts[reason] = counts.get(reason, 0) + count
            first.setdefault(reason, f"{part.name}:{part.first[reason]}")
    most = sorted(counts, key=lambda reason: (-counts[reason], reason))[:3]
    return "\n".join(f"  {counts[reason]:,} x {reason} (such as {first[reason]})" for reason in most)
