"""Runs side by side: what differs in configuration, in metrics beyond the noise, and in cost."""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Group
from rich.markup import escape
from rich.table import Table

from components.errors import UserError
from components.evaluate.metrics import shown
from pipeline.report.facts import RunFacts
from pipeline.tracking.stage_logs import epochs_seconds

# They say where things go; what a run measures does not depend on them.
_PLACES = ("root", "name", "export.directory", "tracking.")


@dataclass(frozen=True)
class Standing:
    """A metric of one run, and how far it is from the best run's.

    Args:
        value: the metric.
        interval: what holds the middle 95 % of its resamples; None without resamples.
        difference: from the best run's on the same examples; 0 for that run itself.
        difference_interval: what holds the middle 95 % of the paired resamples of the difference.
    """

    value: float
    interval: tuple[float, float] | None = None
    difference: float = 0.0
    difference_interval: tuple[float, float] | None = None

    @property
    def beyond_noise(self) -> bool | None:
        """Whether the difference is no chance; None where that is not known."""
        if self.difference_interval is None:
            return None
        low, high = self.difference_interval
        return low > 0 or high < 0


@dataclass(frozen=True)
class Comparison:
    """Runs side by side.

    Args:
        runs: what is compared.
        labels: a letter for each.
        parameters: the keys in which they differ, with the value of each run.
        metrics: by name, the standing of each run; None where it was not measured.
        costs: by name, what each run's training took, for people.
        notes: what keeps runs from being comparable.
    """

    runs: list[RunFacts]
    labels: list[str]
    parameters: dict[str, list[str]]
    metrics: dict[str, list[Standing | None]]
    costs: dict[str, list[str]]
    notes: list[str]


def compare(runs: Sequence[RunFacts]) -> Comparison:
    """Compares runs, each with the best of those on the same examples.

    Args:
        runs: two or more, at most 26; those that were not evaluated have their configuration compared only.

    Raises:
        UserError: if there is only one, or too many.
    """
    if not 2 <= len(runs) <= len(string.ascii_uppercase):
        count = (
            f"{len(runs)} run{'s' * (len(runs) != 1)} with metrics" if len(runs) < 2 else f"{len(runs)} runs"
        )
        raise UserError(f"received {count}; expected 2 to 26 to compare: `rnnpipe runs` lists them.")
    labels = list(string.ascii_uppercase[: len(runs)])
    names = dict.fromkeys(name for run in runs if run.measured for name in run.measured.report["metrics"])
    notes = [
        f"{label} ({run.record.status}) was not evaluated, or its artifacts are gone"
        for label, run in zip(labels, runs, strict=True)
        if run.measured is None
    ]
    if len({run.examples_digest for run in runs if run.measured}) > 1:
        notes.append("they were measured on different examples: each is compared with the best on its own")
    return Comparison(
        list(runs),
        labels,
        _differing_parameters(runs),
        {name: _standings(name, runs) for name in names},
        _costs(runs),
        notes,
    )


def _differing_parameters(runs: Sequence[RunFacts]) -> dict[str, list[str]]:
    keys = dict.fromkeys(key for run in runs for key in run.parameters)
    table = {
        key: [_shown(run.parameters.get(key, "")) for run in runs]
        for key in keys
        if not key.startswith(_PLACES)
    }
    return {key: values for key, values in table.items() if len({*values}) > 1}


def _standings(name: Any, runs: Sequence[RunFacts]) -> list[Standing | None]:
    from components.evaluate.bootstrap import interval

    values = [run.measured.value(name, ()) if run.measured else None for run in runs]
    sign = -1 if any(run.measured and run.measured.smaller_is_better(name) for run in runs) else 1
    best: dict[str, tuple[float, Any]] = {}  # by examples, the best value and its resamples
    for run, value in zip(runs, values, strict=True):
        rival = best.get(run.examples_digest)
        if run.measured and value is not None and (rival is None or sign * value > sign * rival[0]):
            best[run.examples_digest] = (value, run.measured.resamples(name, ()))
    standings: list[Standing | None] = []
    for run, value in zip(runs, values, strict=True):
        if run.measured is None or value is None:
            standings.append(None)
            continue
        resampled = run.measured.resamples(name, ())
        rival_value, rival_resampled = best[run.examples_digest]
        noise = None
        if resampled is not rival_resampled and len(resampled) == len(rival_resampled):
            noise = interval(resampled - rival_resampled)
        standings.append(Standing(value, interval(resampled), value - rival_value, noise))
    return standings


def _costs(runs: Sequence[RunFacts]) -> dict[str, list[str]]:
    trained = [run.trained for run in runs]
    epochs = [each.history()["epochs"] if each else [] for each in trained]
    return {
        "parameters": [f"{each.summary['parameters']:,}" if each else "" for each in trained],
        "epochs": [str(len(each) or "") for each in epochs],
        "training, seconds": [
            f"{max(each.manifest.seconds, epochs_seconds(took)):,.0f}" if each else ""
            for each, took in zip(trained, epochs, strict=True)
        ],
    }


def comparison_text(comparison: Comparison) -> Group:
    """Returns the comparison as tables for a terminal."""
    parts: list[Any] = []
    for label, run in zip(comparison.labels, comparison.runs, strict=True):
        parts.append(
            f"[bold]{label}[/]  {run.record.id}  {escape(run.record.name)}  [dim]{run.record.status}[/]"
        )
    parts += [f"[yellow]{escape(note)}[/]" for note in comparison.notes]
    if comparison.parameters:
        parts += ["", _table("differs", comparison.labels, comparison.parameters)]
    if comparison.metrics:
        metrics = {name: [_cell(name, each) for each in row] for name, row in comparison.metrics.items()}
        parts += ["", _table("metric (95 % interval)", comparison.labels, metrics, markup=True)]
        gaps = {name: [_gap(name, each) for each in row] for name, row in comparison.metrics.items()}
        parts += ["", _table("from the best (95 % interval)", comparison.labels, gaps, markup=True)]
        parts.append("[dim]~ within the noise: the interval of the paired bootstrap holds 0[/]")
    parts += ["", _table("cost", comparison.labels, comparison.costs)]
    return Group(*parts)


def _table(title: str, labels: Sequence[str], rows: dict[str, list[str]], markup: bool = False) -> Table:
    table = Table(title, *labels, box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for name, values in rows.items():
        table.add_row(escape(name), *(value if markup else escape(value) for value in values))
    return table


def _cell(name: str, standing: Standing | None) -> str:
    if standing is None:
        return ""
    ends = [shown(name, end) for end in standing.interval or ()]
    return shown(name, standing.value) + (f" ({' to '.join(ends)})" if ends else "")


def _gap(name: str, standing: Standing | None) -> str:
    if standing is None:
        return ""
    if standing.difference_interval is None:
        return "[bold]best[/]" if standing.difference == 0 else shown(name, standing.difference, sign=True)
    difference, low, high = (
        shown(name, value, sign=True) for value in (standing.difference, *standing.difference_interval)
    )
    mark = "" if standing.beyond_noise else " ~"
    return f"{difference} ({low} to {high}){mark}"


def _shown(value: Any) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
