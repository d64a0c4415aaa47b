"""Plans a cross-validation: ingest, tokenize, train and evaluate for every fold, and nothing behind them."""

from __future__ import annotations

from collections.abc import Sequence

from components.artifacts.evaluation import Evaluation
from pipeline import stages
from pipeline.config.places import Places
from pipeline.plan.fingerprint import DataState
from pipeline.plan.node import Plan, Rung, Trial
from pipeline.plan.node_set import NodeSet
from pipeline.plan.planner import Planner
from pipeline.plan.remembered import unchanging
from pipeline.plan.warm_start import Initial
from pipeline.store.glance import Glance
from pipeline.store.store import Store


def plan_folds(
    trials: Sequence[Trial], places: Places, store: Store, parallel: int, initial: Initial | None = None
) -> Plan:
    """Decides for every node of every fold.

    Args:
        trials: one for every fold.
        places: where the run's things are.
        store: where artifacts are looked up.
        parallel: how many trials a worker trains at the same time, each in a process of its own, so that one
            that fails fails alone.
        initial: the model that training starts from.
    """
    names = [stage.name for stage in stages.STAGES]
    wanted = stages.STAGES[: names.index(Evaluation.stage) + 1]
    with unchanging():
        planner = Planner(Glance(store), DataState.of(places.sources, store.fingerprints))
        nodes = NodeSet(planner, initial.artifacts() if initial else {}, parallel)
        for stage in wanted:
            for trial in trials:
                nodes.add(stage, trial)
    rungs = [
        Rung(stage.name, 0, {trial.id: nodes.shared[stage.name, trial.id] for trial in trials})
        for stage in wanted
        if stage.together
    ]
    return Plan(trials, list(nodes.by_name.values()), nodes.shared, rungs, picks=False)
