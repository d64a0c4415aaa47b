"""A step of the job: the nodes of one stage, as elements that wait, look, work and commit.

What flows between the steps are the names of nodes and references to their artifacts.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Any

import apache_beam as beam
from apache_beam.pvalue import AsDict, AsSingleton

from components.artifacts.artifact import Manifest, Reference, inputs_hash, part_digests
from components.errors import UserError
from components.ingest.sources import Source
from components.own_files import DamagedError
from components.work import Failed, Made, PickedWork, Work
from pipeline.plan.node import NodePlan
from pipeline.run.folder import RunFolder
from pipeline.run.rungs import Decided
from pipeline.stages.stage import NodeWork
from pipeline.store.store import Store

Inputs = dict[str, Reference]
Handed = Reference | Failed
"""What a node hands on: its artifact, or why a trial has none."""


@dataclass(frozen=True)
class Begun:
    """A node that has all it reads.

    Args:
        upstream: the references of what it reads, by the names that the stage gives them.
        read: the digests of the parts that it reads, by "name part".
        inputs: their hash.
        reused: its artifact, if it is there already.
        began: when, in seconds since 1970.
    """

    upstream: Mapping[str, Reference]
    read: Mapping[str, str]
    inputs: str
    reused: Reference | None
    began: float


def work_of(plan: NodePlan, folder: RunFolder) -> Work:
    """Returns what the workers of a node need to know of it."""
    work = Work(
        root=folder.root,
        stage=plan.stage.name,
        key=plan.key,
        status=folder.status(plan.name),
        lineage=plan.lineage,
        number=plan.number,
        node=plan.name,
    )
    if not plan.choices:
        return work
    choices = {trial: work_of(choice, folder) for trial, choice in plan.choices.items()}
    return PickedWork(**vars(work), choices=choices, pick=folder.pick)


class Step(beam.PTransform):
    """Nodes of one stage; puts out their names and the references of their artifacts.

    Args:
        plans: of the nodes.
        sources: the user's files.
        folder: of the run.
        upstream: what the steps before put out.
        decided: in a sweep, one Decided that says which nodes are reached, and which trial is picked; None if
            all are.
    """

    def __init__(
        self,
        plans: Sequence[NodePlan],
        sources: Sequence[Source],
        folder: RunFolder,
        upstream: Sequence[beam.PCollection],
        decided: beam.PCollection | None = None,
    ) -> None:
        super().__init__()
        self._plans = {plan.name: _without_artifacts(plan) for plan in plans}
        self._sources = sources
        self._folder = folder
        self._upstream = upstream
        self._decided = [] if decided is None else [AsSingleton(decided)]

    def expand(self, nothing: beam.PBegin) -> beam.PCollection:
        """Adds the nodes, which begin once everything is there that they read."""
        # A side input, so the step starts when everything it reads is there.
        upstream = AsDict(tuple(self._upstream) | beam.Flatten(pipeline=nothing.pipeline))
        work = {name: work_of(plan, self._folder) for name, plan in self._plans.items()}
        begun = (
            nothing
            | "nodes" >> beam.Create(list(self._plans))
            | "spread" >> beam.Reshuffle()
            | "begin" >> beam.FlatMap(_begin, self._plans, work, upstream, *self._decided)
        )
        (stage,) = {plan.stage.name: plan.stage for plan in self._plans.values()}.values()
        nodes = [
            NodeWork(name, plan.config, self._sources, work[name], _given(plan), plan.parallel, plan.files)
            for name, plan in self._plans.items()
        ]
        made = begun | "unless it is there" >> beam.FlatMap(to_do) | "work" >> stage.transform(nodes)
        commit = Commit(self._plans, work, self._sources, self._folder.id)
        # Trials are committed one by one, and not when all of them are there.
        began = {} if stage.together else AsDict(begun | "began" >> beam.MapTuple(_began))
        committed = made | "commit" >> beam.ParDo(commit, upstream, began, *self._decided)
        reused = begun | "what is there" >> beam.FlatMap(_there)
        return (reused, committed) | "one of both" >> beam.Flatten()


def _given(plan: NodePlan) -> dict[str, Reference]:
    """What a node reads that no node makes."""
    return {name: read.artifact.reference for name, read in plan.reads.items() if read.artifact}


def _without_artifacts(plan: NodePlan) -> NodePlan:
    """A plan as workers take it: they look by themselves."""
    choices = {trial: replace(choice, artifact=None) for trial, choice in plan.choices.items()}
    return replace(plan, artifact=None, choices=choices)


def _begin(
    name: str,
    plans: Mapping[str, NodePlan],
    work: Mapping[str, Work],
    upstream: Mapping[str, Any],
    decided: Decided | None = None,
) -> Iterator[tuple[str, Begun]]:
    plan = plans[name]
    if plan.choices:
        assert decided is not None
        yield name, begin(plan.choices[decided.pick], work[name], upstream)
    elif any(isinstance(upstream.get(read.node), Failed) for read in plan.reads.values()):
        return  # its trial has failed, alone
    elif decided is None or name in decided.going_on:
        yield name, begin(plan, work[name], upstream)


def begin(plan: NodePlan, work: Work, upstream: Mapping[str, Reference]) -> Begun:
    """Finds out what a node reads, and whether its artifact is there already.

    Args:
        plan: of the node.
        work: of the node.
        upstream: references by the names of nodes.
    """
    with work.attempt("begin"):
        references, digests = _read(plan, upstream)
        inputs = inputs_hash(digests)
        store = Store(work.root)
        try:
            artifact = store.find(plan.stage.kind, plan.key, inputs, plan.number)
            trouble = store.damage(artifact) if artifact else ""
        except DamagedError as error:
            trouble = f"its manifest cannot be read: {error}"
        if trouble:
            raise UserError(f"{plan.name}: the artifact is damaged: {trouble}. Run again: it is rebuilt.")
        return Begun(references, digests, inputs, artifact.reference if artifact else None, time.time())


def _read(plan: NodePlan, upstream: Mapping[str, Reference]) -> tuple[dict[str, Reference], dict[str, str]]:
    """What a node reads, by the names that the stage gives it, and the digests of the parts."""
    references = {
        name: upstream[read.node] if read.artifact is None else read.artifact.reference
        for name, read in plan.reads.items()
    }
    digests = {
        f"{name} {part}": references[name].digests[part]
        for name, read in plan.reads.items()
        for part in read.parts
    }
    return references, digests


def to_do(node: tuple[str, Begun]) -> list[tuple[str, Inputs]]:
    """Gives a stage's transform what a node reads, or nothing if there is nothing to do."""
    name, begun = node
    return [] if begun.reused else [(name, dict(begun.upstream))]


def _began(name: str, begun: Begun) -> tuple[str, float]:
    return name, begun.began


def _there(node: tuple[str, Begun]) -> list[tuple[str, Reference]]:
    name, begun = node
    return [(name, begun.reused)] if begun.reused else []


class OneNode(beam.PTransform):
    """The transform of a single node, from what it reads to what it made, under its name.

    Args:
        name: of the node.
        transform: {name: Reference} to one Made.
    """

    def __init__(self, name: str, transform: beam.PTransform) -> None:
        super().__init__()
        self._name = name
        self._transform = transform

    def expand(self, nodes: beam.PCollection) -> beam.PCollection:
        """(name, {name: Reference}) to (name, Made)."""
        inputs = nodes | "inputs" >> beam.Values()
        return inputs | self._name >> self._transform | "made" >> beam.Map(lambda made: (self._name, made))


class Commit(beam.DoFn):
    """Creates the manifest of what a node made; where another attempt was quicker, hands on its artifact."""

    def __init__(
        self,
        plans: Mapping[str, NodePlan],
        work: Mapping[str, Work],
        sources: Sequence[Source],
        run: str,
    ) -> None:
        self._plans = plans
        self._work = work
        self._sources = sources
        self._run = run

    def process(
        self,
        node: tuple[str, Made | Failed],
        upstream: Mapping[str, Reference],
        began: Mapping[str, float],
        decided: Decided | None = None,
    ) -> Iterator[tuple[str, Handed]]:
        """Creates one manifest."""
        name, made = node
        if isinstance(made, Failed):
            yield name, made
            return
        plan, work = self._plans[name], self._work[name]
        if plan.choices:
            assert decided is not None
            plan = plan.choices[decided.pick]
        _, read = _read(plan, upstream)
        seconds = made.seconds if made.seconds is not None else time.time() - began.get(name, time.time())
        with work.attempt("commit") as attempt:
            if plan.data is not None and not plan.data.unchanged(self._sources):
                raise UserError(
                    "The data changed while they were read; expected files that stay as they are for the "
                    "length of a run. Run again."
                )
            manifest = Manifest(
                stage=plan.stage.name,
                key=plan.key,
                inputs=inputs_hash(read),
                number=plan.number,
                attempt=attempt.id,
                run=self._run,
                made=datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
                seconds=round(max(seconds, 0.0), 3),
                summary=made.summary,
                ingredients=plan.ingredients.as_json(),
                read=read,
                digests=part_digests(plan.stage.kind, made.files),
                files={file.name: file for file in made.files},
            )
            artifact = Store(work.root).commit(plan.stage.kind, manifest, plan.part_keys)
        yield name, artifact.reference
