"""The plan: each stage's key, whether it runs or is reused, and why. Made before anything runs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from components.ingest.sources import find_sources
from pipeline.config import PipelineConfig, flatten
from pipeline.plan.fingerprint import FileFingerprints, library_versions, source_fingerprint
from pipeline.plan.stages import STAGES, Stage
from pipeline.store.store import Artifact, Store


@dataclass(frozen=True)
class StagePlan:
    """What will happen to one stage.

    Args:
        stage: the stage.
        key: hex SHA-256 over the ingredients.
        ingredients: everything that shapes the stage's output, by name.
        artifact: what is reused; None if the stage runs.
        reason: why it runs or is reused, for people.
        replaces: the artifact of the same key that is made anew.
        forced: whether it runs only because it, or what it reads, was asked for.
    """

    stage: Stage
    key: str
    ingredients: dict[str, str]
    artifact: Artifact | None
    reason: str
    replaces: Artifact | None = None
    forced: bool = False

    @property
    def runs(self) -> bool:
        """Whether the stage's work is done (again)."""
        return self.artifact is None


def make_plan(
    config: PipelineConfig, store: Store, until: str | None = None, force: Collection[str] = ()
) -> list[StagePlan]:
    """Decides for every stage, in order.

    Args:
        config: the run's configuration.
        store: where artifacts are looked up.
        until: the last stage wanted; None means all.
        force: stages to run although they could be reused; what builds on them runs, too.

    Returns:
        One entry a stage, from ingest to `until`.
    """
    plans: dict[str, StagePlan] = {}
    for stage in STAGES:
        ingredients = _ingredients(stage, config, store, plans)
        key = key_of(ingredients)
        found = store.find(stage.name, key)
        forced = [name for name in stage.upstream if plans[name].forced]
        if stage.name in force:
            reason, runs = "forced", True
        elif forced:
            reason, runs = f"forced, with {forced[0]}", True
        elif found is None:
            reason, runs = _difference(ingredients, _nearest(ingredients, store.all(stage.name))), True
        elif damage := found.damage():
            reason, runs = f"the artifact is damaged: {damage}", True
        elif others := _made_anew(found, plans):
            reason, runs = f"{others[0]} was made anew, with other files", True
        elif "train" in stage.upstream and plans["train"].runs:  # the other stages give the same files again
            reason, runs = "train runs, and may give other weights", True
        else:
            reason, runs = f"same key, made {found.made[:16].replace('T', ' ')} UTC", False
        plans[stage.name] = StagePlan(
            stage,
            key,
            ingredients,
            artifact=None if runs else found,
            reason=reason,
            replaces=found if runs else None,
            forced=stage.name in force or bool(forced),
        )
        if stage.name == until:
            break
    return list(plans.values())


def _made_anew(found: Artifact, plans: dict[str, StagePlan]) -> list[str]:
    """The stages whose reused artifact is not the one that this one was made from, although the key is."""
    reused = {name: plan.artifact for name, plan in plans.items() if plan.artifact}
    return [name for name, artifact in reused.items() if not found.made_from(name, artifact)]


def key_of(ingredients: dict[str, str]) -> str:
    """Returns the hex SHA-256 over ingredients."""
    return hashlib.sha256(json.dumps(ingredients, sort_keys=True).encode()).hexdigest()


def _ingredients(
    stage: Stage, config: PipelineConfig, store: Store, plans: dict[str, StagePlan]
) -> dict[str, str]:
    ingredients = {
        f"config {name}": json.dumps(value) for name, value in flatten(stage.settings(config)).items()
    }
    ingredients |= {f"upstream {name}": plans[name].key for name in stage.upstream}
    ingredients |= {f"library {name}": number for name, number in library_versions(stage.libraries).items()}
    ingredients["source code"] = source_fingerprint(stage.module)
    return ingredients if stage.upstream else ingredients | data_fingerprints(config, store)


def data_fingerprints(config: PipelineConfig, store: Store) -> dict[str, str]:
    """Returns, by split, the hash of the files' contents and of how each is read."""
    known = FileFingerprints(store.root / "fingerprints.json")
    read: dict[str, list[Any]] = {}
    for source in find_sources(config.ingest, config.task):
        files = [(known.of(path), path.endswith(".gz")) for path in source.files.values()]
        read.setdefault(source.split, []).append([source.format, files])
    known.save()
    return {
        f"data {split}": hashlib.sha256(json.dumps(sources).encode()).hexdigest()
        for split, sources in read.items()
    }


def _nearest(ingredients: dict[str, str], artifacts: Iterable[Artifact]) -> Artifact | None:
    """Returns the artifact for the same task whose ingredients differ least, the newest of several."""

    def likeness(artifact: Artifact) -> tuple[int, str]:
        same = ingredients.items() & artifact.ingredients.items()
        return len(same), artifact.made

    task = ingredients["config task"]
    candidates = [each for each in artifacts if each.ingredients.get("config task") == task]
    return max(candidates, key=likeness, default=None)


def _difference(ingredients: dict[str, str], before: Artifact | None) -> str:
    """Says which ingredients differ from an earlier artifact's, own settings first."""
    if before is None:
        return "first run"
    changed = []
    names = ingredients.keys() | before.ingredients.keys()
    for name in sorted(names, key=lambda name: (not name.startswith("config "), name)):
        new, old = ingredients.get(name), before.ingredients.get(name)
        if new == old:
            continue
        kind, _, rest = name.partition(" ")
        if kind == "config":
            changed.append(f"{rest}: {old or 'absent'} -> {new or 'absent'}")
        elif kind == "library":
            changed.append(f"{rest} {old or 'absent'} -> {new or 'absent'}")
        elif kind == "upstream":
            changed.append(f"{rest} differs")
        elif kind == "data":
            changed.append(f"the {rest} files differ")
        else:
            changed.append("the stage's source code differs")
    shown = "; ".join(changed[:3])
    return f"{shown}; and {len(changed) - 3} more" if len(changed) > 3 else shown
