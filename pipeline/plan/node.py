"""The plan of a run: its trials, and their nodes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from components.artifacts.artifact import Artifact
from components.user_file import UserFile
from pipeline.config import PipelineConfig
from pipeline.plan.fingerprint import DataState
from pipeline.plan.ingredients import Ingredients
from pipeline.stages.stage import Stage

FIRST = "1"
"""The only trial of a run that is no sweep."""
PICK = "pick"
"""In the place of a trial's id: the one that a sweep picks, which is not known before."""


@dataclass(frozen=True)
class Trial:
    """One configuration that is trained and measured.

    Args:
        id: which one of the run.
        config: of this trial.
        settings: what a sweep has set in it, by path; nothing in a run of one trial.
        group: the id of the first trial with these settings, which differs in nothing but the seed.
        told: the settings for people; see `pipeline.sweep.draws.told`.
    """

    id: str
    config: PipelineConfig
    settings: Mapping[str, Any] = field(default_factory=dict)
    group: str = FIRST
    told: Mapping[str, Any] = field(default_factory=dict)


def node_name(stage: str, trial: str, stop: int = 0) -> str:
    """Returns what people call the node of a stage and a trial, or another candidate.

    Args:
        stage: its name.
        trial: the trial's id, or what else is measured.
        stop: the epoch after which it stops; 0 if it does not stop before its end.
    """
    until = f" to epoch {stop}" if stop else ""
    return f"{stage}{until}" if trial in (FIRST, PICK) else f"{stage} {trial}{until}"


@dataclass(frozen=True)
class Read:
    """What a node reads under one name.

    Args:
        parts: of the artifact.
        node: the name of the node that makes it; empty if it is there already.
        artifact: one that no node of the run makes; None if a node makes it.
    """

    parts: tuple[str, ...]
    node: str = ""
    artifact: Artifact | None = None


@dataclass(frozen=True)
class NodePlan:
    """What will happen to one node: a stage, for one trial or another candidate.

    Args:
        stage: the stage.
        trial: the id of its trial, the first of several that share it; or what else is measured.
        config: of its trial.
        reads: by the names that the stage gives them.
        ingredients: everything that shapes its artifact.
        part_keys: by part of the artifact, what it should be.
        number: which artifact of its key is meant.
        artifact: what is reused; None if the node runs.
        reason: why it runs or is reused, for people.
        lineage: the key of its unfinished work; empty for stages that have none.
        settled: whether nothing that it reads runs, so that nothing can come out otherwise than planned.
        forced: whether it runs only because it, or what it reads, was asked for.
        data: the state of the user's files, of the node that reads them.
        stop: the epoch after which it stops, in a sweep with halving; 0 if it trains to its end.
        choices: by trial, what it may be, if that follows from what a sweep picks.
        parallel: of a trial of a sweep, how many a worker trains at the same time; the run goes on without
            one that fails. 0 of other nodes.
        files: the user's files that it reads beside the artifacts.
    """

    stage: Stage
    trial: str
    config: PipelineConfig
    reads: Mapping[str, Read]
    ingredients: Ingredients
    part_keys: Mapping[str, str]
    number: int
    artifact: Artifact | None
    reason: str
    lineage: str = ""
    settled: bool = False
    forced: bool = False
    data: DataState | None = field(default=None)
    stop: int = 0
    choices: Mapping[str, NodePlan] = field(default_factory=dict)
    parallel: int = 0
    files: Mapping[str, UserFile] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What people call it."""
        return node_name(self.stage.name, self.trial, self.stop)

    @cached_property
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


@dataclass(frozen=True)
class Rung:
    """What the trials of a sweep train until they are compared.

    Args:
        stage: that trains them.
        stop: the epoch after which they are compared; 0 for the end.
        nodes: by the id of the trial, the name of its node; trials that agree share one. Those that are
            known not to come so far have none.
    """

    stage: str
    stop: int
    nodes: Mapping[str, str]


@dataclass(frozen=True)
class Plan:
    """The nodes of a run, every one behind those that it reads.

    Args:
        trials: of the run.
        nodes: of all trials; trials that agree share theirs.
        shared: by stage and trial, the name of the node; of a trial that stops several times, the last one.
        rungs: of a sweep, in order.
        pick: the trial that a sweep picks, where that is known already; else empty.
        picks: whether one is picked behind the last rung; a cross-validation picks none.
        rules: of a sweep, by which trials go on and one is picked.
    """

    trials: Sequence[Trial]
    nodes: Sequence[NodePlan]
    shared: Mapping[tuple[str, str], str]
    rungs: Sequence[Rung] = ()
    pick: str = ""
    picks: bool = True
    rules: Mapping[str, Any] = field(default_factory=dict)

    def __iter__(self) -> Iterator[NodePlan]:
        return iter(self.nodes)

    def __len__(self) -> int:
        return len(self.nodes)

    def __getitem__(self, name: str) -> NodePlan:
        """Returns the node of this name."""
        return self._by_name[name]

    @cached_property
    def _by_name(self) -> Mapping[str, NodePlan]:
        return {node.name: node for node in self.nodes}

    @cached_property
    def _trials_by_node(self) -> Mapping[str, list[str]]:
        """By name of the node; a sweep's nodes by rung, too."""
        pairs = [(name, trial) for (_, trial), name in self.shared.items()]
        pairs += [(name, trial) for rung in self.rungs for trial, name in rung.nodes.items()]
        ids = {trial.id: place for place, trial in enumerate(self.trials)}
        found: dict[str, dict[str, None]] = {}
        for name, trial in pairs:
            if trial in ids:
                found.setdefault(name, {})[trial] = None
        return {name: sorted(trials, key=ids.__getitem__) for name, trials in found.items()}

    def node(self, stage: str, trial: str = FIRST) -> NodePlan | None:
        """Returns the node of a stage and a trial; None if the run does not come to it."""
        name = self.shared.get((stage, trial))
        return self[name] if name else None

    def trials_of(self, node: NodePlan) -> list[str]:
        """Returns the ids of the trials that share a node; none if it belongs to another candidate."""
        return self._trials_by_node.get(node.name, [])

    @property
    def last(self) -> NodePlan:
        """The last node of the first trial; of a sweep the last one of all."""
        if self.rungs:
            return self.nodes[-1]
        return [node for node in self.nodes if FIRST in self.trials_of(node)][-1]

    @property
    def identity(self) -> str:
        """What it is the plan of, whatever of it is there already: hexadecimal.

        Of a sweep it follows from the first rung and the rules: which trials go on is known only later.
        """
        later = {name for rung in self.rungs[1:] for name in rung.nodes.values()}
        wanted = [self._wanted(node) for node in self.nodes if node.name not in later]
        rungs = [[rung.stage, rung.stop] for rung in self.rungs]
        return hashlib.sha256(json.dumps([wanted, rungs, self.rules]).encode()).hexdigest()

    def _wanted(self, node: NodePlan) -> list[Any]:
        if node.trial != PICK:
            return [node.name, node.key, node.forced]
        return [node.stage.name, node.stage.settings(self.trials[0].config), node.forced]

    def carried(self, carry: Callable[[Path], str]) -> Plan:
        """Returns the plan with all that stages read from this machine where workers elsewhere see it.

        Args:
            carry: puts a directory there, and returns its address.
        """
        nodes = [replace(node, stage=node.stage.carried(carry)) for node in self.nodes]
        return replace(self, nodes=nodes)

    def with_node(self, node: NodePlan) -> Plan:
        """Returns the plan with one node more."""
        shared = {**self.shared, (node.stage.name, node.trial): node.name}
        return replace(self, nodes=[*self.nodes, node], shared=shared)
