"""Plans a run: its nodes, in order. Made before anything runs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from components.artifacts.artifact import Artifact
from components.artifacts.evaluation import Evaluation
from pipeline import stages
from pipeline.config import PipelineConfig
from pipeline.config.places import Places
from pipeline.plan.fingerprint import DataState
from pipeline.plan.node import FIRST, NodePlan, Plan, Read, Trial
from pipeline.plan.planner import Planner
from pipeline.plan.warm_start import Initial, retention_nodes
from pipeline.stages.stage import Stage
from pipeline.store.store import Store


def make_plan(
    config: PipelineConfig,
    places: Places,
    store: Store,
    until: str | None = None,
    force: Collection[str] = (),
    initial: Initial | None = None,
    trials: Sequence[Trial] | None = None,
) -> Plan:
    """Decides for every node, in order.

    Args:
        config: the run's configuration.
        places: where its things are.
        store: where artifacts are looked up.
        until: the last stage wanted; None means all.
        force: stages to run although they could be reused; what builds on them runs, too.
        initial: the model that training starts from; None without `train.init_from`.
        trials: what is trained and measured, all of the same data; by default the run's configuration.

    Returns:
        The nodes from ingest to `until`. Trials whose nodes have the same key share one.
    """
    planner = Planner(store, DataState.of(places.sources, store.fingerprints), force)
    given = initial.artifacts() if initial else {}
    trials = trials or [Trial(FIRST, config)]
    nodes: dict[str, NodePlan] = {}
    shared: dict[tuple[str, str], str] = {}
    keys: dict[tuple[str, str], str] = {}
    for stage in stages.STAGES:
        for trial in trials:
            node = planner.node(stage, trial, _reads(stage, trial, shared, given), nodes)
            name = keys.setdefault((stage.name, node.key), node.name)
            shared[stage.name, trial.id] = name
            nodes.setdefault(name, node)
        if stage.name == until:
            break
    plan = Plan(trials, list(nodes.values()), shared)
    if initial is not None and Evaluation.stage in nodes:
        for node in retention_nodes(initial, trials[0], nodes, planner):
            plan = plan.with_node(node)
    return plan


def _reads(
    stage: Stage, trial: Trial, shared: Mapping[tuple[str, str], str], given: Mapping[str, Artifact]
) -> dict[str, Read]:
    """What the node of a trial reads: what nodes before it make, or what is given."""
    return {
        name: Read(parts, artifact=given[name]) if name in given else Read(parts, node=shared[name, trial.id])
        for name, parts in stage.reads(trial.config).items()
    }
