"""What a run looks like in a terminal, and in a log file."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from types import TracebackType

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from components.evaluate.metrics import shown
from components.reports import Event
from components.reports import Progress as ProgressEvent
from pipeline.plan.node import Plan
from pipeline.run.record import DONE, NodeRecord, RunRecord
from pipeline.stages import stage_named


class RunDisplay:
    """Shows nodes as they begin, go on and end, by the run's record; a context manager.

    Args:
        console: where to. In a terminal the node at work has a moving bar; elsewhere there are lines only.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description:<9}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[message]}"),
            TimeRemainingColumn(compact=True),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}
        self._shown: dict[str, NodeRecord] = {}
        self._speaker = ""  # the node of the last line

    def __enter__(self) -> RunDisplay:
        """Starts the bar."""
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Removes the bar."""
        self._progress.stop()

    def show(self, record: RunRecord) -> None:
        """Shows what is new since it was called last.

        Args:
            record: the run's, as it is now.
        """
        for name, node in record.nodes.items():
            shown = self._shown.get(name)
            begun = node.state not in ("waiting", "not reached") and not (
                node.state == "reused" and node.began is None
            )
            if begun and name not in self._shown:
                self._say(name, f"[dim]{escape(node.reason)}[/]")
                self._tasks[name] = self._progress.add_task(name, total=None, message="")
            for warning in node.warnings[len(shown.warnings) if shown else 0 :]:
                self._say(name, f"[yellow]{escape(warning)}[/]")
            self._show_epochs(node, len(shown.history) if shown else 0)
            if node.progress and name in self._tasks:
                self._move(name, **node.progress)
            if begun and node.state in DONE and (shown is None or shown.state not in DONE):
                self._show_end(node)
            if begun:
                self._shown[name] = node

    def move(self, event: Event) -> None:
        """Moves the bar at once, by what is emitted in this very process."""
        if isinstance(event, ProgressEvent) and event.stage in self._tasks:
            self._move(event.stage, event.done, event.total, event.message)

    def _move(self, name: str, done: int, total: int | None, message: str) -> None:
        self._progress.update(self._tasks[name], completed=done, total=total, message=escape(message))

    def _show_epochs(self, node: NodeRecord, known: int) -> None:
        for epoch in node.history[known:]:
            metrics = {name: value for name, value in epoch.items() if name != "epoch"}
            self._say(
                node.name,
                f"epoch {int(epoch['epoch'])}/{node.planned_epochs}  {_both_splits(metrics)}  "
                f"[dim]{epoch['seconds']:.1f} s[/]",
            )

    def _show_end(self, node: NodeRecord) -> None:
        stage = stage_named(node.stage)
        if node.name in self._tasks:
            self._progress.remove_task(self._tasks.pop(node.name))
        took = f"in {node.seconds:.1f} s" if node.seconds is not None else "by another run, and reused"
        self._say(node.name, f"[green]done[/] {took}: {escape(stage.describe(node.summary))}")
        for line in stage.details(node.summary):
            self._say(node.name, f"[dim]{escape(line)}[/]")

    def _say(self, name: str, text: str) -> None:
        """Prints a line of a node, which is named where the line before was another's."""
        title = f"[bold]{name:<9}[/]" if name != self._speaker else " " * 9
        self._speaker = name
        self._console.print(f"{title} {text}", highlight=False, soft_wrap=True)


def _both_splits(metrics: Mapping[str, float]) -> str:
    """Returns an epoch's metrics in a line, each with its value on the validation split behind it."""
    shown = []
    for name in sorted(metrics, key=lambda name: name != "loss"):
        if name != "seconds" and not name.startswith("val_"):
            watched = f" (validation {metrics[f'val_{name}']:.4f})" if f"val_{name}" in metrics else ""
            shown.append(f"{name} {metrics[name]:.4f}{watched}")
    return "  ".join(shown)


def plan_table(plan: Plan) -> Table:
    """Returns the plan as a table: stage, key, runs or reused, why."""
    table = Table("stage", "key", "", "why", box=None, pad_edge=False, header_style="bold")
    for node in plan:
        state = "[yellow]runs[/]" if node.runs else "[green]reused[/]"
        table.add_row(node.name, node.key, state, escape(node.reason))
    return table


def runs_table(records: Sequence[RunRecord]) -> Table:
    """Returns the runs as a table, with a column for each metric any of them has."""
    metrics = list(dict.fromkeys(name for record in records for name in record.metrics))
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("run", no_wrap=True, min_width=max((len(record.id) for record in records), default=0))
    for name in ("name", "status", "seconds", "epochs"):
        table.add_column(name, overflow="fold")
    for name in metrics:
        table.add_column(name, justify="right", overflow="fold")
    for record in records:
        values = (shown(name, record.metrics[name]) if name in record.metrics else "" for name in metrics)
        seconds = f"{record.seconds:.0f}"
        table.add_row(record.id, record.name, record.status, seconds, _epochs(record), *values)
    return table


def _epochs(record: RunRecord) -> str:
    """How many epochs the training has, and whether this run did them."""
    if record.history:
        return str(int(record.history[-1]["epoch"]))
    reused = [node.summary["epochs"] for node in record.of() if "epochs" in node.summary]
    return f"{reused[0]} (reused)" if reused else ""


def command_line(*arguments: str) -> str:
    """Returns a command as the user can type it, by the program's name if that is on the path."""
    program = "rnnpipe" if shutil.which("rnnpipe") else sys.argv[0]
    if program.endswith("__main__.py"):
        program = "python -m pipeline"
    return f"{program} {shlex.join(arguments)}"
