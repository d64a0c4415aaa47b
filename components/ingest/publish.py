"""The last step of ingest: what the workers wrote becomes the artifact, or an error that says why not."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable
from typing import Any

from apache_beam.io.filesystems import FileSystems

from components.errors import UserError
from components.events import StageProgress, Warned, emit
from components.examples import shard_name
from components.ingest.config import IngestConfig
from components.ingest.parts import PARTS, Part, Rejections, Shard
from components.ingest.statistics import Duplicates, make_statistics, merge_duplicates
from components.strict import SPLITS, Task


def publish(
    config: IngestConfig, task: Task, output: str, parts: Iterable[Part], found: Iterable[Duplicates]
) -> dict[str, Any]:
    """Gives the parts their final names and writes what is known about them.

    Args:
        config: says how much may be rejected.
        task: decides the fields.
        output: where the artifact goes.
        parts: all that was written.
        found: the duplicates, by partition.

    Returns:
        The summary: examples by split, rejected records, warnings.

    Raises:
        UserError: if too many records were rejected, or nothing is left to train on.
    """
    parts = list(parts)
    shards = sorted(
        (part for part in parts if isinstance(part, Shard)), key=lambda part: (part.source, part.number)
    )
    rejected = sorted(
        (part for part in parts if isinstance(part, Rejections)), key=lambda part: (part.file, part.source)
    )
    path = os.path.join(output, "rejected.jsonl")
    with FileSystems.create(path) as whole:
        for part in rejected:
            with FileSystems.open(part.path) as file:
                shutil.copyfileobj(file, whole)
    if problem := _problem(config, shards, rejected, path):
        FileSystems.delete([os.path.join(output, PARTS)])
        raise UserError(problem)
    examples = os.path.join(output, "examples")
    FileSystems.mkdirs(examples)
    for split in SPLITS:
        paths = [shard.path for shard in shards if shard.split == split]
        names = [os.path.join(examples, shard_name(split, index, len(paths))) for index in range(len(paths))]
        FileSystems.rename(paths, names)
    FileSystems.delete([os.path.join(output, PARTS)])
    statistics = make_statistics(task, shards, rejected, merge_duplicates(found))
    with FileSystems.create(os.path.join(output, "statistics.json")) as file:
        file.write(json.dumps(statistics, ensure_ascii=False, indent=2).encode() + b"\n")
    counts = {split: statistics["splits"][split]["examples"] for split in SPLITS}
    total = statistics["rejected"]["total"]
    emit(StageProgress("ingest", sum(counts.values()) + total, sum(counts.values()) + total, "records"))
    for warning in statistics["warnings"]:
        emit(Warned("ingest", warning))
    return {"examples": counts, "rejected": total, "warnings": statistics["warnings"]}


def _problem(config: IngestConfig, shards: list[Shard], rejected: list[Rejections], path: str) -> str:
    """Why the run must stop: too much was rejected, or nothing is left to train on; empty if it need not."""
    lost = sum(part.reasons.total() for part in rejected)
    total = lost + sum(shard.examples for shard in shards)
    counted = isinstance(config.max_rejected, int)
    allowed = f"{config.max_rejected}" if counted else f"{config.max_rejected} of them"
    if lost and (lost if counted else lost / total) > config.max_rejected:
        return (
            f"ingest: {lost:,} of {total:,} records were rejected, expected at most "
            f"{allowed} (`ingest.max_rejected`). Most frequent reasons:\n"
            f"{_reasons(rejected)}\n"
            f"All of them are in {path}. Correct the files, `ingest.format` or `ingest.columns`, or raise "
            f"`ingest.max_rejected`."
        )
    if not any(shard.split == "train" for shard in shards):
        return (
            f"ingest: no example is left to train on: received {total:,} records, of which {lost:,} were "
            f"rejected (see {path}) and the rest belongs to other splits. Expected at least one in train. "
            f"Check `ingest.files` and `ingest.holdout`."
        )
    return ""


def _reasons(rejected: list[Rejections]) -> str:
    counts: dict[str, int] = {}
    first: dict[str, str] = {}
    for part in rejected:
        for reason, count in part.reasons.items():
            counts[reason] = counts.get(reason, 0) + count
            first.setdefault(reason, f"{part.file}:{part.first[reason]}")
    most = sorted(counts, key=lambda reason: (-counts[reason], reason))[:3]
    return "\n".join(f"  {counts[reason]:,} x {reason} (such as {first[reason]})" for reason in most)
