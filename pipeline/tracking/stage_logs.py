"""What MLflow is told of each stage's artifact."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.strict import SPLITS

_FILES = {
    "ingest": ("statistics.json",),
    "tokenize": ("statistics.json",),
    "train": ("history.json",),
    "evaluate": ("metrics.json", "predictions.jsonl", "worst.jsonl"),
    "export": ("validation.json",),
}
_CONTEXTS = {"train": "training", "validation": "validation", "test": "testing"}  # MLflow's words


@dataclass(frozen=True)
class DatasetFacts:
    """A split of the data.

    Args:
        context: what it is for, in MLflow's words.
        digest: tells its content from others'.
        source: where the examples are.
        examples: how many there are.
    """

    context: str
    digest: str
    source: str
    examples: int


@dataclass
class StageLog:
    """What there is to log.

    Args:
        metrics: by name, the task's first metric first; MLflow groups charts by what stands before a slash.
        intervals: bounds of the metrics, by name.
        tags: by name.
        epochs: of the training, as in history.json.
        files: to be kept in a folder named like the stage.
        pictures: a directory of them; None if there is none.
        datasets: the splits that were read.
    """

    metrics: dict[str, float] = field(default_factory=dict)
    intervals: dict[str, float] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    epochs: list[dict[str, Any]] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)
    pictures: Path | None = None
    datasets: list[DatasetFacts] = field(default_factory=list)


def is_logged(stage: str) -> bool:
    """Whether a stage is one of the five; the champion's figures belong to another run."""
    return stage in _FILES


def stage_log(stage: str, directory: Path) -> StageLog:
    """Reads what there is to log of an artifact.

    Args:
        stage: which one of the five.
        directory: the artifact.

    Raises:
        OSError: if it is not there.
    """
    manifest = _read(directory / "artifact.json")
    log = StageLog(tags={f"key.{stage}": manifest["key"]})
    log.files = [directory / name for name in _FILES[stage]]
    if stage == "ingest":
        log.datasets = _datasets(manifest, directory)
    elif stage == "train":
        history = _read(directory / "history.json")
        log.metrics["best_epoch"] = history["best_epoch"]
        log.epochs = history["epochs"]
    elif stage == "evaluate":
        report = _read(directory / "metrics.json")
        split = report["split"]
        log.metrics = {f"{split}/{name}": value for name, value in report["metrics"].items()}
        for name, (low, high) in report["intervals"].items():
            log.intervals |= {f"{split}/{name}.low": low, f"{split}/{name}.high": high}
        log.pictures = directory / "plots"
    elif stage == "export":
        log.metrics = _costs(manifest, _read(directory / "validation.json"))
    return log


def epochs_seconds(epochs: Sequence[Mapping[str, Any]]) -> float:
    """What the epochs took together, those before an interruption too, which the stage's own time leaves out.

    Args:
        epochs: as in history.json.
    """
    return sum(epoch.get("seconds", 0.0) for epoch in epochs)


def _datasets(manifest: dict[str, Any], directory: Path) -> list[DatasetFacts]:
    """The splits; what was read, how, and for which of them is in the digest."""
    splits = _read(directory / "statistics.json")["splits"]
    return [
        DatasetFacts(
            _CONTEXTS[split],
            hashlib.sha256(f"{manifest['key']} {split}".encode()).hexdigest()[:16],
            str(directory / "examples" / f"{split}-*"),
            splits[split]["examples"],
        )
        for split in SPLITS
        if splits[split]["examples"]
    ]


def _costs(manifest: dict[str, Any], validation: dict[str, Any]) -> dict[str, float]:
    """Size and latency of the SavedModel."""
    found: dict[str, float] = {"model.bytes": manifest["summary"]["bytes"]}
    for size, measured in validation["latency_milliseconds"].items():
        found |= {f"latency.batch_{size}.{name}_ms": measured[name] for name in ("p50", "p99")}
    return found


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found
