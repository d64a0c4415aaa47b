"""What came of a cross-validation, in a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.markup import escape
from rich.table import Table

from components.evaluate.metrics import shown
from pipeline.crossval.results import Pooled, Results
from pipeline.crossval.spread import Spread

SUMMARY = ("mean", "deviation", "95 % over folds", "all answers", "95 % over records")
"""The titles of what `summary_rows` yields."""


def folds_table(results: Results) -> Table:
    """Returns a row for every fold."""
    names = list(results.spreads)
    table = Table("fold", box=None, pad_edge=False, header_style="bold")
    for column in ("trained on", "tested on", *names):
        table.add_column(escape(column), justify="right", overflow="fold")
    for fold in results.folds:
        cells = [shown(name, fold.metrics[name]) if name in fold.metrics else "" for name in names]
        trained = f"{fold.trained:,}" if fold.trained else ""
        tested = f"{fold.tested:,}" if fold.evaluation else "[red]not measured[/]"
        table.add_row(str(fold.number), trained, tested, *cells)
    return table


def summary_table(results: Results) -> Table:
    """Returns a row for every metric, with what holds over the folds."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("metric", no_wrap=True, min_width=max(map(len, results.spreads)))
    for column in SUMMARY:
        table.add_column(column, justify="right")
    for name, cells in summary_rows(results):
        table.add_row(escape(name), *cells)
    return table


def summary_rows(results: Results) -> Iterator[tuple[str, list[str]]]:
    """Yields every metric with what holds over the folds, by the titles in `SUMMARY`; empty if not known."""
    for name, spread in results.spreads.items():
        deviation = "" if spread.deviation is None else shown(name, spread.deviation)
        pooled = results.pooled.get(name)
        own = ["", ""] if pooled is None else [shown(name, pooled.value), _interval(name, pooled)]
        yield name, [shown(name, spread.mean), deviation, _interval(name, spread), *own]


def problems(results: Results) -> list[str]:
    """Says what is missing, and what that means for the rest; nothing of a complete cross-validation."""
    if not results.missing:
        return []
    numbers = ", ".join(str(fold.number) for fold in results.missing)
    done = len(results.measured)
    rest = f"the mean is over {done} of {len(results.folds)} folds. " if done else ""
    return [
        f"not measured: fold {numbers}; {rest}Run again: only what is missing is built.",
        *(f"fold {fold.number}: {fold.error}" for fold in results.missing if fold.error),
    ]


def remarks(results: Results) -> list[str]:
    """Says what the figures mean."""
    measured = len(results.measured)
    lines = [
        f"{name} is defined in {spread.folds} of {measured} folds alone."
        for name, spread in results.spreads.items()
        if spread.folds < measured
    ]
    if measured > 1:
        lines.append(
            "95 % over folds: Student's t. Folds share records to train on, so its variance is "
            "(1/k + tested/trained) s² after Nadeau and Bengio (2003), and not s²/k, which is too small. Of "
            "few folds it is rough: where it is narrower than the one over records, trust that one."
        )
    if results.pooled:
        lines.append(
            f"all answers: of the {results.answers:,} out-of-fold answers at once, with the middle 95 % of "
            "their bootstrap; without metrics that rank answers by their scores, as those of different "
            "models do not compare."
        )
    return lines


def _interval(name: str, known: Spread | Pooled) -> str:
    if known.interval is None:
        return ""
    low, high = known.interval
    return f"{shown(name, low)} to {shown(name, high)}"
