"""What is known of a sweep: its settings in order, the curve of every trial, and the gap of the pick."""

from __future__ import annotations

import contextlib
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from components.artifacts.trained_model import TrainedModel
from components.errors import UserError
from components.evaluate.metrics import shown
from components.train.monitor import monitored_value, smaller_is_better
from pipeline.report.facts import RunFacts
from pipeline.run.record import DONE, TrialRecord
from pipeline.run.trials import (
    FAILED,
    SettingState,
    TrialState,
    measured_on,
    settings_ranked,
    trial_states,
)
from pipeline.sweep.ranking import Score
from pipeline.sweep.titles import trial_title

Curve = Sequence[tuple[float, float]]
"""What is monitored, by epoch."""


@dataclass(frozen=True)
class Gap:
    """A metric of the pick on both splits.

    Args:
        metric: which one.
        validation: its value there, of the weights that were kept.
        test: its value on the split that was evaluated.
        interval: what holds the middle 95 % of the latter's resamples; None without resamples.
    """

    metric: str
    validation: float
    test: float
    interval: tuple[float, float] | None

    @property
    def difference(self) -> float:
        """From validation to test."""
        return self.test - self.validation

    @property
    def is_worse(self) -> bool:
        """Whether it is worse on test."""
        return self.difference > 0 if smaller_is_better(self.metric) else self.difference < 0


@dataclass(frozen=True)
class SweepFacts:
    """A sweep, as far as it came.

    Args:
        monitor: what trials are ranked by.
        measured_on: validation, or training where there is no validation split.
        over: the values of every swept key, as configured.
        repeat: how many seeds every setting has.
        trials: by id, as far as they came.
        settings: all of them, the best one first.
        first: by trial, the scores after the first rung, where all trials are compared.
        curves: of every trial that has trained, by its id.
        stops: epochs after which trials were compared, without the end.
        pick: the trial that is evaluated and exported; None as long as that is not settled.
        gaps: of the pick, what is measured on both splits, what is monitored first.
    """

    monitor: str
    measured_on: str
    over: Mapping[str, Any]
    repeat: int
    trials: Mapping[str, TrialState]
    settings: Sequence[SettingState]
    first: Mapping[str, Score]
    curves: Mapping[str, Curve]
    stops: Sequence[int]
    pick: TrialRecord | None
    gaps: Sequence[Gap]

    @classmethod
    def of(cls, run: RunFacts) -> SweepFacts | None:
        """Reads it; None if the run is of one trial."""
        record = run.record
        if not record.rungs:
            return None
        sweep = record.config["sweep"]
        monitor = sweep["monitor"]
        first = {trial: score for each in record.rungs[0].ranking for trial, score in each.scores.items()}
        states = trial_states(record)
        curves = {trial: _curve(_epochs(run, state), monitor) for trial, state in states.items()}
        return cls(
            monitor=monitor,
            measured_on=measured_on(record),
            over=sweep["over"],
            repeat=sweep["repeat"],
            trials=states,
            settings=settings_ranked(record, states),
            first=first,
            curves={trial: curve for trial, curve in curves.items() if curve},
            stops=[rung.stop for rung in record.rungs if rung.stop],
            pick=record.trials.get(record.pick),
            gaps=list(_gaps(run, monitor)),
        )

    @property
    def best(self) -> SettingState | None:
        """The setting of the pick; before there is one, the one that is ahead."""
        picked = [setting for setting in self.settings if self.is_picked(setting)]
        ranked = [setting for setting in self.settings if setting.rank]
        return next(iter(picked or ranked), None)

    def is_picked(self, setting: SettingState) -> bool:
        """Whether the pick has these settings."""
        return self.pick is not None and setting.trials[0].trial.group == self.pick.group

    @property
    def compared(self) -> int:
        """How many settings the best one is better than, with itself."""
        ranked = sum(1 for setting in self.settings if setting.rank)
        return ranked or sum(1 for setting in self.settings if setting.mean is not None)

    @property
    def failed(self) -> int:
        """How many trials failed."""
        return sum(1 for state in self.trials.values() if state.state == FAILED)

    def title(self, trial: TrialRecord) -> str:
        """What people call a trial."""
        return trial_title(trial.id, trial.group, trial.seed, self.repeat)

    def value(self, value: float | None) -> str:
        """Returns a score as it is shown."""
        return "" if value is None else shown(self.monitor, value)


def state_words(setting: SettingState) -> str:
    """Says how far the trials of a setting came."""
    states = Counter(state.words for state in setting.trials)
    if len(states) == 1:
        return next(iter(states))
    return ", ".join(f"{count} {state}" for state, count in states.items())


def _epochs(run: RunFacts, state: TrialState) -> list[Mapping[str, float]]:
    """The metrics of a trial's epochs: of its artifacts, and of trainings that are unfinished."""
    epochs = {int(epoch["epoch"]): epoch for node in state.nodes for epoch in node.history}
    done = [node for node in state.nodes if node.state in DONE]
    made = run.artifacts.get(done[-1].name) if done else None
    # A rung's history holds the epochs of the rungs before.
    if isinstance(made, TrainedModel) and len(epochs) < done[-1].summary.get("epochs", math.inf):
        with contextlib.suppress(UserError):  # what is remote is checked when it is opened
            epochs = {int(epoch["epoch"]): epoch for epoch in made.history()["epochs"]} | epochs
    return [epochs[number] for number in sorted(epochs)]


def _curve(epochs: Sequence[Mapping[str, float]], monitor: str) -> Curve:
    watched = [epoch for epoch in epochs if f"val_{monitor}" in epoch or "loss" in epoch]
    points = [(float(epoch["epoch"]), monitored_value(monitor, epoch)) for epoch in watched]
    return [point for point in points if math.isfinite(point[1])]


def _gaps(run: RunFacts, monitor: str) -> Iterator[Gap]:
    node = run.record.node(TrainedModel.stage)
    if node is None or run.evaluation is None:
        return
    try:
        report = run.evaluation.report()
    except UserError:
        return
    for metric in sorted(report["metrics"], key=lambda metric: metric != monitor):
        if f"val_{metric}" in node.summary:
            interval = report["intervals"].get(metric)
            yield Gap(
                metric,
                float(node.summary[f"val_{metric}"]),
                float(report["metrics"][metric]),
                (float(interval[0]), float(interval[1])) if interval else None,
            )
