"""Decides for one node: its key, whether it runs or is reused, and why."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from components.artifacts.artifact import Artifact, inputs_hash
from components.own_files import DamagedError
from pipeline.config import PipelineConfig
from pipeline.plan.fingerprint import DataState
from pipeline.plan.ingredients import Ingredients
from pipeline.plan.node import NodePlan, Read, Trial
from pipeline.plan.sayings import Sayings
from pipeline.plan.user_files import UserFiles
from pipeline.stages.stage import Stage
from pipeline.store.store import Store


@dataclass(frozen=True)
class Planner:
    """Decides for one node after the other.

    Args:
        store: where artifacts are looked up.
        data: the state of the user's files; None where no node reads them.
        force: stages to run although they could be reused.
        earlier: returns the keys of earlier runs of the same pipeline; asked only where it must be said what
            has changed. None: all that is there is compared with.
    """

    store: Store
    data: DataState | None
    force: Collection[str] = field(default=())
    earlier: Callable[[], Collection[str]] | None = field(default=None, repr=False, compare=False)
    _sayings: Sayings = field(default_factory=Sayings, repr=False, compare=False)
    _files: UserFiles = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_files", UserFiles(self.store.fingerprints))

    def node(
        self,
        stage: Stage,
        trial: Trial,
        reads: Mapping[str, Read],
        before: Mapping[str, NodePlan],
        purpose: str = "",
        stop: int = 0,
        waits: bool = False,
        ingredients: Ingredients | None = None,
    ) -> NodePlan:
        """Decides whether a node runs.

        Args:
            stage: of the node.
            trial: whose node it is.
            reads: what it reads.
            before: the nodes that are planned already, by name.
            purpose: why it is there, for people; of a stage of every run what has changed.
            stop: the epoch after which it stops, in a sweep.
            waits: whether it waits for more than it reads, and so may not be reached.
            ingredients: if they are known already.
        """
        config = trial.config
        ingredients = ingredients or self.ingredients(stage, config, reads, before)
        key = ingredients.key()
        shaping = stage.parts(config, ingredients)
        part_keys = {part: shaping.get(part, ingredients).key(part) for part in stage.kind.parts}
        lineage = stage.lineage(config, ingredients)
        made = self.store.made(stage.name, key)
        number = max((artifact.number for artifact in made), default=1)
        upstream = [before[read.node] for read in reads.values() if read.node]
        read_digests = known_digests(self.store, reads, before)
        forced = [node.name for node in upstream if node.forced]
        artifact, reason = None, ""
        if stage.name in self.force:
            reason = "forced"
        elif forced:
            reason = f"forced, with {forced[0]}"
        elif read_digests is not None:
            artifact, reason = self._find(stage, key, inputs_hash(read_digests), number)
        if reason and made:  # forced or damaged
            number += 1
        if artifact is None:
            reason = reason or purpose or self._why(stage, config, ingredients, upstream, bool(made))
        else:
            reason = f"same key, made {artifact.manifest.made[:16].replace('T', ' ')} UTC"
        return NodePlan(
            stage,
            trial.id,
            config,
            reads,
            ingredients,
            part_keys,
            number,
            artifact,
            reason,
            lineage.key("lineage") if lineage else "",
            settled=not waits and not any(node.in_job for node in upstream),
            forced=stage.name in self.force or bool(forced),
            data=None if reads else self.data,
            stop=stop,
            files=self._files.of(stage, config),
        )

    def _find(self, stage: Stage, key: str, inputs: str, number: int) -> tuple[Artifact | None, str]:
        """The artifact if it is there and whole; else what is damaged, or nothing."""
        try:
            artifact = self.store.find(stage.kind, key, inputs, number)
        except DamagedError as error:
            return None, f"the artifact is damaged: its manifest cannot be read: {error}"
        if artifact is None:
            return None, ""
        if damage := self.store.damage(artifact):
            return None, f"the artifact is damaged: {damage}"
        return artifact, ""

    def ingredients(
        self, stage: Stage, config: PipelineConfig, reads: Mapping[str, Read], before: Mapping[str, NodePlan]
    ) -> Ingredients:
        """Returns everything that shapes a node's artifact.

        Args:
            stage: of the node.
            config: of its trial.
            reads: what it reads.
            before: the nodes that are planned already, by name.
        """
        settings, versions, source = self._sayings.of(stage, config)
        return Ingredients(
            settings=settings,
            upstream={
                f"{name} {part}": before[read.node].part_keys[part] if read.node else digest_of(read, part)
                for name, read in reads.items()
                for part in read.parts
            },
            libraries=versions,
            source=source,
            data={
                **({} if reads or self.data is None else self.data.fingerprints),
                **{name: file.fingerprint for name, file in self._files.of(stage, config).items()},
            },
        )

    def _why(
        self,
        stage: Stage,
        config: PipelineConfig,
        ingredients: Ingredients,
        upstream: Sequence[NodePlan],
        made: bool,
    ) -> str:
        """Says why a node runs."""
        if made:
            running = [node.name for node in upstream if node.runs]
            if running:
                return f"{running[0]} runs, and may give other files"
            return "what it reads was rebuilt, with other files"
        task, own = ingredients.settings.get("task"), self.earlier() if self.earlier else None
        recent, others = [], False
        for artifact in self.store.recent(stage.kind):
            other = Ingredients.of(artifact.manifest.ingredients)
            if other is not None and other.settings.get("task") == task:
                if own is None or artifact.manifest.key in own:
                    recent.append(other)
                else:
                    others = True
        if not recent:  # what another pipeline does otherwise is no change
            return "first run of this name" if others else "first run"
        nearest = max(recent, key=ingredients.likeness)
        changed = ingredients.differences(nearest)
        shown = "; ".join(changed[:3])
        more = f"and {len(changed) - 3} more" if len(changed) > 3 else ""
        return "; ".join(filter(None, (shown, more, stage.remark(config, changed))))


def digest_of(read: Read, part: str) -> str:
    """Returns what a part is of an artifact that no node makes."""
    assert read.artifact is not None
    return read.artifact.manifest.digests[part]


def known_digests(
    store: Store, reads: Mapping[str, Read], nodes: Mapping[str, NodePlan]
) -> dict[str, str] | None:
    """What a node will read, of what is there or was made before; None if any of it is not known.

    Args:
        store: where artifacts are looked up.
        reads: what the node reads.
        nodes: those that are planned, by name.
    """
    known: dict[str, str] = {}
    for name, read in reads.items():
        for part in read.parts:
            digest = _known_digest(store, read, part, nodes)
            if digest is None:
                return None
            known[f"{name} {part}"] = digest
    return known


def _known_digest(store: Store, read: Read, part: str, nodes: Mapping[str, NodePlan]) -> str | None:
    if not read.node:
        return digest_of(read, part)
    node = nodes[read.node]
    if node.artifact is not None:
        return node.artifact.manifest.digests[part]
    if not node.stage.deterministic(node.config):
        return None
    return store.known_digest(node.stage.name, node.part_keys[part])
