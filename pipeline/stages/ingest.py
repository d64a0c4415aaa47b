"""The user's files to examples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from components.artifacts.artifact import Artifact, artifact_folder
from components.artifacts.examples import Examples
from components.ingest.splits import held_out
from components.strict import SPLITS
from pipeline.config import PipelineConfig
from pipeline.plan.ingredients import Ingredients
from pipeline.stages.log import DatasetFacts, StageLog
from pipeline.stages.stage import NodeWork, Reads, Stage, dump

if TYPE_CHECKING:
    import apache_beam as beam

_CONTEXTS = {"train": "training", "validation": "validation", "test": "testing"}  # MLflow's words


class IngestStage(Stage):
    """Reads, checks and splits the user's files."""

    kind = Examples
    module = "components.ingest.transform"
    libraries = ("apache-beam", "pyarrow")

    def reads(self, config: PipelineConfig) -> Reads:
        """Nothing but the user's files."""
        return {}

    def settings(self, config: PipelineConfig) -> dict[str, Any]:
        """Files count by their content, and fractions only where no files are named."""
        # By the text's hash is how it always was: configurations that do not say otherwise keep their keys.
        by_hash = ("split",) if config.ingest.split.type == "hash" else ()
        settings = dump(config.ingest, "files", "holdout", *by_hash)
        return {"task": config.task, "ingest": {**settings, "holdout": held_out(config.ingest)}}

    def parts(self, config: PipelineConfig, whole: Ingredients) -> dict[str, Ingredients]:
        """A split is shaped by its own files, or by those of train, which it is taken from."""
        examples = ("ingest.keep", "ingest.max_rejected")
        own = config.ingest.files if isinstance(config.ingest.files, dict) else {"train": ()}
        given = set(own) - ({"train"} if held_out(config.ingest) else set())  # a split shapes no part of them
        parts: dict[str, Ingredients] = {
            split: whole.reduced(
                without=(*examples, "ingest.split") if split in given else examples,
                data=(split if split in own else "train",),
            )
            for split in SPLITS
        }
        checked = () if held_out(config.ingest) else ("ingest.split",)  # only, and not split
        return {**parts, "kept": whole.reduced(without=("ingest.max_rejected", *checked))}

    def work(self, node: NodeWork) -> beam.PTransform:
        """Makes components.ingest.transform.Ingest."""
        from components.ingest.transform import Ingest

        return Ingest(node.config.ingest, node.config.task, node.sources, node.work)

    def describe(self, summary: Mapping[str, Any]) -> str:
        """Counts examples by split, and what was rejected."""
        counts = ", ".join(f"{count:,} {split}" for split, count in summary["examples"].items())
        return f"{counts}; {summary['rejected']:,} rejected"

    def log(self, artifact: Artifact) -> StageLog:
        """Adds the splits as data sets."""
        log = super().log(artifact)
        assert isinstance(artifact, Examples)
        manifest, splits = artifact.manifest, artifact.statistics()["splits"]
        place = str(artifact_folder(artifact.root, manifest.stage, manifest.key))
        log.datasets = [
            DatasetFacts(_CONTEXTS[split], manifest.digests[split][:16], place, splits[split]["examples"])
            for split in SPLITS
            if splits[split]["examples"]
        ]
        return log
