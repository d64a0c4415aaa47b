"""The classes of artifacts by the names of the nodes that make them."""

from __future__ import annotations

from components.artifacts.artifact import Artifact
from components.artifacts.evaluation import Champion
from pipeline.plan.stages import STAGES

KINDS: dict[str, type[Artifact]] = {
    **{stage.name: stage.kind for stage in STAGES},
    Champion.stage: Champion,
}
