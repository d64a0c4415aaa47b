"""Tokens to a fitted model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from components.artifacts.artifact import Artifact
from components.artifacts.trained_model import CURVES, TrainedModel
from pipeline.config import PipelineConfig
from pipeline.plan.ingredients import Ingredients
from pipeline.stages.log import StageLog
from pipeline.stages.stage import NodeWork, Reads, Stage, dump

if TYPE_CHECKING:
    import apache_beam as beam


class TrainStage(Stage):
    """Fits a trial's model; all trials are elements of one step."""

    kind = TrainedModel
    module = "components.train.transform"
    libraries = ("tensorflow", "keras", "numpy", "scipy")
    together = True
    of_trial = True

    def reads(self, config: PipelineConfig) -> Reads:
        """The tokens that it fits to, and those that it is watched on."""
        return {"tokenize": ("vocabulary", "train", "validation")}

    def settings(self, config: PipelineConfig) -> dict[str, Any]:
        """The network, how it is fitted, and the seed."""
        return {
            "task": config.task,
            "seed": config.seed,
            "model": dump(config.model),
            "train": dump(config.train),
        }

    def lineage(self, config: PipelineConfig, whole: Ingredients) -> Ingredients:
        """A training goes on after its last epoch, unless something changes over all of its epochs."""
        train = config.train
        spans = train.learning_rate_schedule != "constant" or not isinstance(
            train.teacher_forcing_ratio, float
        )
        return whole if spans else whole.reduced(without=("train.epochs",))

    def work(self, node: NodeWork) -> beam.PTransform:
        """A step of its own for one trial."""
        return self.transform([node])

    def transform(self, nodes: Sequence[NodeWork]) -> beam.PTransform:
        """Makes components.train.transform.Train."""
        from components.train.transform import Train, Trial

        return Train(
            {
                node.name: Trial(
                    node.config.train, node.config.model, node.config.task, node.config.seed, node.work
                )
                for node in nodes
            }
        )

    def describe(self, summary: Mapping[str, Any]) -> str:
        """Says how large the model is, which epoch was kept, and its loss."""
        name = "loss" if "loss" in summary else "squared_error"  # of a readout in closed form
        kept = f"{summary['parameters']:,} parameters, epoch {summary['kept_epoch']} kept"
        return f"{kept}, {name.replace('_', ' ')} {summary.get(f'val_{name}', summary[name]):.4f}"

    def log(self, artifact: Artifact) -> StageLog:
        """Adds the epochs and their curves."""
        log = super().log(artifact)
        assert isinstance(artifact, TrainedModel)
        history = artifact.history()
        log.metrics["best_epoch"] = history["best_epoch"]
        log.epochs = history["epochs"]
        if artifact.has(CURVES):
            log.files[CURVES] = artifact.file(CURVES)
        return log
