"""Plans a sweep: what its trials share, their rungs, and what is done with the one that is picked."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Sequence
from dataclasses import replace

from pipeline.config import PipelineConfig
from pipeline.config.sweep import SweepConfig
from pipeline.plan.ingredients import Ingredients
from pipeline.plan.node import PICK, NodePlan, Plan, Rung, Trial
from pipeline.plan.node_set import NodeSet
from pipeline.stages.stage import Stage
from pipeline.sweep.ranking import Score, going_on, picked, rank
from pipeline.sweep.titles import settings_title


def stops_of(sweep: SweepConfig, epochs: int) -> list[int]:
    """Returns the epochs after which trials are compared, 0 standing for the end.

    Args:
        sweep: with halving or without.
        epochs: of a whole training.
    """
    stops = []
    if sweep.halving is not None:
        stop = sweep.halving.min_epochs
        while stop < epochs:
            stops.append(stop)
            stop *= sweep.halving.reduction_factor
    return [*stops, 0]


def plan_sweep(
    config: PipelineConfig, trials: Sequence[Trial], nodes: NodeSet, stages: Sequence[Stage]
) -> Plan:
    """Plans all stages; what is behind the training only for the trial that is picked.

    Where all scores of a rung are known, only those trials are in the next one that go on.

    Args:
        config: of the run, with a sweep.
        trials: of the sweep.
        nodes: to which the nodes are added.
        stages: in order, up to the last one that is wanted.
    """
    training = next((place for place, stage in enumerate(stages) if stage.together), len(stages))
    for stage in stages[:training]:
        for trial in trials:
            nodes.add(stage, trial)
    if training == len(stages):
        return Plan(trials, list(nodes.by_name.values()), nodes.shared)
    rungs, pick = _plan_rungs(config, trials, nodes, stages[training])
    for stage in stages[training + 1 :]:
        _plan_pick(stage, [trial for trial in trials if trial.id in rungs[-1].nodes], nodes, pick)
    assert config.sweep is not None
    rules = config.sweep.model_dump(mode="json", include={"halving", "monitor"})
    return Plan(trials, list(nodes.by_name.values()), nodes.shared, rungs, pick, rules=rules)


def _plan_rungs(
    config: PipelineConfig, trials: Sequence[Trial], nodes: NodeSet, stage: Stage
) -> tuple[list[Rung], str]:
    """The training's nodes, rung by rung, and the pick if it is known."""
    sweep = config.sweep
    assert sweep is not None
    assert sweep.monitor is not None
    groups = {trial.id: trial.group for trial in trials}
    rungs: list[Rung] = []
    known, pick = True, ""
    for stop in stops_of(sweep, trials[0].config.train.most_epochs):
        of_rung = stage.stopping(stop) if stop else stage
        members = {
            trial.id: nodes.add(of_rung, trial, _purpose(trial), stop, waits=not known) for trial in trials
        }
        rungs.append(Rung(stage.name, stop, {trial: node.name for trial, node in members.items()}))
        known = not any(node.in_job for node in members.values())
        if known:
            scores = {trial: score_of(node, sweep.monitor) for trial, node in members.items()}
            ranked = rank(scores, groups, sweep.monitor)
            if sweep.halving and stop:
                on = set(going_on(ranked, sweep.halving.reduction_factor))
                trials = [trial for trial in trials if trial.group in on]
            else:
                pick = picked(ranked, sweep.monitor)
    return rungs, pick


def score_of(node: NodePlan, monitor: str) -> Score:
    """Returns the score of a node whose artifact is there."""
    assert node.artifact is not None
    return Score.of(node.artifact.summary, monitor)


def _plan_pick(stage: Stage, trials: Sequence[Trial], nodes: NodeSet, pick: str) -> None:
    """The node of a stage behind the training: of the picked trial, or of whichever it will be."""
    if pick:
        (trial,) = (trial for trial in trials if trial.id == pick)
        node = nodes.planner.node(stage, replace(trial, id=PICK), nodes.reads(stage, trial), nodes.by_name)
        nodes.shared[stage.name, pick] = node.name
    else:
        node = _open(stage, trials, nodes)
    nodes.by_name[node.name] = node


def _open(stage: Stage, trials: Sequence[Trial], nodes: NodeSet) -> NodePlan:
    choices: dict[str, NodePlan] = {}
    open_ = {name: node.choices for name, node in nodes.by_name.items() if node.choices}
    for trial in trials:
        nodes.shared.update({(name, trial.id): name for name in open_})
        before = ChainMap({name: choices[trial.id] for name, choices in open_.items()}, nodes.by_name)
        reads = nodes.reads(stage, trial)
        choices[trial.id] = nodes.planner.node(
            stage, replace(trial, id=PICK), reads, before, "of the trial that is picked", waits=True
        )
    first = next(iter(choices.values()))
    return replace(
        first,
        ingredients=Ingredients({}),
        part_keys={},
        number=1,
        artifact=None,
        reason="of the trial that is picked",
        settled=False,
        choices=choices,
    )


def _purpose(trial: Trial) -> str:
    return settings_title(trial.told, trial.id != trial.group, trial.config.seed)
