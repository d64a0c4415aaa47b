"""The trials of a sweep as runs of MLflow: their beginning, parameters, score, tags and end."""

from __future__ import annotations

from collections.abc import Mapping

from components.redaction import redacted
from pipeline.run.record import RunRecord
from pipeline.run.trials import FAILED, FINISHED, INTERRUPTED, STOPPED, WAITING, TrialState, measured_on
from pipeline.sweep.changes import trial_config
from pipeline.sweep.titles import settings_title
from pipeline.tracking.part import Begin, params
from pipeline.tracking.stage_parts import ended

_STATUS = {FINISHED: "FINISHED", STOPPED: "FINISHED", FAILED: "FAILED"}


def is_shown(record: RunRecord, state: TrialState) -> bool:
    """Whether a trial has a run in MLflow: it has begun, or the sweep is over.

    Args:
        record: of the sweep.
        state: of the trial.
    """
    return not record.goes_on or state.state != WAITING or state.rung > 1


def begin_of(record: RunRecord, state: TrialState) -> Begin:
    """Returns the name and the beginning of a trial's run.

    Args:
        record: of the sweep.
        state: of the trial.
    """
    trial = state.trial
    title = settings_title(trial.told, trial.id != trial.group, trial.seed)
    name = f"{record.id.rpartition('-')[2]}, trial {trial.id}: {title}"
    began = min((began for node in state.nodes if (began := node.work_began) is not None), default=None)
    return Begin(name, record.began if began is None else round(1000 * began))


def trial_params(record: RunRecord, state: TrialState) -> dict[str, str]:
    """Returns the parameters of a trial: its own resolved configuration, and what the sweep has set.

    Args:
        record: of the sweep.
        state: of the trial.
    """
    config = trial_config(record.config, state.trial.changes)
    return params(redacted(config), redacted(dict(state.trial.told)))


def final_score(record: RunRecord, state: TrialState) -> dict[str, float]:
    """Returns what a trial is ranked by, once it trains no further, by the split that it is measured on.

    It is the value of the weights that the trial has kept, and not that of its last epoch.

    Args:
        record: of the sweep.
        state: of the trial.
    """
    if state.score is None:
        return {}
    return {f"{measured_on(record)}/{record.config['sweep']['monitor']}": state.score}


def trial_tags(record: RunRecord, state: TrialState) -> dict[str, str]:
    """Returns what becomes of a trial, as tags; nothing while that is open.

    Args:
        record: of the sweep.
        state: of the trial.
    """
    picked = {"picked": "true"} if state.trial.id == record.pick else {}
    return {**picked, "state": state.words if state.settled else "", "error": state.error}


def end_of(record: RunRecord, state: TrialState, whole: tuple[str, int | None]) -> tuple[str, int | None]:
    """Returns the status of a trial's run, and the time of its end.

    The trial that is picked goes on until it is evaluated and exported, with the run.

    Args:
        record: of the sweep.
        state: of the trial.
        whole: the same of the sweep.
    """
    if state.trial.id == record.pick:
        return whole
    if state.state == INTERRUPTED or (not state.settled and not record.goes_on):
        return "KILLED", whole[1]
    if not state.settled:
        return "RUNNING", None
    last = state.nodes[-1]
    times = [ended(record, last), *last.epoch_times.values()]
    if last.work_began is not None:
        times.append(round(1000 * last.work_began))
    return _STATUS.get(state.state, "FINISHED"), max(times)


def shared_params(of_trials: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Returns the parameters that are equal in all trials.

    Args:
        of_trials: the parameters by trial.
    """
    first, *others = of_trials.values()
    return {name: value for name, value in first.items() if all(each.get(name) == value for each in others)}
