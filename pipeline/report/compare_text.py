"""A comparison for a terminal, which may be narrow: lines of runs, never columns of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from typing import Any

from rich.console import Group
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from pipeline.report.compare import Comparison
from pipeline.report.standings import difference_text, value_text
from pipeline.run.record import RunRecord
from pipeline.run.sweep_ranking import sweep_words

_UNITS = {"day": 86_400, "hour": 3_600, "minute": 60}


def comparison_text(comparison: Comparison, width: int = 80) -> Group:
    """Returns the comparison for a terminal: the runs, their metrics, what differs, and the cost.

    Args:
        comparison: of the runs.
        width: of the terminal, in characters; settings that are longer are shortened.
    """
    labels = comparison.labels
    parts: list[Any] = [_legend(comparison)]
    parts += [f"[yellow]{escape(note)}[/]" for note in comparison.notes]
    if comparison.metrics:
        parts += ["", "[bold]metrics, and how far from the best (95 % intervals)[/]"]
        for metric, row in comparison.metrics.items():
            values = [value_text(metric, each) for each in row]
            gaps = [difference_text(metric, each, "[bold]best[/]") for each in row]
            parts += [metric, _lines(zip(labels, values, gaps, strict=True))]
        parts.append("[dim]~ within the noise: the interval of the paired bootstrap holds 0[/]")
    if comparison.parameters:
        parts += ["", "[bold]settings that differ[/]"]
        for key, values in comparison.parameters.items():
            parts += [escape(key), _lines(_settings(labels, values, width))]
    parts += ["", _costs(comparison)]
    return Group(*parts)


def _legend(comparison: Comparison) -> Table:
    """Two lines a run, as one is too long for a narrow terminal."""
    legend = Table.grid(padding=(0, 2, 0, 0))
    for label, run, encoder, outcome in zip(
        comparison.labels, comparison.runs, comparison.encoders, comparison.outcomes, strict=True
    ):
        record = run.record
        legend.add_row(f"[bold]{label}[/]", f"{record.id}  {escape(record.name)}  [dim]{_age(record)}[/]")
        sweep = f"; {sweep_words(record)}" if record.rungs else ""
        legend.add_row("", escape(f"{f'{encoder}: ' if encoder else ''}{outcome or record.status}{sweep}"))
    return legend


def _age(record: RunRecord) -> str:
    seconds = (datetime.now(timezone.utc) - datetime.fromisoformat(record.started)).total_seconds()
    for unit, length in _UNITS.items():
        if (count := int(seconds // length)) >= 1:
            return f"{count} {unit}{'s' * (count != 1)} ago"
    return "just now"


def _settings(labels: Sequence[str], values: Sequence[str], width: int) -> list[tuple[str, str]]:
    """A line for each value, with the runs that have it."""
    owners: dict[str, list[str]] = {}
    for label, value in zip(labels, values, strict=True):
        owners.setdefault(value, []).append(label)
    names = [" ".join(having) for having in owners.values()]
    room = max(width - 4 - max(map(len, names)), 20)
    written = [value for value in owners if value]
    shown = dict(zip(written, shortened(written, room), strict=True))
    return [(name, escape(shown.get(value, "(not set)"))) for name, value in zip(names, owners, strict=True)]


def shortened(values: Sequence[str], room: int) -> list[str]:
    """Shortens values that are too long, such as paths, by what they share; what differs stays.

    Args:
        values: different ones.
        room: how many characters there are for each.

    Returns:
        The values with `…` for the beginning that all share, and then for their middle; as they are where
        they fit, or could not be told apart.
    """
    if max(map(len, values)) <= room:
        return list(values)
    first, last = min(values), max(values)  # what these two share, all share
    same = (place for place, pair in enumerate(zip(first, last, strict=False)) if pair[0] != pair[1])
    shared = first[: next(same, len(first))]
    # Whole words and folders: nobody can read `…r.csv`.
    start = max((shared.rfind(mark) + 1 for mark in "/ ,"), default=0)
    own = [f"…{value[start:]}" if start > 1 else value for value in values]
    cut = [_without_middle(value, room) for value in own]
    return cut if len({*cut}) == len(cut) else own


def _without_middle(value: str, room: int) -> str:
    if len(value) <= room:
        return value
    end = (room - 1) // 2
    return f"{value[: room - 1 - end]}…{value[-end:]}"


def _costs(comparison: Comparison) -> Table:
    table = Table("cost", box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for name in comparison.costs:
        table.add_column(name, justify="right")
    for label, *row in zip(comparison.labels, *comparison.costs.values(), strict=True):
        table.add_row(label, *map(escape, row))
    return table


def _lines(rows: Iterable[Sequence[str]]) -> Padding:
    grid = Table.grid(padding=(0, 2, 0, 0))
    for row in rows:
        grid.add_row(*row)
    return Padding(grid, (0, 0, 0, 2), expand=False)
