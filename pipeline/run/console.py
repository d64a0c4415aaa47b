"""What a run looks like in a terminal, and in a log file."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Collection, Mapping
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
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

from components import files
from components.redaction import without_password
from components.reports import Event
from components.reports import Progress as ProgressEvent
from pipeline.config import PipelineConfig
from pipeline.plan.node import Plan
from pipeline.plan.prospects import unpushed
from pipeline.run.record import DONE, NodeRecord, RunRecord
from pipeline.run.sweep_display import SweepDisplay
from pipeline.stages import stage_named

_A_SECOND = 8  # pictures


class RunDisplay:
    """Shows nodes as they begin, go on and end, by the run's record; a context manager.

    The trials of a sweep are shown by a SweepDisplay.

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
        )
        self._sweep = SweepDisplay(self._say, lines=not console.is_terminal)
        self._live = Live(
            console=console, get_renderable=self._moving, refresh_per_second=_A_SECOND, transient=True
        )
        self._tasks: dict[str, TaskID] = {}
        self._shown: dict[str, NodeRecord] = {}
        self._speaker = ""  # the node of the last line

    def __enter__(self) -> RunDisplay:
        """Starts the bar."""
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Removes the bar."""
        self._live.stop()

    def show(self, record: RunRecord) -> None:
        """Shows what is new since it was called last.

        Args:
            record: the run's, as it is now.
        """
        trials = {name for rung in record.rungs for name in rung.nodes.values()}
        for name, node in record.nodes.items():
            if name in trials:
                continue
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
        if trials:
            self._sweep.show(record)

    def move(self, event: Event) -> None:
        """Moves the bar at once, by what is emitted in this very process."""
        if isinstance(event, ProgressEvent) and event.stage in self._tasks:
            self._move(event.stage, event.done, event.total, event.message)

    def _moving(self) -> Group:
        """What is at work now."""
        table = self._sweep.table(self._console.height)
        return Group(self._progress, *([table] if table is not None else []))

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
        for place in node.lists:
            self._say(node.name, f"[dim]{escape(place.name)}: {escape(files.relative(place))}[/]")

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


def show_plan(console: Console, config: PipelineConfig, plan: Plan) -> None:
    """Prints what a run is to do, and that nothing of it will be pushed where that is known.

    Args:
        console: where to.
        config: of the run.
        plan: of it.
    """
    console.print(plan_table(plan))
    if reason := unpushed(config, plan):
        console.print(
            f"\nwill not be pushed: {reason}", style="yellow", highlight=False, markup=False, soft_wrap=True
        )


def plan_table(plan: Plan) -> Table:
    """Returns the plan as a table: stage, key, runs or reused, why; the trials of a sweep have their own."""
    table = Table("stage", "key", "", "why", box=None, pad_edge=False, header_style="bold")
    trials = {name for rung in plan.rungs for name in rung.nodes.values()}
    for node in plan:
        if node.name not in trials:
            state = "[yellow]runs[/]" if node.runs else "[green]reused[/]"
            table.add_row(node.name, "" if node.choices else node.key, state, escape(node.reason))
    return table


def go_on_command(
    name: str,
    config_file: str,
    options: Collection[str],
    overrides: Collection[str],
    verbose: bool,
    flags: Collection[str],
) -> str:
    """Returns the command that goes on with this one; passwords are left out, for logs keep what is printed.

    Args:
        name: of the command.
        config_file: how the user named the configuration.
        options: that only this command has.
        overrides: what the user set on the command line.
        verbose: whether failures show the traceback.
        flags: Beam's, from behind --.
    """
    given = [f"--set={without_password(override)}" for override in overrides]
    last = ["--verbose"] if verbose else []
    behind = ["--", *map(without_password, flags)] if flags else []
    return command_line(name, config_file, *given, *options, *last, *behind)


def command_line(*arguments: str) -> str:
    """Returns a command as the user can type it, by the program's name if that is on the path."""
    program = "rnnpipe" if shutil.which("rnnpipe") else sys.argv[0]
    if program.endswith("__main__.py"):
        program = "python -m pipeline"
    return f"{program} {shlex.join(arguments)}"
