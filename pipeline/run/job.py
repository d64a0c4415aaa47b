"""The Beam job: the nodes that must run, as steps of one pipeline."""

from __future__ import annotations

import hashlib
import re
import tempfile
from pathlib import Path

import apache_beam as beam
from upath import UPath

from components.carried import carry
from pipeline.config import PipelineConfig
from pipeline.config.places import Places
from pipeline.config.sweep import SweepConfig
from pipeline.engines.engine import Engine, Job
from pipeline.plan.node import FIRST, NodePlan, Plan, node_name
from pipeline.run.folder import RunFolder
from pipeline.run.rungs import Comparisons
from pipeline.run.step import Step


def submit(
    config: PipelineConfig, places: Places, plan: Plan, folder: RunFolder, engine: Engine, name: str
) -> Job:
    """Has every node run whose plan says so.

    Args:
        config: the run's configuration.
        places: where its things are.
        plan: of the run.
        folder: of the run.
        engine: what runs them.
        name: of the job.
    """
    with tempfile.TemporaryDirectory(prefix="rnnpipe-") as scratch:
        packages: list[Path] = []
        first: beam.PTransform | None = None
        if engine.elsewhere:
            from pipeline.engines.package import build_packages
            from pipeline.engines.preflight import preflight

            packages = build_packages(config, Path(scratch))
            first = preflight(config, places, folder)
            plan = plan.carried(lambda directory: carry(directory, places.root))

        def steps(pipeline: beam.Pipeline) -> None:
            build(pipeline, places, plan, folder, first, config.sweep)

        return engine.submit(steps, name, packages)


def job_name(name: str, plan: Plan, root: UPath) -> str:
    """Returns the name of a plan's job, in letters that all engines allow.

    The same plan under another root is another job, perhaps of somebody else who uses the same engine.

    Args:
        name: the pipeline's.
        plan: before a champion is added, which may be another one a moment later.
        root: of the pipeline.
    """
    identity = hashlib.sha256(f"{plan.identity} {root}".encode()).hexdigest()
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "run"
    return f"rnnpipe-{plain[:20].strip('-')}-{identity[:12]}"


def build(
    pipeline: beam.Pipeline,
    places: Places,
    plan: Plan,
    folder: RunFolder,
    first: beam.PTransform | None = None,
    sweep: SweepConfig | None = None,
) -> None:
    """Adds the nodes to a pipeline, step by step.

    Args:
        pipeline: what they are added to.
        places: where the run's things are.
        plan: of the run.
        folder: of the run.
        first: what all steps wait for.
        sweep: how trials are compared; None if the run has one trial.
    """
    before = [pipeline | "preflight" >> first] if first is not None else []
    outputs: dict[str, beam.PCollection] = {}  # by the names of the nodes
    comparisons = Comparisons(pipeline, plan, sweep, folder)
    for (name, works), nodes in _steps(plan).items():
        if works:
            wanted = {
                read.node
                for node in nodes
                for choice in node.choices.values() or [node]
                for read in choice.reads.values()
                if read.node
            }
            upstream = list({id(outputs[name]): outputs[name] for name in wanted}.values())
            decided = comparisons.before(nodes, outputs)
            output = pipeline | name >> Step(nodes, places.sources, folder, [*before, *upstream], decided)
        else:
            reused = [(node.name, node.artifact.reference) for node in nodes if node.artifact]
            output = pipeline | f"{name} (reused)" >> beam.Create(reused)
        outputs |= {node.name: output for node in nodes}
    comparisons.finish(outputs)


def _steps(plan: Plan) -> dict[tuple[str, bool], list[NodePlan]]:
    """The nodes in order, by the name of their step and whether it works; those that go together as one."""
    steps: dict[tuple[str, bool], list[NodePlan]] = {}
    for node in plan:
        name = node_name(node.stage.name, FIRST, node.stop) if node.stage.together else node.name
        steps.setdefault((name, node.in_job), []).append(node)
    return steps
