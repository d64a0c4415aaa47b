"""How long a sweep goes on, by the pace of the epochs that it has finished."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median

from pipeline.config.sweep import reduction_factor
from pipeline.run.record import DONE, RunRecord
from pipeline.run.trials import FAILED, TrialState, planned_epochs


def trial_pace(state: TrialState) -> float | None:
    """Returns the seconds of an epoch of a trial; None before the first one."""
    seconds = [epoch["seconds"] for node in state.nodes for epoch in node.history]
    return median(seconds) if seconds else None


def seconds_left(record: RunRecord, states: Mapping[str, TrialState], at_once: int) -> float | None:
    """Returns how long the trials of a sweep train on.

    How many come to a rung that nobody has reached follows from the halving. Where a trial has no epoch yet,
    the others stand for it. Of the stages behind the training nothing is known.

    Args:
        record: of the sweep.
        states: of its trials.
        at_once: how many train at the same time.

    Returns:
        None before the first epoch.
    """
    paces = {trial: pace for trial, state in states.items() if (pace := trial_pace(state)) is not None}
    if not paces:
        return None
    typical, left, before = median(paces.values()), 0.0, 0
    coming, settings = 0, 0  # trials and settings in the rung before
    sweep = record.config["sweep"]
    factor = reduction_factor(sweep["halving"])
    for rung in record.rungs:
        if rung.reached is not None:
            work = [
                max((rung.stop or states[trial].planned) - max(states[trial].epochs, before), 0)
                * paces.get(trial, typical)
                for trial in rung.reached
                if record.nodes[rung.nodes[trial]].state not in (*DONE, FAILED)
            ]
            coming = len(rung.reached)
            settings = len({states[trial].trial.group for trial in rung.reached})
        else:
            seeds = coming / max(settings, 1)
            settings = max(settings // factor, 1)
            coming = round(settings * seeds)
            stop = rung.stop or max(planned_epochs(record, state.trial) for state in states.values())
            work = [(stop - before) * typical] * coming
        # They are done when the longest one is, and no sooner than all together.
        left += max(sum(work) / max(at_once, 1), max(work, default=0.0))
        before = rung.stop
    return left
