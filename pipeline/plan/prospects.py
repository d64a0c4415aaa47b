"""What a plan knows of a push before anything is measured."""

from __future__ import annotations

from components.artifacts.exported_model import ExportedModel
from components.ingest.splits import held_out
from pipeline.config import PipelineConfig
from pipeline.plan.node import Plan


def unpushed(config: PipelineConfig, plan: Plan) -> str:
    """Says why the model will not be pushed, whatever its figures; empty if that depends on them.

    Args:
        config: of the run.
        plan: of the run; one that ends before the export pushes nothing.
    """
    if not any(node.stage.name == ExportedModel.stage for node in plan):
        return ""
    files = config.ingest.files if isinstance(config.ingest.files, dict) else {}
    return config.evaluate.refusal(is_tested="test" in {*files, *held_out(config.ingest)})
