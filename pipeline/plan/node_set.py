"""Nodes while they are planned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from components.artifacts.artifact import Artifact
from pipeline.plan.node import NodePlan, Read, Trial
from pipeline.plan.planner import Planner
from pipeline.stages.stage import Stage


class NodeSet:
    """Plans nodes one after the other; trials whose nodes have the same key share one.

    Args:
        planner: decides for one node.
        given: what stages read that no node makes, by the names that they give it.
        parallel: of a sweep, how many trials a worker trains at the same time.
    """

    def __init__(self, planner: Planner, given: Mapping[str, Artifact], parallel: int = 0) -> None:
        self.planner = planner
        self.by_name: dict[str, NodePlan] = {}
        """In order."""
        self.shared: dict[tuple[str, str], str] = {}
        """By stage and trial, the name of the node that was planned last."""
        self._given = given
        self._parallel = parallel
        self._names: dict[tuple[str, str], str] = {}  # by stage and key

    def add(
        self, stage: Stage, trial: Trial, purpose: str = "", stop: int = 0, waits: bool = False
    ) -> NodePlan:
        """Plans the node of a stage and a trial, unless there is one with its key.

        Args:
            stage: of the node.
            trial: whose node it is.
            purpose: as for `Planner.node`.
            stop: likewise.
            waits: likewise.
        """
        reads = self.reads(stage, trial)
        ingredients = self.planner.ingredients(stage, trial.config, reads, self.by_name)
        case = stage.name, ingredients.key()
        if case not in self._names:
            node = self.planner.node(
                stage, trial, reads, self.by_name, purpose, stop=stop, waits=waits, ingredients=ingredients
            )
            node = replace(node, parallel=self._parallel if stage.together else 0)
            self._names[case] = node.name
            self.by_name[node.name] = node
        self.shared[stage.name, trial.id] = self._names[case]
        return self.by_name[self._names[case]]

    def reads(self, stage: Stage, trial: Trial) -> dict[str, Read]:
        """What the node of a trial reads: what nodes before it make, or what is given."""
        return {
            name: Read(parts, artifact=self._given[name])
            if name in self._given
            else Read(parts, node=self.shared[name, trial.id])
            for name, parts in stage.reads(trial.config).items()
        }
