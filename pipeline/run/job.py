"""The Beam job: the nodes that must run, as steps of one pipeline."""

from __future__ import annotations

import contextlib

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from pipeline.config import PipelineConfig
from pipeline.config.places import Places
from pipeline.plan.node import NodePlan, Plan
from pipeline.run.folder import RunFolder
from pipeline.run.step import Step
from pipeline.run.workers import OPTIONS, worker_processes


def run_job(config: PipelineConfig, places: Places, plan: Plan, folder: RunFolder) -> None:
    """Runs every node whose plan says so, and waits for the end.

    Args:
        config: the run's configuration.
        places: where its things are.
        plan: of the run.
        folder: of the run.
    """
    options: list[str] = []
    with contextlib.ExitStack() as stack:
        if config.runner.type == "processes":
            stack.enter_context(worker_processes())
            options = OPTIONS
        # By name: the default local runner first tries to download another one.
        pipeline = beam.Pipeline(runner=FnApiRunner(), options=PipelineOptions(options))
        build(stack.enter_context(pipeline), places, plan, folder)


def build(pipeline: beam.Pipeline, places: Places, plan: Plan, folder: RunFolder) -> None:
    """Adds the nodes to a pipeline, step by step."""
    outputs: dict[str, beam.PCollection] = {}  # by the names of the nodes
    for (name, works), nodes in _steps(plan).items():
        if works:
            wanted = {read.node for node in nodes for read in node.reads.values() if read.node}
            upstream = list({id(outputs[name]): outputs[name] for name in wanted}.values())
            output = pipeline | name >> Step(nodes, places.sources, folder, upstream)
        else:
            reused = [(node.name, node.artifact.reference) for node in nodes if node.artifact]
            output = pipeline | f"{name} (reused)" >> beam.Create(reused)
        outputs |= {node.name: output for node in nodes}


def _steps(plan: Plan) -> dict[tuple[str, bool], list[NodePlan]]:
    """The nodes in order, by the name of their step and whether it works; those that go together as one."""
    steps: dict[tuple[str, bool], list[NodePlan]] = {}
    for node in plan:
        name = node.stage.name if node.stage.together else node.name
        steps.setdefault((name, node.in_job), []).append(node)
    return steps
