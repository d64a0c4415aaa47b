"""The plan: each node's key, whether it runs or is reused, and why. Made before anything runs."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from components.artifacts.artifact import Artifact, inputs_hash
from pipeline.config import PipelineConfig, flatten
from pipeline.config.places import Places
from pipeline.plan.fingerprint import DataState, library_versions, source_fingerprint
from pipeline.plan.ingredients import Ingredients
from pipeline.plan.stages import STAGES, Stage
from pipeline.store.store import Store


@dataclass(frozen=True)
class NodePlan:
    """What will happen to one node.

    Args:
        stage: the stage.
        ingredients: everything that shapes its artifact.
        part_keys: by part of the artifact, what it should be.
        lineage: the key of its training up to any epoch; empty for other stages.
        number: which artifact of its key is meant.
        artifact: what is reused; None if the node runs.
        reason: why it runs or is reused, for people.
        settled: whether nothing that it reads runs, so that nothing can come out otherwise than planned.
        forced: whether it runs only because it, or what it reads, was asked for.
        data: the state of the user's files, of the node that reads them.
    """

    stage: Stage
    ingredients: Ingredients
    part_keys: Mapping[str, str]
    number: int
    artifact: Artifact | None
    reason: str
    lineage: str = ""
    settled: bool = False
    forced: bool = False
    data: DataState | None = field(default=None)

    @property
    def name(self) -> str:
        """What people call it."""
        return self.stage.name

    @property
    def key(self) -> str:
        """What its artifact should be."""
        return self.ingredients.key()

    @property
    def runs(self) -> bool:
        """Whether its work is done (again)."""
        return self.artifact is None

    @property
    def in_job(self) -> bool:
        """Whether the job has a step for it: it runs, or what it reads may turn out otherwise."""
        return self.runs or not self.settled


def make_plan(
    config: PipelineConfig,
    places: Places,
    store: Store,
    until: str | None = None,
    force: Collection[str] = (),
) -> list[NodePlan]:
    """Decides for every node, in order.

    Args:
        config: the run's configuration.
        places: where its things are.
        store: where artifacts are looked up.
        until: the last stage wanted; None means all.
        force: stages to run although they could be reused; what builds on them runs, too.

    Returns:
        One entry a node, from ingest to `until`.
    """
    data = DataState.of(places.sources, store.fingerprints)
    plans: dict[str, NodePlan] = {}
    for stage in STAGES:
        plans[stage.name] = _node(stage.configured(config), config, data, store, plans, force)
        if stage.name == until:
            break
    return list(plans.values())


def _node(
    stage: Stage,
    config: PipelineConfig,
    data: DataState,
    store: Store,
    plans: Mapping[str, NodePlan],
    force: Collection[str],
) -> NodePlan:
    ingredients = _ingredients(stage, config, data, plans)
    key = ingredients.key()
    shaping = stage.parts(config, ingredients)
    part_keys = {part: shaping.get(part, ingredients).key(part) for part in stage.kind.parts}
    lineage = stage.lineage(config, ingredients).key("lineage") if stage.lineage else ""
    made = store.made(stage.name, key)
    number = max((each.number for each in made), default=1)
    read = known_digests(stage, store, plans)
    forced = [name for name in stage.reads if plans[name].forced]
    artifact, reason = None, ""
    if stage.name in force:
        reason = "forced"
    elif forced:
        reason = f"forced, with {forced[0]}"
    elif read is not None:
        artifact, reason = _found(stage, store, key, inputs_hash(read), number)
    if reason and made:  # forced or damaged
        number += 1
    if artifact is None:
        reason = reason or _why(stage, config, ingredients, store, plans, bool(made))
    else:
        reason = f"same key, made {artifact.manifest.made[:16].replace('T', ' ')} UTC"
    return NodePlan(
        stage,
        ingredients,
        part_keys,
        number,
        artifact,
        reason,
        lineage,
        settled=not any(plans[name].in_job for name in stage.reads),
        forced=stage.name in force or bool(forced),
        data=None if stage.reads else data,
    )


def next_number(kind: type[Artifact], store: Store, key: str) -> int:
    """Returns which artifact of a key is meant: the highest, or one more if that is damaged."""
    made = store.made(kind.stage, key)
    highest = max((each.number for each in made), default=1)
    for each in made:
        if each.number == highest and store.trouble(kind, key, each):
            return highest + 1
    return highest


def _found(stage: Stage, store: Store, key: str, inputs: str, number: int) -> tuple[Artifact | None, str]:
    """The artifact if it is there and whole; else what is damaged, or nothing."""
    try:
        artifact = store.find(stage.kind, key, inputs, number)
    except ValueError as error:
        return None, f"the artifact is damaged: its manifest cannot be read: {error}"
    if artifact is None:
        return None, ""
    if damage := store.damage(artifact):
        return None, f"the artifact is damaged: {damage}"
    return artifact, ""


def known_digests(stage: Stage, store: Store, plans: Mapping[str, NodePlan]) -> dict[str, str] | None:
    """What the node will read, of what is there or was made before; None if any of it is not known."""
    read: dict[str, str] = {}
    for name, parts in stage.reads.items():
        plan = plans[name]
        for part in parts:
            if plan.artifact is not None:
                digest: str | None = plan.artifact.manifest.digests[part]
            else:
                digest = store.known_digest(name, plan.part_keys[part])
            if digest is None:
                return None
            read[f"{name} {part}"] = digest
    return read


def _ingredients(
    stage: Stage, config: PipelineConfig, data: DataState, plans: Mapping[str, NodePlan]
) -> Ingredients:
    return Ingredients(
        settings={name: json.dumps(value) for name, value in flatten(stage.settings(config)).items()},
        upstream={
            f"{name} {part}": plans[name].part_keys[part]
            for name, parts in stage.reads.items()
            for part in parts
        },
        libraries=library_versions(stage.libraries),
        source=source_fingerprint(stage.module),
        data={} if stage.reads else data.fingerprints,
    )


def _why(
    stage: Stage,
    config: PipelineConfig,
    ingredients: Ingredients,
    store: Store,
    plans: Mapping[str, NodePlan],
    made: bool,
) -> str:
    """Says why a node runs."""
    if made:
        running = [name for name in stage.reads if plans[name].runs]
        if running:
            return f"{running[0]} runs, and may give other files"
        return "what it reads was rebuilt, with other files"
    recent = [
        (artifact, Ingredients.of(artifact.manifest.ingredients))
        for artifact in store.recent(stage.kind)
        if artifact.manifest.ingredients.get("settings", {}).get("task") == ingredients.settings["task"]
    ]
    if not recent:
        return "first run"
    _, nearest = max(recent, key=lambda pair: ingredients.likeness(pair[1]))
    changed = ingredients.differences(nearest)
    shown = "; ".join(changed[:3])
    more = f"and {len(changed) - 3} more" if len(changed) > 3 else ""
    return "; ".join(filter(None, (shown, more, stage.remark(config, changed))))
