"""The Beam job: the stages that must run, as composite transforms of one pipeline."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.pvalue import AsDict, AsSingleton
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from components.errors import UserError
from components.events import StageFinished, StageStarted, emit
from pipeline.config import PipelineConfig
from pipeline.plan.planning import StagePlan, data_fingerprints
from pipeline.plan.stages import StageDirectories
from pipeline.store.store import Store


def run_job(config: PipelineConfig, plans: list[StagePlan], store: Store) -> None:
    """Runs every stage whose plan says so, and waits for the end.

    Args:
        config: the run's configuration.
        plans: as `make_plan` made them.
        store: where artifacts go.
    """
    # By name: the default local runner first tries to download another one.
    with beam.Pipeline(runner=FnApiRunner(), options=PipelineOptions([])) as pipeline:
        build(pipeline, config, plans, store)


def build(pipeline: beam.Pipeline, config: PipelineConfig, plans: list[StagePlan], store: Store) -> None:
    """Adds the stages to a pipeline, each as one box; it puts out its name and its artifact's directory."""
    artifacts: dict[str, beam.PCollection] = {}
    for plan in plans:
        name = plan.stage.name
        if plan.artifact is not None:
            reused = beam.Create([(name, str(plan.artifact.directory))])
            artifacts[name] = pipeline | f"{name} (reused)" >> reused
        else:
            upstream = [artifacts[other] for other in plan.stage.upstream]
            artifacts[name] = pipeline | name >> _RunStage(config, plan, store, upstream)


class _RunStage(beam.PTransform):
    """One stage: waits for its upstream artifacts, works in a staging directory, commits."""

    def __init__(
        self, config: PipelineConfig, plan: StagePlan, store: Store, upstream: list[beam.PCollection]
    ) -> None:
        super().__init__()
        self._config = config
        self._plan = plan
        self._store = store
        self._upstream = upstream

    def expand(self, begin: beam.PBegin) -> beam.PCollection:
        name, key = self._plan.stage.name, self._plan.key
        staging = self._store.staging(name)
        directories = StageDirectories(str(staging), str(self._store.scratch(name, key)))
        # A side input, so the stage starts when everything it reads is there.
        upstream = AsDict(self._upstream | beam.Flatten(pipeline=begin.pipeline))
        started = (
            begin
            | "name" >> beam.Create([name])
            | "start" >> beam.Map(_start, self._store, str(staging), upstream)
        )
        summary = (
            started
            | "directories" >> beam.Map(lambda start: start["upstream"])
            | "work" >> self._plan.stage.transform(self._config, directories)
        )
        commit = _Commit(self._config, self._store, self._plan, str(staging))
        return summary | "commit" >> beam.ParDo(commit, AsSingleton(started))


def _start(name: str, store: Store, staging: str, upstream: dict[str, str]) -> dict[str, Any]:
    emit(StageStarted(name, staging))
    # Now, for another run may replace them.
    digests = {stage: store.digest(directory) for stage, directory in upstream.items()}
    return {"upstream": dict(upstream), "digests": digests, "time": time.time()}


class _Commit(beam.DoFn):
    def __init__(self, config: PipelineConfig, store: Store, plan: StagePlan, staging: str) -> None:
        self._config = config
        self._store = store
        self._name = plan.stage.name
        self._key = plan.key
        self._ingredients = plan.ingredients
        self._replaces = plan.replaces
        self._staging = staging

    def process(self, summary: dict[str, Any], started: dict[str, Any]) -> list[tuple[str, str]]:
        self._check_data()
        artifact = self._store.commit(
            Path(self._staging),
            self._name,
            self._key,
            self._ingredients,
            summary,
            seconds=time.time() - started["time"],
            replaces=self._replaces,
            upstream=started["digests"],
        )
        directory = str(artifact.directory)
        emit(StageFinished(self._name, directory, artifact.seconds, artifact.summary))
        return [(self._name, directory)]

    def _check_data(self) -> None:
        """Refuses to keep under a key what was not read from the data of that key."""
        planned = {name: value for name, value in self._ingredients.items() if name.startswith("data ")}
        if planned and planned != data_fingerprints(self._config, self._store):
            raise UserError(
                "The data changed while they were read; expected files that stay as they are for the length "
                "of a run. Run again."
            )
