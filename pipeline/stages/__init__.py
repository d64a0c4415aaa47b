"""The stages. A new one is a file here, and a line below."""

from __future__ import annotations

from pipeline.stages.evaluate import EvaluateStage
from pipeline.stages.export import ExportStage
from pipeline.stages.ingest import IngestStage
from pipeline.stages.stage import Stage
from pipeline.stages.tokenize import TokenizeStage
from pipeline.stages.train import TrainStage

STAGES: tuple[Stage, ...] = (
    IngestStage(),
    TokenizeStage(),
    TrainStage(),
    EvaluateStage(),
    ExportStage(),
)


def stage_named(name: str) -> Stage:
    """Returns the stage of this name."""
    return next(stage for stage in STAGES if stage.name == name)
