"""The champion as one more node: it answers the same examples in the same job, unless it did before."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from components.artifacts.artifact import Artifact, cache_folder, inputs_hash
from components.artifacts.evaluation import Champion, Evaluation
from components.artifacts.exported_model import ExportedModel
from pipeline.config import PipelineConfig
from pipeline.plan.ingredients import Ingredients
from pipeline.plan.planning import NodePlan, known_digests, next_number
from pipeline.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Sequence

    import apache_beam as beam

    from components.ingest.sources import Source
    from components.work import Work
    from pipeline.tracking.registry import Champion as ChampionModel

_ANSWERS = ("decode", "evaluate.batch_size")  # settings that shape answers; a SavedModel has its own


def champion_folder(identity: str) -> Path:
    """Where a champion's files are copied to, if they are not on this machine."""
    return cache_folder() / "champions" / hashlib.sha256(identity.encode()).hexdigest()[:16]


def champion_plan(
    champion: ChampionModel, model: Path, plans: Mapping[str, NodePlan], store: Store
) -> NodePlan:
    """Plans how a champion is measured on the examples of this run.

    Args:
        champion: as it was found.
        model: its SavedModel on this machine.
        plans: of the run's nodes, by name.
        store: where its figures may be.
    """
    evaluate = plans["evaluate"]
    transform = partial(_measure, model)
    stage = replace(evaluate.stage, kind=Champion, reads=_reads(evaluate), transform=transform, parts=_whole)
    ingredients = _ingredients(champion.identity, evaluate)
    return NodePlan(
        stage,
        ingredients,
        {part: ingredients.key(part) for part in Champion.parts},
        next_number(Champion, store, ingredients.key()),
        artifact=None,
        reason=f"{champion.title}, on the same examples",
    )


def measured_champion(
    champion: ChampionModel, plans: Mapping[str, NodePlan], store: Store, evaluated: Evaluation | None
) -> Evaluation | None:
    """Finds the figures of a champion on the examples of this run, wherever they were measured.

    Args:
        champion: as it was found.
        plans: of the run's nodes, by name.
        store: where they may be.
        evaluated: what the run itself has measured, once it is there.
    """
    evaluate = plans["evaluate"]
    if evaluated is not None:
        wanted = [f"{name} {part}" for name, parts in _reads(evaluate).items() for part in parts]
        examples = {name: evaluated.manifest.read[name] for name in wanted}
    else:
        examples = known_digests(replace(evaluate.stage, reads=_reads(evaluate)), store, plans) or {}
    if not examples:
        return None
    ingredients = _ingredients(champion.identity, evaluate)
    key = ingredients.key()
    for made in store.made(Champion.stage, key):
        if made.inputs == inputs_hash(examples) and not store.trouble(Champion, key, made):
            found = store.find(Champion, key, *made)
            if isinstance(found, Evaluation):
                return found
    return _evaluation_of(champion.digest, examples, ingredients, store) if champion.digest else None


def _reads(evaluate: NodePlan) -> dict[str, tuple[str, ...]]:
    """The examples, and the labels: a champion brings its own tokenizer and weights."""
    return {"ingest": evaluate.stage.reads["ingest"], "tokenize": ("vocabulary",)}


def _evaluation_of(
    digest: str, examples: Mapping[str, str], wanted: Ingredients, store: Store
) -> Evaluation | None:
    """The evaluation on these examples that an export with this digest was made after."""
    predictions = {
        exported.manifest.read.get("evaluate predictions")
        for exported in store.recent(ExportedModel)
        if exported.manifest.digests["model"] == digest
    }
    for found in store.recent(Evaluation):
        assert isinstance(found, Evaluation)
        same_examples = examples.items() <= found.manifest.read.items()
        if (
            found.manifest.digests["predictions"] in predictions
            and same_examples
            and _measures_alike(found, wanted)
            and not store.damage(found)
        ):
            return found
    return None


def _measures_alike(found: Artifact, wanted: Ingredients) -> bool:
    settings = Ingredients.of(found.manifest.ingredients).reduced(without=_ANSWERS).settings
    return settings == wanted.reduced(without=("champion",)).settings


def _ingredients(identity: str, evaluate: NodePlan) -> Ingredients:
    """What shapes the champion's figures: itself, the examples, and how they are measured."""
    whole = evaluate.ingredients.reduced(without=_ANSWERS)
    return replace(
        whole,
        settings={**whole.settings, "champion": json.dumps(identity)},
        upstream={
            f"{name} {part}": whole.upstream[f"{name} {part}"]
            for name, parts in _reads(evaluate).items()
            for part in parts
        },
    )


def _whole(_: PipelineConfig, __: Ingredients) -> dict[str, Ingredients]:
    return {}


def _measure(model: Path, config: PipelineConfig, sources: Sequence[Source], work: Work) -> beam.PTransform:
    from components.evaluate.saved_model import LoadSavedModel
    from components.evaluate.transform import Evaluate

    return Evaluate(config.evaluate, config.decode, config.task, work, LoadSavedModel(str(model)))
