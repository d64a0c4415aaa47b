"""Pictures of an evaluation, as PNG files.

Matplotlib is imported when a picture is drawn, and only its objects are used, never pyplot: there is no state
that threads could share, and no window system is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from components.evaluate.fonts import drawable
from components.evaluate.metrics import title
from components.figures import BLUE, new_figure

_COUNTED_CLASSES = 20  # up to here each cell shows its count
_LABELLED_CLASSES = 100  # up to here each class has its label
_LABEL_LENGTH = 24
_MAPPED_TOKENS = 60  # of each side; the rest is left out
_TOKEN_LENGTH = 16
_TICKS: dict[str, Any] = {"fontsize": 9, "parse_math": False}


def confusion_matrix(labels: Sequence[str], counts: Sequence[Sequence[int]], path: str | Path) -> None:
    """Draws how the examples of each class were classified, each row coloured by its fractions.

    Args:
        labels: the classes, in any script.
        counts: examples by target (row) and prediction (column) [C, C].
        path: the PNG file to write.
    """
    from matplotlib.colors import PowerNorm

    matrix = np.asarray(counts)
    fractions = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    counted = len(labels) <= _COUNTED_CLASSES
    side = min(max((0.6 if counted else 0.27) * len(labels), 3), 22)
    figure = new_figure(side, side, layout=None)
    axes = figure.add_axes((0, 0, 1, 1))  # the image grows around it by what the labels take
    image = axes.imshow(fractions, cmap="Blues", norm=PowerNorm(0.5, 0, 1))  # so that few confusions show
    scale = figure.add_axes((1 + 0.25 / side, 0, 0.2 / side, 1))
    figure.colorbar(image, cax=scale, label="fraction of the class's examples")
    shown = range(0, len(labels), math.ceil(len(labels) / _LABELLED_CLASSES))
    names, families = drawable([labels[i] for i in shown], _LABEL_LENGTH)
    axes.set_xticks(shown, names, rotation=90 if _crowded(names, side) else 0, fontfamily=families, **_TICKS)
    axes.set_yticks(shown, names, fontfamily=families, **_TICKS)
    axes.set_xlabel("predicted")
    axes.set_ylabel("expected")
    axes.set_title(f"{np.trace(matrix):,} of {matrix.sum():,} right")
    if counted:
        for (row, column), count in np.ndenumerate(matrix):
            if count:
                color = "white" if fractions[row, column] > 0.4 else "0.2"
                axes.text(column, row, f"{count}", ha="center", va="center", fontsize=9, color=color)
    figure.savefig(path, bbox_inches="tight")


def quality_by_slice(
    column: str, slices: Mapping[str, Mapping[str, Any]], metric: str, path: str | Path
) -> None:
    """Draws a metric in each slice, with its 95 % interval.

    Args:
        column: what the examples are sliced by.
        slices: {"examples", "metrics", "intervals"} of each slice, in the order to show.
        metric: which one; slices where it is not defined have no bar.
        path: the PNG file to write.
    """
    figure = new_figure(6.4, 0.34 * max(len(slices), 3) + 1.1)
    axes = figure.add_subplot()
    labels = []
    for place, (name, report) in enumerate(slices.items()):
        labels.append(f"{name}  (n = {report['examples']:,})")
        value = report["metrics"].get(metric)
        if value is not None:
            axes.barh(place, value, color=BLUE, height=0.7)
            low, high = report["intervals"].get(metric, (value, value))
            axes.plot([low, high], [place, place], color="0.2", linewidth=1.2)
    names, families = drawable(labels, _LABEL_LENGTH + 16)
    axes.set_yticks(range(len(labels)), names, fontfamily=families, **_TICKS)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.set_xlabel(f"{title(metric)}, with its 95 % interval")
    unit = "characters of the input" if column == "length" else column
    axes.set_ylabel(unit, parse_math=False)
    axes.grid(axis="x", alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)


def metrics_of_runs(
    metrics: Mapping[str, Sequence[tuple[float, float, float] | None]],
    labels: Sequence[str],
    path: str | Path | BinaryIO,
) -> None:
    """Draws each metric of several runs, with its 95 % interval.

    Args:
        metrics: by name, for each run the value and the ends of its interval; None where it was not measured.
        labels: what the runs are called.
        path: the PNG file to write.
    """
    columns = min(len(metrics), 3)
    rows = math.ceil(len(metrics) / columns)
    figure = new_figure(3.6 * columns, rows * (0.28 * len(labels) + 1.1))
    for position, (name, values) in enumerate(metrics.items(), start=1):
        axes = figure.add_subplot(rows, columns, position)
        for place, measured in enumerate(values):
            if measured is not None:
                value, low, high = measured
                axes.plot([low, high], [place, place], color=BLUE, linewidth=2)
                axes.plot([value], [place], color=BLUE, marker="o")
        axes.set_yticks(range(len(labels)), labels)
        axes.set_ylim(len(labels) - 0.5, -0.5)
        axes.set_title(title(name), fontsize=10)
        axes.grid(axis="x", alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)


def calibration(
    bins: Sequence[Mapping[str, float]], path: str | Path, before: Sequence[Mapping[str, float]] = ()
) -> None:
    """Draws how often answers of each score are right (a reliability diagram).

    Args:
        bins: {"from", "to", "examples", "accuracy", "mean_score"} of each range of scores with examples.
        path: the PNG file to write.
        before: the same of the scores before temperature scaling, if there was any.
    """
    figure = new_figure(4.8, 4.6)
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color="0.6", linestyle=":", label="calibrated")
    largest = max(bin_["examples"] for bin_ in bins)
    if before:
        means, rights = ([bin_[name] for bin_ in before] for name in ("mean_score", "accuracy"))
        axes.plot(means, rights, color="0.6", marker="x", linewidth=1, label="before temperature scaling")
    axes.scatter(
        [bin_["mean_score"] for bin_ in bins],
        [bin_["accuracy"] for bin_ in bins],
        s=[16 + 240 * bin_["examples"] / largest for bin_ in bins],
        color=BLUE,
        alpha=0.75,
        label="answers (area: how many)",
    )
    axes.set_xlim(-0.03, 1.03)
    axes.set_ylim(-0.03, 1.03)
    axes.set_xlabel("score of the answer")
    axes.set_ylabel("fraction that is right")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="upper left", markerscale=0.5)
    figure.savefig(path)


def coverage(points: Sequence[Sequence[float]], path: str | Path) -> None:
    """Draws the accuracy of the surest answers against how many they are (Geifman and El-Yaniv, 2017).

    Args:
        points: [coverage, accuracy], from the least coverage to the largest.
        path: the PNG file to write.
    """
    figure = new_figure(4.8, 4.0)
    axes = figure.add_subplot()
    if points:
        covered, accuracies = zip(*points, strict=True)
        axes.plot(covered, accuracies, color=BLUE, linewidth=1.8, marker="o" if len(points) < 12 else "")
    axes.set_xlim(-0.03, 1.03)
    axes.set_xlabel("coverage: fraction of the answers with the greatest scores")
    axes.set_ylabel("accuracy of these")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)


def attention_map(
    source: Sequence[str], target: Sequence[str], weights: Sequence[Sequence[float]], path: str | Path
) -> None:
    """Draws what the decoder looked at for each token of its answer (Bahdanau et al., 2015, figure 3).

    Args:
        source: the source's tokens, in any script; at least one.
        target: the answer's tokens; at least one. Of both the first 60 are drawn.
        weights: of each target token (row) on each source token (column) [T, S].
        path: the PNG file to write.
    """
    shown = np.asarray(weights)[:_MAPPED_TOKENS, :_MAPPED_TOKENS]
    rows, columns = shown.shape
    width, height = (max(0.24 * count, 1.5) for count in (columns, rows))
    figure = new_figure(width, height, layout=None)
    axes = figure.add_axes((0, 0, 1, 1))  # the image grows around it by what the labels take
    image = axes.imshow(shown, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    scale = figure.add_axes((1 + 0.25 / width, 0, 0.15 / width, 1))
    figure.colorbar(image, cax=scale, label="weight")
    tokens = [token.replace(" ", "␣") for token in [*source[:columns], *target[:rows]]]
    names, families = drawable(tokens, _TOKEN_LENGTH)
    turned = _crowded(names[:columns], width)
    axes.set_xticks(
        range(columns), names[:columns], rotation=90 if turned else 0, fontfamily=families, **_TICKS
    )
    axes.set_yticks(range(rows), names[columns:], fontfamily=families, **_TICKS)
    axes.set_xlabel(_counted("source", columns, len(source)))
    axes.set_ylabel(_counted("answer", rows, len(target)))
    figure.savefig(path, bbox_inches="tight")


def _counted(side: str, shown: int, total: int) -> str:
    return side if shown == total else f"{side}, the first {shown} of {total} tokens"


def _crowded(names: Sequence[str], width: float) -> bool:
    """Whether labels side by side would not fit into so many inches."""
    return 0.09 * (max(map(len, names)) + 1) > width / len(names)
