"""The picture of a training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from components.figures import BLUE, ORANGE, new_figure

NO_METRICS = frozenset({"epoch", "step", "learning_rate", "seconds"})
"""What the entries of a history hold besides metrics."""


def training_curves(
    epochs: Sequence[Mapping[str, float]],
    path: str | Path | BinaryIO,
    best_epoch: int = 0,
    best_step: int = 0,
    validations: Sequence[Mapping[str, float]] = (),
    steps_per_epoch: int = 1,
) -> None:
    """Draws each metric of the training, and of the validation where there is one, against the epoch.

    Args:
        epochs: {"epoch": 1, "loss": ..., "val_loss": ..., ...} of each epoch.
        path: the PNG file to write.
        best_epoch: the epoch to mark; 0 for none.
        best_step: the training step to mark, if it is within that epoch.
        validations: {"step": 40, "val_loss": ..., ...} of each validation; by default one at the end of each
            epoch.
        steps_per_epoch: training steps.
    """
    from matplotlib.ticker import MaxNLocator

    validated = [
        {**validation, "epoch": validation["step"] / steps_per_epoch} for validation in validations
    ] or epochs
    names = {name.removeprefix("val_") for epoch in epochs for name in epoch}
    metrics = sorted(names - NO_METRICS, key=lambda name: (name != "loss", name))
    figure = new_figure(5.2 * len(metrics), 3.8)
    for position, metric in enumerate(metrics, start=1):
        axes = figure.add_subplot(1, len(metrics), position)
        for name, label, color, entries in (
            (metric, "training", BLUE, epochs),
            (f"val_{metric}", "validation", ORANGE, validated),
        ):
            points = [(entry["epoch"], entry[name]) for entry in entries if name in entry]
            if points:
                axes.plot(*zip(*points, strict=True), color=color, marker="o", markersize=3.5, label=label)
        if best_epoch:
            within = best_step % steps_per_epoch
            label = f"best step ({best_step})" if within else f"best epoch ({best_epoch})"
            at = best_step / steps_per_epoch if within else best_epoch
            axes.axvline(at, color="0.5", linestyle=":", label=label, zorder=1)
        axes.set_xlabel("epoch")
        axes.set_title(metric.replace("_", " "))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        first = min(entry["epoch"] for entry in (*epochs, *validated))
        axes.set_xlim(first - 0.5, epochs[-1]["epoch"] + 0.5)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
    figure.savefig(path)
