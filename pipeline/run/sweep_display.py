"""A sweep while it runs: a table of its trials in a terminal, lines in a log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from rich.console import Group
from rich.markup import escape
from rich.table import Table

from components.evaluate.metrics import shown
from components.train.monitor import monitored_value
from pipeline.run.record import RungRecord, RunRecord
from pipeline.run.sweep_table import duration
from pipeline.run.time_left import seconds_left, trial_pace
from pipeline.run.trials import (
    CLEANED,
    FAILED,
    FINISHED,
    INTERRUPTED,
    RUNNING,
    STOPPED,
    WAITING,
    SettingState,
    TrialState,
    measured_on,
    settings_ranked,
    trial_states,
)
from pipeline.sweep.draws import in_words
from pipeline.sweep.titles import settings_title

_COLORS = {RUNNING: "yellow", FINISHED: "green", FAILED: "red", INTERRUPTED: "red"}
_ORDER = (RUNNING, WAITING, FINISHED, STOPPED, FAILED, INTERRUPTED, CLEANED)  # in which states are counted
_FEWEST = 3  # rows, however low the terminal is
_OTHER_LINES = 8  # of the table's head and foot, and of the stages beside it

Say = Callable[[str, str], None]
"""Prints a line of somebody: a name, and a text with markup."""


class SweepDisplay:
    """Says what is new of a sweep's trials, and shows them all in a table.

    Args:
        say: prints a line.
        lines: whether trials that are done have a line, for there is no table.
    """

    def __init__(self, say: Say, lines: bool) -> None:
        self._say = say
        self._lines = lines
        self._told: set[str] = set()
        self._most = 0
        self._shown: Shown | None = None
        self._made: tuple[Shown, int, Group] | None = None  # the table of what is shown, at a height

    def show(self, record: RunRecord) -> None:
        """Says what is new since it was called last.

        Args:
            record: of the sweep, as it is now.
        """
        states = trial_states(record)
        ranking = settings_ranked(record, states)
        if self._is_new("sweep"):
            self._say("sweep", _beginning(record, states))
        self._show_trials(record, states)
        self._show_rungs(record)
        if record.pick and self._is_new("picked"):
            where = f"the best of {len(states)} on {measured_on(record)}"
            self._say("sweep", f"[green]picked[/] trial {_named(record, record.pick)}, {where}")
        running = sum(state.state == RUNNING for state in states.values())
        self._most = max(self._most, running, 1)
        self._shown = Shown(record, states, ranking, self._most)

    def table(self, height: int) -> Group | None:
        """Returns the trials as a table; None before the first look, and once all are done.

        Args:
            height: lines of the terminal.
        """
        seen = self._shown
        if seen is None or all(state.settled for state in seen.states.values()):
            return None
        made = self._made
        if made is None or made[0] is not seen or made[1] != height:
            made = self._made = seen, height, live_table(seen, max(height - _OTHER_LINES, _FEWEST))
        return made[2]

    def _show_trials(self, record: RunRecord, states: Mapping[str, TrialState]) -> None:
        for trial, state in states.items():
            for place, node in enumerate(state.nodes):
                for warning in node.warnings:
                    if self._is_new(warning):  # of many trials it is said once
                        self._say(f"trial {trial}", f"[yellow]{escape(warning)}[/]")
                over = node.state == FAILED or (self._lines and node.state == FINISHED)
                if over and self._is_new(f"{trial} {node.name}"):
                    self._say(f"trial {trial}", _ended(record, state, place))

    def _show_rungs(self, record: RunRecord) -> None:
        for place, (rung, following) in enumerate(pairwise(record.rungs), start=1):
            if following.reached is not None and rung.reached is not None and self._is_new(f"rung {place}"):
                on, of = len(following.reached), len(rung.reached)
                self._say(
                    f"rung {place}", f"{on} of {of} trials go on after epoch {rung.stop}{_best(record, rung)}"
                )

    def _is_new(self, key: str) -> bool:
        """Whether something has not been told yet; from now on it has."""
        if key in self._told:
            return False
        self._told.add(key)
        return True


@dataclass(frozen=True)
class Shown:
    """What a table of a sweep is made of.

    Args:
        record: of the sweep.
        states: of its trials, by id.
        ranking: of its settings.
        at_once: how many have trained at the same time.
    """

    record: RunRecord
    states: Mapping[str, TrialState]
    ranking: Sequence[SettingState]
    at_once: int


def live_table(seen: Shown, rows: int) -> Group:
    """Returns the trials that are at work and then the best ones as a table, and what else there is in lines.

    Args:
        seen: what is known.
        rows: how many trials to show at most.
    """
    record = seen.record
    order = _in_order(seen)
    table = Table(box=None, pad_edge=False, header_style="bold", expand=True)
    table.add_column("rank", justify="right")
    table.add_column("trial", no_wrap=True)
    table.add_column("settings", no_wrap=True, overflow="ellipsis", ratio=1)
    halves = len(record.rungs) > 1
    if halves:
        table.add_column("rung", no_wrap=True)
    table.add_column("epoch", no_wrap=True)
    table.add_column("score", no_wrap=True, justify="right")
    table.add_column("state", no_wrap=True)
    table.add_column("left", no_wrap=True, justify="right")
    ranks = {state.trial.id: setting.rank for setting in seen.ranking for state in setting.trials}
    for state in order[:rows]:
        table.add_row(*_cells(record, state, ranks[state.trial.id], halves))
    rest = order[rows:]
    more = [f"[dim]and {len(rest)} more: {_counts(rest)}[/]"] if rest else []
    return Group(table, *more, *_foot(seen))


def _in_order(seen: Shown) -> list[TrialState]:
    at_work = [state for state in seen.states.values() if state.state == RUNNING]
    others = [state for setting in seen.ranking for state in setting.trials if state.state != RUNNING]
    return at_work + others


def _cells(record: RunRecord, state: TrialState, rank: int, halves: bool) -> list[str]:
    color = _COLORS.get(state.state, "dim")
    repeated = record.config["sweep"]["repeat"] > 1
    words = settings_title(state.trial.told, repeated, state.trial.seed)
    return [
        str(rank or ""),
        state.trial.id,
        escape(words),
        *([f"{state.rung}/{len(record.rungs)}"] if halves else []),
        f"{state.epochs}/{state.planned}",
        _latest_score(record, state),
        f"[{color}]{state.state}[/]",
        _left(state),
    ]


def _latest_score(record: RunRecord, state: TrialState) -> str:
    """The score of the last rung, or while a trial is at work that of its last epoch."""
    monitor = record.config["sweep"]["monitor"]
    epochs = [epoch for node in state.nodes for epoch in node.history]
    if state.state == RUNNING and epochs and {monitor, f"val_{monitor}"} & epochs[-1].keys():
        return f"[dim]{shown(monitor, monitored_value(monitor, {'loss': float('nan'), **epochs[-1]}))}[/]"
    return "" if state.score is None else shown(monitor, state.score)


def _left(state: TrialState) -> str:
    pace = trial_pace(state)
    if state.state != RUNNING or pace is None:
        return ""
    return duration(pace * max(state.planned - state.epochs, 0))


def _counts(states: Sequence[TrialState]) -> str:
    counts = Counter(state.state for state in states)
    return ", ".join(f"{counts[name]} {name}" for name in _ORDER if counts[name])


def _foot(seen: Shown) -> list[str]:
    left = seconds_left(seen.record, seen.states, seen.at_once)
    counts = f"{len(seen.states)} trials: {_counts(list(seen.states.values()))}"
    return [counts] if left is None else [counts, f"about {duration(left)} left to train"]


def _beginning(record: RunRecord, states: Mapping[str, TrialState]) -> str:
    there = sum(state.settled and state.score is not None for state in states.values())
    known = f", {there} of them trained before" if there else ""
    return f"{len(states)} trials{known}, ranked by {record.config['sweep']['monitor']}"


def _ended(record: RunRecord, state: TrialState, place: int) -> str:
    """What came of a trial in a rung."""
    rung, node = record.rungs[place], state.nodes[place]
    words = escape(in_words(state.trial.told))
    if node.state == FAILED:
        return f"[red]failed[/] ({words}): {escape(node.error)}"
    score = next(
        (ranked.scores[state.trial.id] for ranked in rung.ranking if state.trial.id in ranked.scores), None
    )
    measured = f", {_score(record, score.value)}" if score and score.value is not None else ""
    epochs = int(node.summary.get("epochs", node.epochs))
    reached = rung.nodes if rung.reached is None else rung.reached
    nodes = {rung.nodes[trial] for trial in reached}
    done = sum(record.nodes[name].state in (FINISHED, FAILED, "reused") for name in nodes)
    of = f"rung {place + 1} of {len(record.rungs)}, " if len(record.rungs) > 1 else ""
    took = "" if node.seconds is None else f" in {node.seconds:.1f} s"
    return f"[green]done[/]{took} ({words}): epoch {epochs}{measured}  [dim]{of}{done} of {len(nodes)}[/]"


def _best(record: RunRecord, rung: RungRecord) -> str:
    best = next((ranked for ranked in rung.ranking if ranked.mean is not None), None)
    if best is None or best.mean is None:
        return ""
    return f"; the best is trial {_named(record, best.group)}, {_score(record, best.mean)}"


def _named(record: RunRecord, trial: str) -> str:
    return f"{trial} ({escape(in_words(record.trials[trial].told))})"


def _score(record: RunRecord, value: float) -> str:
    monitor = record.config["sweep"]["monitor"]
    return f"{monitor} {shown(monitor, value)}"
