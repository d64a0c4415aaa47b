"""The Beam job: the nodes that must run, as composite transforms of one pipeline.

Between the nodes flow references to artifacts. A node waits for what it reads, looks whether its artifact is
there already, works if it is not, and creates the manifest, exclusively.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.pvalue import AsDict, AsSingleton
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from components.artifacts.artifact import Manifest, Reference, inputs_hash, part_digests
from components.errors import UserError
from components.ingest.sources import Source
from components.work import Made, Work
from pipeline.config import PipelineConfig
from pipeline.config.places import Places
from pipeline.plan.planning import NodePlan
from pipeline.run.folder import RunFolder
from pipeline.run.workers import OPTIONS, worker_processes
from pipeline.store.store import Store


def run_job(config: PipelineConfig, places: Places, plans: Sequence[NodePlan], folder: RunFolder) -> None:
    """Runs every node whose plan says so, and waits for the end.

    Args:
        config: the run's configuration.
        places: where its things are.
        plans: as `make_plan` made them.
        folder: of the run.
    """
    options: list[str] = []
    with contextlib.ExitStack() as stack:
        if config.runner.type == "processes":
            stack.enter_context(worker_processes())
            options = OPTIONS
        # By name: the default local runner first tries to download another one.
        pipeline = beam.Pipeline(runner=FnApiRunner(), options=PipelineOptions(options))
        build(stack.enter_context(pipeline), config, places, plans, folder)


def build(
    pipeline: beam.Pipeline,
    config: PipelineConfig,
    places: Places,
    plans: Sequence[NodePlan],
    folder: RunFolder,
) -> None:
    """Adds the nodes to a pipeline, each as one box; it puts out its name and its artifact's reference."""
    artifacts: dict[str, beam.PCollection] = {}
    for plan in plans:
        if plan.artifact is not None and not plan.in_job:
            reused = beam.Create([(plan.name, plan.artifact.reference)])
            artifacts[plan.name] = pipeline | f"{plan.name} (reused)" >> reused
        else:
            upstream = [artifacts[other] for other in plan.stage.reads]
            node = _Node(config, places.sources, plan, folder, upstream)
            artifacts[plan.name] = pipeline | plan.name >> node


@dataclass(frozen=True)
class Begun:
    """A node that has all it reads.

    Args:
        upstream: the references of what it reads, by stage.
        read: the digests of the parts that it reads, by "stage part".
        inputs: their hash.
        found: its artifact, if it is there already.
        began: when, in seconds since 1970.
    """

    upstream: Mapping[str, Reference]
    read: Mapping[str, str]
    inputs: str
    found: Reference | None
    began: float


class _Node(beam.PTransform):
    """One node: waits for what it reads, looks for its artifact, works, commits."""

    def __init__(
        self,
        config: PipelineConfig,
        sources: Sequence[Source],
        plan: NodePlan,
        folder: RunFolder,
        upstream: list[beam.PCollection],
    ) -> None:
        super().__init__()
        self._config = config
        self._sources = sources
        self._plan = replace(plan, artifact=None)
        self._folder = folder
        self._upstream = upstream
        self._work = Work(
            root=folder.root,
            stage=plan.name,
            key=plan.key,
            status=folder.status(plan.name),
            lineage=plan.lineage,
            number=plan.number,
        )

    def expand(self, nothing: beam.PBegin) -> beam.PCollection:
        # A side input, so the node starts when everything it reads is there.
        upstream = AsDict(self._upstream | beam.Flatten(pipeline=nothing.pipeline))
        begun = (
            nothing
            | "name" >> beam.Create([self._plan.name])
            | "begin" >> beam.Map(begin, self._plan, self._work, upstream)
        )
        made = (
            begun
            | "unless it is there" >> beam.FlatMap(to_do)
            | "work" >> self._plan.stage.transform(self._config, self._sources, self._work)
        )
        commit = Commit(self._sources, self._plan, self._work, self._folder.id)
        committed = made | "commit" >> beam.ParDo(commit, AsSingleton(begun))
        found = begun | "what is there" >> beam.FlatMap(_there, self._plan.name)
        return (found, committed) | "one of both" >> beam.Flatten()


def begin(name: str, plan: NodePlan, work: Work, upstream: Mapping[str, Reference]) -> Begun:
    """Finds out what a node reads, and whether its artifact is there already."""
    with work.attempt("begin"):
        references = {name: upstream[name] for name in plan.stage.reads}
        read = {
            f"{name} {part}": references[name].digests[part]
            for name, parts in plan.stage.reads.items()
            for part in parts
        }
        inputs = inputs_hash(read)
        store = Store(work.root)
        try:
            found = store.find(plan.stage.kind, plan.key, inputs, plan.number)
            trouble = store.damage(found) if found else ""
        except ValueError as error:
            trouble = f"its manifest cannot be read: {error}"
        if trouble:
            raise UserError(f"{plan.name}: the artifact is damaged: {trouble}. Run again: it is rebuilt.")
        return Begun(references, read, inputs, found.reference if found else None, time.time())


def to_do(begun: Begun) -> list[dict[str, Reference]]:
    """Gives a node's transform what it reads, or nothing if there is nothing to do."""
    return [] if begun.found else [dict(begun.upstream)]


def _there(begun: Begun, name: str) -> list[tuple[str, Reference]]:
    return [(name, begun.found)] if begun.found else []


class Commit(beam.DoFn):
    """Creates the manifest of what a node made; where another attempt was quicker, hands on its artifact."""

    def __init__(self, sources: Sequence[Source], plan: NodePlan, work: Work, run: str) -> None:
        self._sources = sources
        self._plan = plan
        self._work = work
        self._run = run

    def process(self, made: Made, begun: Begun) -> Iterator[tuple[str, Reference]]:
        """Creates one manifest."""
        plan = self._plan
        with self._work.attempt("commit") as attempt:
            if plan.data is not None and not plan.data.unchanged(self._sources):
                raise UserError(
                    "The data changed while they were read; expected files that stay as they are for the "
                    "length of a run. Run again."
                )
            manifest = Manifest(
                stage=plan.name,
                key=plan.key,
                inputs=begun.inputs,
                number=plan.number,
                attempt=attempt.id,
                run=self._run,
                made=datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
                seconds=round(max(time.time() - begun.began, 0.0), 3),
                summary=made.summary,
                ingredients=plan.ingredients.as_json(),
                read=dict(begun.read),
                digests=part_digests(plan.stage.kind, made.files),
                files={each.name: each for each in made.files},
            )
            artifact = Store(self._work.root).commit(plan.stage.kind, manifest, plan.part_keys)
        yield plan.name, artifact.reference
