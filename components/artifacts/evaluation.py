"""The evaluate stage's artifact: answers, and what was measured of them."""

from __future__ import annotations

from typing import ClassVar

from components.artifacts.artifact import Artifact


class Evaluation(Artifact):
    """Predictions in the order of the data, metrics with their resamples, the worst answers and plots."""

    stage = "evaluate"
    parts: ClassVar = {
        "predictions": ("predictions.jsonl",),
        "figures": ("metrics.json", "resampled.npy", "worst.jsonl"),
        "plots": ("plots/",),
    }
