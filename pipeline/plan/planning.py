"""Plans a run: its nodes, in order. Made before anything runs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from components.artifacts.evaluation import Evaluation
from components.artifacts.tokens import Tokens
from components.artifacts.trained_model import TrainedModel
from components.ingest.beginnings import check_columns
from pipeline import stages
from pipeline.config import PipelineConfig
from pipeline.config.places import Places
from pipeline.plan.fingerprint import DataState
from pipeline.plan.node import Plan, Trial
from pipeline.plan.node_set import NodeSet
from pipeline.plan.planner import Planner
from pipeline.plan.remembered import unchanging
from pipeline.plan.sweep import plan_sweep
from pipeline.plan.warm_start import Initial, retention_nodes
from pipeline.stages.stage import Stage
from pipeline.store.glance import Glance
from pipeline.store.store import Store
from pipeline.sweep.trials import trials_of


def make_plan(
    config: PipelineConfig,
    places: Places,
    store: Store,
    until: str | None = None,
    force: Collection[str] = (),
    initial: Initial | None = None,
    trials: Sequence[Trial] | None = None,
    earlier: Callable[[], Collection[str]] | None = None,
) -> Plan:
    """Decides for every node, in order.

    Args:
        config: the run's configuration.
        places: where its things are.
        store: where artifacts are looked up.
        until: the last stage wanted; None means all.
        force: stages to run although they could be reused; what builds on them runs, too.
        initial: the model that training starts from; None without `train.init_from`.
        trials: what is trained and measured, all of the same data; by default the run's configuration, or the
            trials of its sweep.
        earlier: returns the keys of earlier runs of the same pipeline, which it is compared with; None: with
            all that is there.

    Returns:
        The nodes from ingest to `until`. Trials whose nodes have the same key share one. Of a sweep only the
        trial that is picked is evaluated and exported.
    """
    given = initial.artifacts() if initial else {}
    trials = trials or trials_of(config)
    names = [stage.name for stage in stages.STAGES]
    wanted = stages.STAGES[: names.index(until) + 1 if until else None]
    with unchanging():
        planner = Planner(Glance(store), DataState.of(places.sources, store.fingerprints), force, earlier)
        nodes = NodeSet(planner, given, config.sweep.parallel if config.sweep else 0)
        if config.sweep is not None:
            plan = plan_sweep(config, trials, nodes, wanted)
        else:
            plan = _plan_all(trials, nodes, wanted)
            if initial is not None and Evaluation.stage in nodes.by_name:
                for node in retention_nodes(initial, trials[0], nodes.by_name, planner):
                    plan = plan.with_node(node)
    return plan


def check_data(config: PipelineConfig, places: Places, plan: Plan) -> None:
    """Looks at the beginnings of the user's files, if a plan reads them, and at labels that are known.

    Raises:
        UserError: if a file lacks a column, or a weight is for a label that train does not have.
    """
    if any(node.in_job and node.data is not None for node in plan):
        check_columns(config.ingest, config.task, places.sources)
    for node in plan:
        if node.runs and node.stage.kind is TrainedModel and isinstance(node.config.train.class_weight, dict):
            tokens = plan[node.reads[Tokens.stage].node].artifact
            if isinstance(tokens, Tokens):
                from components.train.class_weight import check_labels  # with numpy, which few plans need

                check_labels(node.config.train.class_weight, tokens.labels())


def _plan_all(trials: Sequence[Trial], nodes: NodeSet, wanted: Sequence[Stage]) -> Plan:
    for stage in wanted:
        for trial in trials:
            nodes.add(stage, trial)
    return Plan(trials, list(nodes.by_name.values()), nodes.shared)
