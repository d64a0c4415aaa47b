"""What is known of a sweep, computed from the nodes of its run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from pipeline.config.sweep import reduction_factor
from pipeline.run.noted import Planned, Start
from pipeline.run.record import DONE, NodeRecord, RungRecord, TrialRecord
from pipeline.run.threads import with_thread_warning
from pipeline.sweep.ranking import Score, going_on, rank


def settled(planned: Planned, pick: str) -> Planned:
    """Returns a node of the pick as that of the trial that is picked.

    Args:
        planned: of any node; others stay as they are.
        pick: the trial; empty as long as it is not settled.
    """
    choices = planned.get("choices")
    if not choices or pick not in choices:
        return planned
    return {**planned, **choices[pick], "trials": [pick], "choices": {}}


def with_rungs(
    start: Start, nodes: Mapping[str, NodeRecord]
) -> tuple[dict[str, TrialRecord], list[RungRecord], dict[str, NodeRecord]]:
    """Ranks the trials, and says of nodes which have failed, and which are not reached.

    Args:
        start: what the run is to do.
        nodes: of the run, by name.

    Returns:
        The trials and the rungs, both empty of a run of one trial, and the nodes.
    """
    known = dict(nodes)
    if not start.get("rungs"):
        return {}, [], known
    trials = {trial["id"]: TrialRecord(**trial) for trial in start["trials"]}
    groups = {trial.id: trial.group for trial in trials.values()}
    sweep = start["config"]["sweep"]
    factor = reduction_factor(sweep["halving"])
    rungs: list[RungRecord] = []
    reached: frozenset[str] | None = frozenset(start["rungs"][0]["nodes"])
    for noted in start["rungs"]:
        names = noted["nodes"]
        for trial, name in names.items():
            known[name] = _state(known[name], reached is not None and trial not in reached)
        scores = {
            trial: score for trial, name in names.items() if (score := _score(known[name], sweep["monitor"]))
        }
        ranking = rank(scores, groups, sweep["monitor"])
        rungs.append(RungRecord(noted["stop"], names, ranking, reached))
        if reached is not None and reached <= scores.keys():
            on = set(going_on(ranking, factor))
            reached = frozenset(trial for trial in reached if groups[trial] in on)
        else:
            reached = None
    return (
        trials,
        rungs,
        with_thread_warning(known, {name for rung in rungs for name in rung.nodes.values()}),
    )


def _state(node: NodeRecord, out: bool) -> NodeRecord:
    """The node as it is in a sweep, where a failed trial stops no other one."""
    if node.state in DONE:
        return node
    if out:
        return replace(node, state="not reached")
    if node.given_up:
        return replace(node, state="failed")
    return node


def _score(node: NodeRecord, monitor: str) -> Score | None:
    if node.state in DONE:
        return Score.of(node.summary, monitor)
    return Score(None, node.error) if node.state == "failed" else None
