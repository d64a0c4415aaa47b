"""A fitted model to a SavedModel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from components.artifacts.artifact import Artifact
from components.artifacts.exported_model import ExportedModel
from pipeline.config import PipelineConfig
from pipeline.stages.log import StageLog
from pipeline.stages.stage import NodeWork, Reads, Stage, dump

if TYPE_CHECKING:
    import apache_beam as beam


class ExportStage(Stage):
    """Freezes the model with tokenizer and decoder, and proves what it has frozen."""

    kind = ExportedModel
    module = "components.export.transform"
    libraries = ("tensorflow", "tensorflow-text", "keras", "tensorflow-serving-api")

    def reads(self, config: PipelineConfig) -> Reads:
        """The model, its vocabularies, and the answers that must come again."""
        return {"tokenize": ("vocabulary",), "train": ("model",), "evaluate": ("predictions",)}

    def settings(self, config: PipelineConfig) -> dict[str, Any]:
        """All but where it is served."""
        return {
            "task": config.task,
            "decode": dump(config.decode),
            "export": dump(config.export, "directory", "keep_versions"),
        }

    def plugs(self, config: PipelineConfig) -> tuple[object, ...]:
        """Layers and tokenizers."""
        return (config.tokenize, config.model)

    def deterministic(self, config: PipelineConfig) -> bool:
        """No: latency is measured."""
        return False

    def work(self, node: NodeWork) -> beam.PTransform:
        """Makes components.export.transform.Export."""
        from components.export.transform import Export

        return Export(node.config.export, node.config.task, node.config.decode, node.work)

    def describe(self, summary: Mapping[str, Any]) -> str:
        """Counts what was replayed."""
        return f"{summary['replayed']} examples replayed in a fresh process without a difference"

    def details(self, summary: Mapping[str, Any]) -> list[str]:
        """Says what each tier of the validation found."""
        return [f"{name:<10} {result}" for name, result in summary.get("tiers", {}).items()]

    def log(self, artifact: Artifact) -> StageLog:
        """Adds size and latency of the SavedModel."""
        log = super().log(artifact)
        assert isinstance(artifact, ExportedModel)
        log.metrics["model.bytes"] = artifact.summary["bytes"]
        for size, measured in artifact.validation()["latency_milliseconds"].items():
            log.metrics |= {f"latency.batch_{size}.{name}_ms": measured[name] for name in ("p50", "p99")}
        return log
