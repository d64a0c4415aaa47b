"""The stages. A new one is a file here, and a line below."""

from __future__ import annotations

from components.errors import UserError
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
    """Returns the stage of this name.

    Raises:
        UserError: if there is none.
    """
    known = {stage.name: stage for stage in STAGES}
    if name not in known:
        raise UserError(f"received the stage {name!r}, expected one of {', '.join(known)}")
    return known[name]
