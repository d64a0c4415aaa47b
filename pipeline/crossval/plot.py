"""A picture of a cross-validation: every metric by fold."""

from __future__ import annotations

from typing import BinaryIO

from components.evaluate.metrics import title
from components.figures import BLUE, ORANGE, new_figure
from pipeline.crossval.results import Results

_COLUMNS = 3
_METRICS = 12  # drawn at most


def metrics_by_fold(results: Results, file: BinaryIO) -> None:
    """Draws the values of the folds, their mean and its interval, a panel for every metric.

    Args:
        results: with at least one fold that was measured.
        file: that gets the PNG.
    """
    names = list(results.spreads)[:_METRICS]
    columns = min(len(names), _COLUMNS)
    rows = -(-len(names) // columns)
    figure = new_figure(3.4 * columns, 2.6 * rows)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, name in zip(panels, names, strict=False):
        spread = results.spreads[name]
        there = [fold for fold in results.measured if name in fold.metrics]
        if spread.interval is not None:
            axes.axhspan(*spread.interval, color=BLUE, alpha=0.12, linewidth=0)
        axes.axhline(spread.mean, color=BLUE, linewidth=1)
        axes.scatter(
            [fold.number for fold in there], [fold.metrics[name] for fold in there], color=ORANGE, zorder=3
        )
        axes.set_title(title(name), fontsize=10, parse_math=False)
        axes.set_xticks([fold.number for fold in results.folds])
        axes.set_xlim(0.5, len(results.folds) + 0.5)
        axes.set_xlabel("fold", fontsize=9)
        axes.tick_params(labelsize=9)
        axes.grid(axis="y", alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in panels[len(names) :]:
        axes.set_axis_off()
    figure.savefig(file, format="png")
