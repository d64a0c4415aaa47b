"""What a plan needs to know of the model that training starts from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from components.artifacts.artifact import Artifact
from components.artifacts.evaluation import Evaluation
from components.artifacts.examples import Examples
from components.artifacts.tokens import Tokens
from components.artifacts.trained_model import TrainedModel
from components.evaluate.candidates import Trained
from pipeline.plan.node import NodePlan, Read, Trial
from pipeline.plan.planner import Planner
from pipeline.stages.evaluate import EXAMPLES, EvaluateStage
from pipeline.stages.tokenize import INITIAL_TOKENS
from pipeline.stages.train import INITIAL_MODEL

RETAINED, INITIAL = "retained", "initial"
"""In the place of a trial's id: the trained model and the initial one, on the initial model's test set."""


@dataclass(frozen=True)
class Initial:
    """The model that training starts from.

    Args:
        title: what people call it.
        examples: that it was measured on.
        tokens: with its vocabularies.
        model: its network.
    """

    title: str
    examples: Examples
    tokens: Tokens
    model: TrainedModel

    def artifacts(self) -> dict[str, Artifact]:
        """Returns what stages read of it, by the names that they give it."""
        return {INITIAL_TOKENS: self.tokens, INITIAL_MODEL: self.model}


def retention_nodes(
    initial: Initial, trial: Trial, nodes: Mapping[str, NodePlan], planner: Planner
) -> list[NodePlan]:
    """Plans how the trained model and the initial one are measured on the initial model's test set.

    Args:
        initial: where training starts from.
        trial: that is trained.
        nodes: of the trial, by name; its evaluation is among them.
        planner: of the run.
    """
    examples = {"ingest": Read(EXAMPLES, artifact=initial.examples)}
    stage = EvaluateStage(Trained(of_trial=False), floors=False)
    own = nodes[Evaluation.stage]
    trained = {name: Read(parts, node=own.reads[name].node) for name, parts in stage.candidate.reads.items()}
    made_before: dict[str, Artifact] = {"tokenize": initial.tokens, "train": initial.model}
    first = {name: Read(parts, artifact=made_before[name]) for name, parts in stage.candidate.reads.items()}
    where = f"the test set of {initial.title}"
    return [
        planner.node(
            stage, Trial(INITIAL, trial.config), {**examples, **first}, nodes, f"{initial.title} on {where}"
        ),
        planner.node(
            stage, Trial(RETAINED, trial.config), {**examples, **trained}, nodes, f"this model on {where}"
        ),
    ]
