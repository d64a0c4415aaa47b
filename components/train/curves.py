"""The picture of a training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from components.figures import BLUE, ORANGE, new_figure


def training_curves(
    epochs: Sequence[Mapping[str, float]], path: str | Path | BinaryIO, best_epoch: int = 0
) -> None:
    """Draws each metric of the training, and of the validation where there is one, against the epoch.

    Args:
        epochs: {"epoch": 1, "loss": ..., "val_loss": ..., ...} of each epoch.
        path: the PNG file to write.
        best_epoch: the epoch to mark; 0 for none.
    """
    from matplotlib.ticker import MaxNLocator

    names = {name.removeprefix("val_") for epoch in epochs for name in epoch}
    metrics = sorted(names - {"epoch", "seconds"}, key=lambda name: (name != "loss", name))
    figure = new_figure(5.2 * len(metrics), 3.8)
    for position, metric in enumerate(metrics, start=1):
        axes = figure.add_subplot(1, len(metrics), position)
        for name, label, color in (
            (metric, "training", BLUE),
            (f"val_{metric}", "validation", ORANGE),
        ):
            points = [(epoch["epoch"], epoch[name]) for epoch in epochs if name in epoch]
            if points:
                axes.plot(*zip(*points, strict=True), color=color, marker="o", markersize=3.5, label=label)
        if best_epoch:
            axes.axvline(best_epoch, color="0.5", linestyle=":", label=f"best epoch ({best_epoch})", zorder=1)
        axes.set_xlabel("epoch")
        axes.set_title(metric.replace("_", " "))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.set_xlim(epochs[0]["epoch"] - 0.5, epochs[-1]["epoch"] + 0.5)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
    figure.savefig(path)
