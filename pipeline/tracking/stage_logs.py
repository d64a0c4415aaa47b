"""What MLflow gets of each stage's artifact."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.artifacts.artifact import Artifact, artifact_folder
from components.artifacts.evaluation import Evaluation
from components.artifacts.examples import Examples
from components.artifacts.exported_model import ExportedModel
from components.artifacts.trained_model import CURVES, TrainedModel
from components.strict import SPLITS
from pipeline.plan.stages import STAGES

_PICTURES = "plots"
_CONTEXTS = {"train": "training", "validation": "validation", "test": "testing"}  # MLflow's words


@dataclass(frozen=True)
class DatasetFacts:
    """A split of the data.

    Args:
        context: what it is for, in MLflow's words.
        digest: of its content.
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
        epochs: of the training, as in its history.
        files: by the path in MLflow, the file on this machine, which may be called otherwise.
        datasets: the splits that were read.
    """

    metrics: dict[str, float] = field(default_factory=dict)
    intervals: dict[str, float] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    epochs: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, Path] = field(default_factory=dict)
    datasets: list[DatasetFacts] = field(default_factory=list)


def is_logged(node: str) -> bool:
    """Whether a node is one of the stages; the champion's figures belong to another run."""
    return any(node == stage.name for stage in STAGES)


def node_log(name: str, artifact: Artifact) -> StageLog:
    """Reads what there is to log of an artifact.

    Args:
        name: of the node that made it.
        artifact: whose files are brought to this machine if they are elsewhere.

    Raises:
        UserError: if a file of it is missing or damaged.
        OSError: if it cannot be read.
    """
    log = StageLog(tags={f"key.{name}": artifact.manifest.key})
    log.files = {f"{name}/{each}": artifact.file(each) for each in artifact.published if artifact.has(each)}
    if isinstance(artifact, Examples):
        log.datasets = _datasets(artifact)
    elif isinstance(artifact, TrainedModel):
        history = artifact.history()
        log.metrics["best_epoch"] = history["best_epoch"]
        log.epochs = history["epochs"]
        if artifact.has(CURVES):
            log.files[CURVES] = artifact.file(CURVES)
    elif isinstance(artifact, Evaluation):
        report = artifact.report()
        split = report["split"]
        log.metrics = {f"{split}/{name}": value for name, value in report["metrics"].items()}
        for metric, (low, high) in report["intervals"].items():
            log.intervals |= {f"{split}/{metric}.low": low, f"{split}/{metric}.high": high}
        log.files |= {f"{_PICTURES}/{each}": path for each, path in artifact.plots()}
    elif isinstance(artifact, ExportedModel):
        log.metrics = _costs(artifact)
    return log


def epochs_seconds(epochs: Sequence[Mapping[str, Any]]) -> float:
    """What the epochs took together, those before an interruption too, which the stage's own time leaves out.

    Args:
        epochs: as in the history of a training.
    """
    return sum(epoch.get("seconds", 0.0) for epoch in epochs)


def _datasets(examples: Examples) -> list[DatasetFacts]:
    manifest = examples.manifest
    splits = examples.statistics()["splits"]
    place = artifact_folder(examples.root, manifest.stage, manifest.key)
    return [
        DatasetFacts(_CONTEXTS[split], manifest.digests[split][:16], str(place), splits[split]["examples"])
        for split in SPLITS
        if splits[split]["examples"]
    ]


def _costs(exported: ExportedModel) -> dict[str, float]:
    """Size and latency of the SavedModel."""
    found: dict[str, float] = {"model.bytes": exported.summary["bytes"]}
    for size, measured in exported.validation()["latency_milliseconds"].items():
        found |= {f"latency.batch_{size}.{name}_ms": measured[name] for name in ("p50", "p99")}
    return found
