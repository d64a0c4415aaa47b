"""The trials of a sweep as people follow them: how far they are, what they score, and their order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from components.train.config import MOST_EPOCHS
from pipeline.run.record import DONE, NodeRecord, RunRecord, TrialRecord
from pipeline.sweep.changes import trial_config
from pipeline.sweep.ranking import Ranked, Score
from pipeline.sweep.statistics import interval_over_seeds

WAITING, RUNNING, FINISHED = "waiting", "running", "finished"
STOPPED, FAILED, INTERRUPTED, CLEANED = "stopped", "failed", "interrupted", "cleaned"


@dataclass(frozen=True)
class TrialState:
    """A trial as it is now.

    Args:
        trial: which one.
        nodes: of its rungs, as far as it is to come, in order.
        state: waiting (for a worker, or for the comparison), running, finished, stopped (by halving), failed,
            interrupted (with its run), or cleaned, where its artifact was there and has been deleted since.
        planned: the epoch that it trains to now, or has trained to.
        rung: the number of the rung that it is in, from 1.
        epochs: the last epoch that is finished; 0 if none is.
        score: of the last rung that has any; None before the first comparison.
        error: of a trial that has failed.
    """

    trial: TrialRecord
    nodes: Sequence[NodeRecord]
    state: str
    planned: int
    rung: int
    epochs: int
    score: float | None
    error: str = ""

    @property
    def settled(self) -> bool:
        """Whether it trains no further in this run."""
        return self.state not in (WAITING, RUNNING)

    @property
    def words(self) -> str:
        """Its state, for people."""
        return f"{STOPPED} at epoch {self.planned}" if self.state == STOPPED else self.state


@dataclass(frozen=True)
class SettingState:
    """The trials of one setting, which differ in their seed, and their place in the ranking.

    Args:
        rank: from 1; 0 without a score, and where a trial has failed.
        trials: in order.
        mean: of their scores in the last rung that has any; None without one.
        interval: where the mean over all seeds lies with 95 % confidence; None of fewer than two scores.
    """

    rank: int
    trials: Sequence[TrialState]
    mean: float | None
    interval: tuple[float, float] | None


def trial_states(record: RunRecord) -> dict[str, TrialState]:
    """Returns the trials of a sweep by id, in order; nothing of a run that is none.

    Args:
        record: of the run.
    """
    scores: dict[str, Score] = {}
    for rung in record.rungs:
        for ranked in rung.ranking:
            scores |= {trial: score for trial, score in ranked.scores.items() if score.value is not None}
    return {trial.id: _state(record, trial, scores.get(trial.id)) for trial in record.trials.values()}


def _state(record: RunRecord, trial: TrialRecord, score: Score | None) -> TrialState:
    nodes: list[NodeRecord] = []
    end = planned_epochs(record, trial)
    state, planned, number, error = WAITING, record.rungs[0].stop or end, 1, ""
    for place, rung in enumerate(record.rungs, start=1):
        if trial.id not in rung.nodes or (rung.reached is not None and trial.id not in rung.reached):
            state = STOPPED
            break
        node = record.nodes[rung.nodes[trial.id]]
        nodes.append(node)
        state, number = FINISHED if node.state in DONE else node.state, place
        planned = rung.stop or node.planned_epochs or end  # settled when it has begun
        if state == "not reached":
            state = INTERRUPTED
        if state == RUNNING and node.work_began is None:
            state = WAITING  # for a worker
        if state == FAILED:
            error = node.error
        if state != FINISHED:
            break
    value = score.value if score else None
    return TrialState(trial, nodes, state, planned, number, _epochs(nodes), value, error)


def _epochs(nodes: Sequence[NodeRecord]) -> int:
    return max((max(node.epochs, int(node.summary.get("epochs", 0))) for node in nodes), default=0)


def settings_ranked(record: RunRecord, states: Mapping[str, TrialState] | None = None) -> list[SettingState]:
    """Returns the settings of a sweep, the best one first.

    Those that came farther come before others, as their scores do not compare. Behind them are those without
    a score, and last those of which a trial has failed.

    Args:
        record: of the run.
        states: of its trials, if they are known already.
    """
    states = trial_states(record) if states is None else states
    groups: dict[str, list[TrialState]] = {}
    for each in states.values():
        groups.setdefault(each.trial.group, []).append(each)
    failed = [group for group, own in groups.items() if any(each.state == FAILED for each in own)]
    ranked: dict[str, Ranked] = {}
    for rung in reversed(record.rungs):
        for best in rung.ranking:
            if best.mean is not None and best.group not in failed:
                ranked.setdefault(best.group, best)
    order = [*ranked, *(group for group in groups if group not in ranked and group not in failed), *failed]
    return [
        _setting(place if group in ranked else 0, groups[group], ranked.get(group))
        for place, group in enumerate(order, start=1)
    ]


def _setting(rank: int, trials: Sequence[TrialState], ranked: Ranked | None) -> SettingState:
    scores = ranked.scores.values() if ranked else ()
    values = [score.value for score in scores if score.value is not None]
    if ranked is None:  # a trial has failed, or none has a score
        values = [each.score for each in trials if each.score is not None]
    return SettingState(rank, trials, fmean(values) if values else None, interval_over_seeds(values))


def planned_epochs(record: RunRecord, trial: TrialRecord) -> int:
    """Returns how many epochs a trial has if it trains to its end.

    Args:
        record: of a sweep.
        trial: of it.
    """
    config = trial_config(record.config, trial.changes)
    return 1 if config["model"]["readout"] else int(config["train"]["epochs"] or MOST_EPOCHS)


def measured_on(record: RunRecord) -> str:
    """Returns the split whose score trials are ranked by: `training` where there is no validation split.

    Args:
        record: of a sweep.
    """
    score = f"val_{record.config['sweep']['monitor']}"
    names = {name for rung in record.rungs for name in rung.nodes.values()}
    summaries = [record.nodes[name].summary for name in names if record.nodes[name].summary]
    return "training" if summaries and not any(score in summary for summary in summaries) else "validation"
