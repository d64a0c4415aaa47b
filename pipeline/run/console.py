"""What a run looks like in a terminal, and in a log file."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from components.events import EpochFinished, Event, StageFinished, StageProgress, StageStarted, Warned
from pipeline.plan.planning import StagePlan
from pipeline.run.record import RunRecord


class RunDisplay:
    """Shows stages as they begin, go on and end; an events listener and a context manager.

    Args:
        console: where to. In a terminal the stage at work has a moving bar; elsewhere there are lines only.
        plans: the run's plan, for the reasons.
    """

    def __init__(self, console: Console, plans: list[StagePlan]) -> None:
        self._console = console
        self._reasons = {plan.stage.name: plan.reason for plan in plans}
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
        self._task: Any = None

    def plan(self, plans: list[StagePlan]) -> None:
        """Takes a plan to which something was added."""
        self._reasons = {plan.stage.name: plan.reason for plan in plans}

    def __enter__(self) -> RunDisplay:
        """Starts the bar."""
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Removes the bar."""
        self._progress.stop()

    def __call__(self, event: Event) -> None:
        """Shows one event."""
        if isinstance(event, StageStarted):
            reason = self._reasons.get(event.stage, "")
            self._console.print(f"[bold]{event.stage:<9}[/] [dim]{escape(reason)}[/]")
            self._task = self._progress.add_task(event.stage, total=None, message="")
        elif isinstance(event, StageProgress) and self._task is not None:
            self._progress.update(
                self._task, completed=event.done, total=event.total, message=escape(event.message)
            )
        elif isinstance(event, EpochFinished):
            self._say(
                f"epoch {event.epoch}/{event.epochs}  {_both_splits(event.metrics)}  "
                f"[dim]{event.seconds:.1f} s[/]"
            )
        elif isinstance(event, Warned):
            self._say(f"[yellow]{escape(event.message)}[/]")
        elif isinstance(event, StageFinished):
            if self._task is not None:
                self._progress.remove_task(self._task)
                self._task = None
            said = escape(describe(event.stage, event.summary))
            self._say(f"[green]done[/] in {event.seconds:.1f} s: {said}")
            for line in details(event.stage, event.summary):
                self._say(f"[dim]{escape(line)}[/]")

    def _say(self, text: str) -> None:
        self._console.print(f"          {text}", highlight=False, soft_wrap=True)


def _both_splits(metrics: dict[str, float]) -> str:
    """Returns an epoch's metrics in a line, each with its value on the validation split behind it."""
    shown = []
    for name in sorted(metrics, key=lambda name: name != "loss"):
        if name != "seconds" and not name.startswith("val_"):
            watched = f" (validation {metrics[f'val_{name}']:.4f})" if f"val_{name}" in metrics else ""
            shown.append(f"{name} {metrics[name]:.4f}{watched}")
    return "  ".join(shown)


def describe(stage: str, summary: dict[str, Any]) -> str:
    """Says in a line what a stage's artifact holds."""
    if stage == "ingest":
        counts = ", ".join(f"{count:,} {split}" for split, count in summary["examples"].items())
        return f"{counts}; {summary['rejected']:,} rejected"
    if stage == "tokenize":
        sizes = [f"{field} vocabulary {size:,}" for field, size in summary["vocabulary"].items()]
        return ", ".join([*sizes, f"{summary['labels']:,} labels"] if "labels" in summary else sizes)
    if stage == "train":
        name = "loss" if "loss" in summary else "squared_error"  # of a readout in closed form
        kept = f"{summary['parameters']:,} parameters, epoch {summary['kept_epoch']} kept"
        return f"{kept}, {name.replace('_', ' ')} {summary.get(f'val_{name}', summary[name]):.4f}"
    if stage in ("evaluate", "champion"):
        return f"{format_metrics(summary['metrics'])} on {summary['examples']:,} examples"
    return f"{summary['replayed']} examples replayed in a fresh process without a difference"


def details(stage: str, summary: dict[str, Any]) -> list[str]:
    """Says in further lines what was proved of a stage's artifact."""
    return [f"{name:<10} {found}" for name, found in summary.get("tiers", {}).items()]


def format_metrics(metrics: dict[str, float]) -> str:
    """Returns the metrics in a line."""
    return ", ".join(f"{name} {value:.4f}" for name, value in metrics.items())


def plan_table(plans: list[StagePlan]) -> Table:
    """Returns the plan as a table: stage, key, runs or reused, why."""
    table = Table("stage", "key", "", "why", box=None, pad_edge=False, header_style="bold")
    for plan in plans:
        state = "[yellow]runs[/]" if plan.runs else "[green]reused[/]"
        table.add_row(plan.stage.name, plan.key[:12], state, escape(plan.reason))
    return table


def runs_table(records: list[RunRecord]) -> Table:
    """Returns the runs as a table, with a column for each metric any of them has."""
    metrics = list(dict.fromkeys(name for record in records for name in record.metrics))
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("run", no_wrap=True, min_width=max((len(record.id) for record in records), default=0))
    for name in ("name", "status", "seconds", "epochs"):
        table.add_column(name, overflow="fold")
    for name in metrics:
        table.add_column(name, justify="right", overflow="fold")
    for record in records:
        values = (f"{record.metrics[name]:.4f}" if name in record.metrics else "" for name in metrics)
        trained = record.stages.get("train", {}).get("state")
        epochs = "reused" if trained == "reused" else str(record.epochs or "")
        table.add_row(record.id, record.name, record.state, f"{record.seconds:.0f}", epochs, *values)
    return table


def example_question(predictions: Path) -> str | None:
    """Returns a rightly answered input to try the model with, preferably a short one."""
    try:
        with predictions.open(encoding="utf-8") as lines:
            rows = [json.loads(line) for _, line in zip(range(200), lines, strict=False)]
    except FileNotFoundError:
        return None
    right = [row["input"] for row in rows if row["correct"]] or [row["input"] for row in rows]
    return min(right, key=len, default=None)


def command_line(*arguments: str) -> str:
    """Returns a command as the user can type it, by the program's name if that is on the path."""
    program = "rnnpipe" if shutil.which("rnnpipe") else sys.argv[0]
    if program.endswith("__main__.py"):
        program = "python -m pipeline"
    return f"{program} {shlex.join(arguments)}"
