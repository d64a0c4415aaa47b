"""The champion as one more candidate: it answers the same examples in the same job, unless it did before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from components.artifacts.artifact import inputs_hash
from components.artifacts.evaluation import Evaluation
from components.artifacts.exported_model import ExportedModel
from components.evaluate.candidates import Exported
from pipeline.plan.ingredients import Ingredients
from pipeline.plan.node import NodePlan, Plan, Read, Trial, node_name
from pipeline.plan.planner import Planner, known_digests
from pipeline.plan.warm_start import INITIAL, RETAINED
from pipeline.stages.evaluate import EvaluateStage
from pipeline.store.store import Store

if TYPE_CHECKING:
    from components.evaluate.rules import Retained
    from pipeline.tracking.champion import Champion

CHAMPION = "champion"
"""In the place of a trial: the candidate that is measured beside the run's own."""
RETENTION = tuple(node_name(Evaluation.stage, candidate) for candidate in (RETAINED, INITIAL))
"""The nodes that measure the trained model and the initial one on the latter's test set."""
_OF_CANDIDATE = (  # settings that it need not share
    "decode",
    "candidate",
    "evaluate.batch_size",
    "evaluate.baseline",
    "evaluate.calibrate",
)


def champion_node(champion: Champion, model: Path, plan: Plan, store: Store) -> NodePlan:
    """Plans how a champion is measured on the examples of a run.

    Args:
        champion: as it was found.
        model: its SavedModel on this machine.
        plan: of the run.
        store: where its figures may be.
    """
    trial = Trial(CHAMPION, plan.trials[0].config)
    stage = EvaluateStage(Exported(str(model), champion.identity), floors=False)
    nodes = {node.name: node for node in plan}
    planner = Planner(store, data=None)
    return planner.node(stage, trial, _reads(stage, plan), nodes, f"{champion.title}, on the same examples")


def measured_champion(
    champion: Champion, plan: Plan, store: Store, evaluated: Evaluation | None
) -> Evaluation | None:
    """Finds the figures of a champion on the examples of a run, wherever they were measured.

    Args:
        champion: as it was found.
        plan: of the run.
        store: where they may be.
        evaluated: what the run itself has measured, once it is there.
    """
    node = champion_node(champion, Path(), plan, store)
    wanted = [f"{name} {part}" for name, read in node.reads.items() for part in read.parts]
    if evaluated is not None:
        examples = {name: evaluated.manifest.read[name] for name in wanted}
    else:
        examples = known_digests(store, node.reads, {planned.name: planned for planned in plan}) or {}
    if not examples:
        return None
    for made in store.made(Evaluation.stage, node.key):
        if made.inputs == inputs_hash(examples) and not store.trouble(Evaluation, node.key, made):
            evaluation = store.find(Evaluation, node.key, *made)
            if isinstance(evaluation, Evaluation):
                return evaluation
    return _evaluation_of(champion.digest, examples, node.ingredients, store) if champion.digest else None


def measured_retention(own: Evaluation | None, initial: Evaluation | None) -> Retained | None:
    """Sets what was measured on the initial model's test set side by side; None without a warm start.

    Args:
        own: of the model that was trained.
        initial: of the one that training started from.
    """
    if own is None or initial is None:
        return None
    from components.evaluate.rules import Retained

    return Retained(own.measured(), initial.measured(), "the initial model on its test set")


def _reads(stage: EvaluateStage, plan: Plan) -> dict[str, Read]:
    """The examples that the run's own candidate is measured on."""
    own = plan[Evaluation.stage]
    return {name: replace(own.reads[name], parts=parts) for name, parts in stage.reads(own.config).items()}


def _evaluation_of(
    digest: str, examples: Mapping[str, str], wanted: Ingredients, store: Store
) -> Evaluation | None:
    """The evaluation on these examples that an export with this digest was made after."""
    predictions = {
        exported.manifest.read.get("evaluate predictions")
        for exported in store.recent(ExportedModel)
        if exported.manifest.digests["model"] == digest
    }
    for evaluation in store.recent(Evaluation):
        assert isinstance(evaluation, Evaluation)
        if (
            evaluation.manifest.digests["predictions"] in predictions
            and examples.items() <= evaluation.manifest.read.items()
            and _measured_alike(evaluation, wanted)
            and not store.damage(evaluation)
        ):
            return evaluation
    return None


def _measured_alike(evaluation: Evaluation, wanted: Ingredients) -> bool:
    ingredients = Ingredients.of(evaluation.manifest.ingredients)
    if ingredients is None:
        return False
    settings = wanted.reduced(without=_OF_CANDIDATE).settings
    return ingredients.reduced(without=_OF_CANDIDATE).settings == settings
