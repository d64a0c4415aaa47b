"""The plan of a run: its trials, and their nodes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from components.artifacts.artifact import Artifact
from pipeline.config import PipelineConfig
from pipeline.plan.fingerprint import DataState
from pipeline.plan.ingredients import Ingredients
from pipeline.stages.stage import Stage

FIRST = "1"
"""The only trial of a run that is no sweep."""


@dataclass(frozen=True)
class Trial:
    """One configuration that is trained and measured.

    Args:
        id: which one of the run.
        config: of this trial.
    """

    id: str
    config: PipelineConfig


def node_name(stage: str, trial: str) -> str:
    """Returns what people call the node of a stage and a trial, or another candidate."""
    return stage if trial == FIRST else f"{stage} {trial}"


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

    @property
    def name(self) -> str:
        """What people call it."""
        return node_name(self.stage.name, self.trial)

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


@dataclass(frozen=True)
class Plan:
    """The nodes of a run, every one behind those that it reads.

    Args:
        trials: of the run.
        nodes: of all trials; trials that agree share theirs.
        shared: by stage and trial, the name of the node.
    """

    trials: Sequence[Trial]
    nodes: Sequence[NodePlan]
    shared: Mapping[tuple[str, str], str]

    def __iter__(self) -> Iterator[NodePlan]:
        return iter(self.nodes)

    def __len__(self) -> int:
        return len(self.nodes)

    def __getitem__(self, name: str) -> NodePlan:
        """Returns the node of this name."""
        return {node.name: node for node in self.nodes}[name]

    def node(self, stage: str, trial: str = FIRST) -> NodePlan | None:
        """Returns the node of a stage and a trial; None if the run does not come to it."""
        name = self.shared.get((stage, trial))
        return self[name] if name else None

    def trials_of(self, node: NodePlan) -> list[str]:
        """Returns the ids of the trials that share a node; none if it belongs to another candidate."""
        return [
            trial.id for trial in self.trials if self.shared.get((node.stage.name, trial.id)) == node.name
        ]

    @property
    def last(self) -> NodePlan:
        """The last node of the first trial."""
        return [node for node in self.nodes if FIRST in self.trials_of(node)][-1]

    def with_node(self, node: NodePlan) -> Plan:
        """Returns the plan with one node more."""
        shared = {**self.shared, (node.stage.name, node.trial): node.name}
        return Plan(self.trials, [*self.nodes, node], shared)
