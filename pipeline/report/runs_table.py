"""The runs of every pipeline as a table."""

from __future__ import annotations

import io
from collections.abc import Sequence

from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.table import Table

from components.errors import UserError
from components.evaluate.metrics import shown
from pipeline.config.places import root_of
from pipeline.report.outcome import encoder_words, outcomes
from pipeline.run.observe import read_records
from pipeline.run.record import RunRecord
from pipeline.run.sweep_ranking import sweep_words

_NARROW = 110  # characters of a terminal, below which time and epochs are left out
_SWEEP, _LEAST = 24, 10  # characters for a sweep where there is little room


def records_of(root: str, name: str | None = None) -> list[RunRecord]:
    """Returns the runs of a pipeline, oldest first; by default those of all under a root.

    Raises:
        UserError: if there are none.
    """
    records = read_records(root_of(root))
    if not records:
        raise UserError(f"No runs under {root}. Start one with `rnnpipe run`, or name another --root.")
    chosen = [record for record in records if name in (None, record.name)]
    if not chosen:
        names = ", ".join(dict.fromkeys(record.name for record in records))
        raise UserError(f"received --name {name}, which no run under {root} has; expected one of {names}.")
    return chosen


def runs_tables(records: Sequence[RunRecord], width: int) -> Group:
    """Returns a table for every pipeline, as pipelines measure different things.

    A line has the run, its encoder, its metrics and what became of it: the number of the version that it was
    pushed as, and `champion` if that answers now. There are as many metrics as fit, the first ones; in a wide
    terminal the time and the epochs too.

    Args:
        records: of the runs, oldest first.
        width: of the terminal, in characters.
    """
    parts: list[RenderableType] = []
    for name in dict.fromkeys(record.name for record in records):
        if parts:
            parts.append("")
        parts += [f"[bold]{escape(name)}[/]", _fitting([r for r in records if r.name == name], width)]
    return Group(*parts)


def _fitting(records: Sequence[RunRecord], width: int) -> Table:
    """The table with the most metrics that needs no word broken; with one if even that is too wide."""
    metrics = list(dict.fromkeys(name for record in records for name in record.metrics))
    became = outcomes(records)
    endless = Console(file=io.StringIO(), width=10_000)
    for count in range(len(metrics), -1, -1):
        for space in (" ", "\n"):
            table = _table(records, metrics[:count], became, space, width < _NARROW)
            room = width - endless.measure(table).maximum
            if room >= 0 or (count <= 1 and space == "\n"):
                for column in table.columns:  # a sweep's words have what the others leave
                    if column.max_width is not None:
                        column.max_width = max(_SWEEP + room, _LEAST)
                return table
    raise AssertionError  # the last one is returned


def _table(
    records: Sequence[RunRecord], metrics: Sequence[str], became: Sequence[str], space: str, narrow: bool
) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("run", no_wrap=True)
    table.add_column("encoder", overflow="fold")
    swept = any(record.rungs for record in records)
    if swept:
        table.add_column("sweep", no_wrap=True, overflow="ellipsis", max_width=_SWEEP)
    if not narrow:
        table.add_column("seconds", justify="right")
        table.add_column("epochs")
    for metric in metrics:
        table.add_column(metric.replace("_", space), justify="right", no_wrap=True)
    table.add_column("outcome", overflow="fold")
    for record, outcome in zip(records, became, strict=True):
        cells = [record.id, escape(encoder_words(record))]
        if swept:
            cells.append(escape(sweep_words(record)) if record.rungs else "")
        if not narrow:
            cells += [f"{record.seconds:.0f}", _epochs(record)]
        cells += [shown(name, record.metrics[name]) if name in record.metrics else "" for name in metrics]
        colour = "yellow" if record.status != "finished" else "green" if record.served else "none"
        table.add_row(*cells, f"[{colour}]{outcome}[/]")
    return table


def _epochs(record: RunRecord) -> str:
    """How many epochs the training has, and whether this run did them."""
    if record.history:
        return str(int(record.history[-1]["epoch"]))
    reused = [node.summary["epochs"] for node in record.of() if "epochs" in node.summary]
    return f"{reused[-1]} (reused)" if reused else ""
