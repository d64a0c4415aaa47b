"""Between the rungs of a sweep: all scores together decide which trials go on, or which one is picked.

Trials that fail hand on an error instead of an artifact.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import apache_beam as beam
from apache_beam.pvalue import AsDict

from components.artifacts.artifact import Artifact, Reference
from components.errors import UserError
from components.work import Failed
from pipeline.config.sweep import SweepConfig
from pipeline.plan.node import NodePlan, Plan, Rung
from pipeline.run.folder import RunFolder
from pipeline.sweep.draws import in_words
from pipeline.sweep.ranking import Ranked, Score, going_on, picked, rank


@dataclass(frozen=True)
class Decided:
    """What follows from the scores of a rung.

    Args:
        going_on: names of the nodes of the next rung that are reached.
        pick: the trial that is picked, after the last rung.
    """

    going_on: frozenset[str] = frozenset()
    pick: str = ""


class Comparisons:
    """What the steps of a sweep wait for.

    Args:
        pipeline: to which comparisons are added.
        plan: of the run.
        sweep: how trials are compared; None if the run has one trial.
        folder: of the run.
    """

    def __init__(
        self, pipeline: beam.Pipeline, plan: Plan, sweep: SweepConfig | None, folder: RunFolder
    ) -> None:
        self._pipeline = pipeline
        self._plan = plan
        self._sweep = sweep
        self._folder = folder
        self._decided: dict[int, beam.PCollection] = {}  # by the place of the rung

    def before(
        self, nodes: Sequence[NodePlan], outputs: Mapping[str, beam.PCollection]
    ) -> beam.PCollection | None:
        """Returns the Decided that a step waits for; None if it waits for none, or all is decided.

        Args:
            nodes: of the step.
            outputs: of the steps before, by the names of their nodes.
        """
        return self._after(self._place(nodes[0]) - 1, outputs)

    def finish(self, outputs: Mapping[str, beam.PCollection]) -> None:
        """Has the pick settled, whether anything is done with it or not."""
        if self._plan.picks:
            self._after(len(self._plan.rungs) - 1, outputs)

    def _after(self, place: int, outputs: Mapping[str, beam.PCollection]) -> beam.PCollection | None:
        if self._sweep is None or place < 0:
            return None
        names = dict.fromkeys(self._plan.rungs[place].nodes.values())
        if not any(self._plan[name].in_job for name in names):
            return None
        if place not in self._decided:
            steps = tuple({id(outputs[name]): outputs[name] for name in names}.values())
            made = steps | f"after rung {place + 1}" >> beam.Flatten(pipeline=self._pipeline)
            compare = Compare(self._plan, place, self._sweep, self._folder)
            self._decided[place] = made | f"compare {place + 1}" >> compare
        return self._decided[place]

    def _place(self, node: NodePlan) -> int:
        """Of the rung that a node is in; behind the last one for a node of the pick."""
        if node.choices:
            return len(self._plan.rungs)
        for place, rung in enumerate(self._plan.rungs):
            if (rung.stage, rung.stop) == (node.stage.name, node.stop):
                return place
        return 0


class Compare(beam.PTransform):
    """(node's name, Reference or Failed) of a rung to one Decided.

    Args:
        plan: of the run.
        place: which of its rungs.
        sweep: how trials are compared.
        folder: of the run, where the pick is settled.
    """

    def __init__(self, plan: Plan, place: int, sweep: SweepConfig, folder: RunFolder) -> None:
        super().__init__()
        rungs = plan.rungs
        self._decide = _Decide(
            rungs[place],
            rungs[place + 1].nodes if place + 1 < len(rungs) else {},
            {trial.id: trial.group for trial in plan.trials},
            {trial.id: in_words(trial.told) for trial in plan.trials},
            sweep,
            folder,
        )
        self._monitor = sweep.monitor

    def expand(self, outputs: beam.PCollection) -> beam.PCollection:
        """Waits for all of them."""
        scores = outputs | "score" >> beam.Map(_scored, self._monitor)
        return (
            outputs.pipeline
            | "all" >> beam.Create([None])
            | "decide" >> beam.Map(self._decide, AsDict(scores))
        )


def _scored(node: tuple[str, Reference | Failed], monitor: str) -> tuple[str, Score]:
    name, made = node
    if isinstance(made, Failed):
        return name, Score(None, made.error)
    artifact: Artifact = Artifact.load(made)
    return name, Score.of(artifact.summary, monitor)


@dataclass(frozen=True)
class _Decide:
    """A pure function of the scores, but for the pick, which is settled in the store."""

    rung: Rung
    following: Mapping[str, str]
    groups: Mapping[str, str]
    words: Mapping[str, str]
    sweep: SweepConfig
    folder: RunFolder

    def __call__(self, nothing: None, by_node: Mapping[str, Score]) -> Decided:
        """Decides by the scores of the nodes that were reached."""
        assert self.sweep.monitor is not None
        scores = {trial: by_node[node] for trial, node in self.rung.nodes.items() if node in by_node}
        ranked = rank(scores, self.groups, self.sweep.monitor)
        if self.rung.stop:
            assert self.sweep.halving is not None
            on = set(going_on(ranked, self.sweep.halving.reduction_factor))
            if not on:
                raise self._all_failed(ranked)
            names = {name for trial, name in self.following.items() if self.groups[trial] in on}
            return Decided(going_on=frozenset(names))
        pick = picked(ranked, self.sweep.monitor)
        if not pick:
            raise self._all_failed(ranked)
        return Decided(pick=self.folder.settle_pick(pick))

    def _all_failed(self, ranked: list[Ranked]) -> UserError:
        first = next(iter(ranked[0].scores))
        return UserError(
            f"all {len(ranked)} trials failed; trial {first} ({self.words[first]}): "
            f"{ranked[0].scores[first].error}"
        )
