"""Runs side by side: what differs in configuration, in metrics beyond the noise, and in cost."""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.markup import escape
from rich.table import Table

from components.errors import UserError
from components.redaction import redacted
from pipeline.config import flatten
from pipeline.report.facts import RunFacts
from pipeline.report.standings import Standing, best, difference_text, standing, value_text
from pipeline.run.sweep_ranking import sweep_words
from pipeline.stages.log import epochs_seconds
from pipeline.sweep.changes import trial_config

if TYPE_CHECKING:
    from components.evaluate.measured import Measured

# They say where things go; what a run measures does not depend on them.
_PLACES = ("root", "name", "export.directory", "tracking.")


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
    measured = [run.measured() for run in runs]
    examples = [run.examples_digest() for run in runs]
    names = dict.fromkeys(
        name for evaluation in measured if evaluation for name in evaluation.report["metrics"]
    )
    notes = [
        f"{label} ({run.record.status}) was not evaluated, or its artifacts are gone"
        for label, run, evaluation in zip(labels, runs, measured, strict=True)
        if evaluation is None
    ]
    if len({own for own, evaluation in zip(examples, measured, strict=True) if evaluation}) > 1:
        notes.append("they were measured on different examples: each is compared with the best on its own")
    return Comparison(
        list(runs),
        labels,
        _differing_parameters(runs),
        {name: _standings(name, measured, examples) for name in names},
        _costs(runs),
        notes,
    )


def _differing_parameters(runs: Sequence[RunFacts]) -> dict[str, list[str]]:
    parameters = [_parameters(run) for run in runs]
    keys = dict.fromkeys(key for own in parameters for key in own)
    table = {
        key: [_shown(own.get(key, "")) for own in parameters] for key in keys if not key.startswith(_PLACES)
    }
    return {key: values for key, values in table.items() if len({*values}) > 1}


def _parameters(run: RunFacts) -> dict[str, Any]:
    """Those of the model that was measured: of a sweep the trial that is picked, of `auto` what it became."""
    trial = run.record.trials.get(run.record.pick)
    if trial is None:
        written = {key: value for key, value in run.parameters().items() if not key.startswith("sweep")}
    else:
        written = flatten(redacted(trial_config(run.record.config, trial.changes)))
    return written | run.settled()


def _standings(
    name: Any, measured: Sequence[Measured | None], examples: Sequence[str]
) -> list[Standing | None]:
    """How each run stands beside the best on the same examples."""
    rivals = {
        count: best(name, [m for m, own in zip(measured, examples, strict=True) if m and own == count])
        for count in {*examples}
    }
    return [
        standing(name, evaluation, rivals[own]) if evaluation else None
        for evaluation, own in zip(measured, examples, strict=True)
    ]


def _costs(runs: Sequence[RunFacts]) -> dict[str, list[str]]:
    trained = [run.trained for run in runs]
    epochs = [model.history()["epochs"] if model else [] for model in trained]
    return {
        "parameters": [f"{model.summary['parameters']:,}" if model else "" for model in trained],
        "epochs": [str(len(rows) or "") for rows in epochs],
        "training, seconds": [
            f"{max(model.manifest.seconds, epochs_seconds(took)):,.0f}" if model else ""
            for model, took in zip(trained, epochs, strict=True)
        ],
    }


def comparison_text(comparison: Comparison) -> Group:
    """Returns the comparison as tables for a terminal."""
    parts: list[Any] = []
    for label, run in zip(comparison.labels, comparison.runs, strict=True):
        parts.append(
            f"[bold]{label}[/]  {run.record.id}  {escape(run.record.name)}  [dim]{run.record.status}[/]"
            + (f"  {escape(sweep_words(run.record))}" if run.record.rungs else "")
        )
    parts += [f"[yellow]{escape(note)}[/]" for note in comparison.notes]
    if comparison.parameters:
        parts += ["", _table("differs", comparison.labels, comparison.parameters)]
    if comparison.metrics:
        metrics = {
            name: [value_text(name, value) for value in row] for name, row in comparison.metrics.items()
        }
        parts += ["", _table("metric (95 % interval)", comparison.labels, metrics, markup=True)]
        gaps = {
            name: [difference_text(name, difference, "[bold]best[/]") for difference in row]
            for name, row in comparison.metrics.items()
        }
        parts += ["", _table("from the best (95 % interval)", comparison.labels, gaps, markup=True)]
        parts.append("[dim]~ within the noise: the interval of the paired bootstrap holds 0[/]")
    parts += ["", _table("cost", comparison.labels, comparison.costs)]
    return Group(*parts)


def _table(title: str, labels: Sequence[str], rows: dict[str, list[str]], markup: bool = False) -> Table:
    table = Table(title, *labels, box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for name, values in rows.items():
        table.add_row(escape(name), *(value if markup else escape(value) for value in values))
    return table


def _shown(value: Any) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
