"""What was measured of a model, and how the evaluate stage's files keep it: a report and an array."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from components.evaluate.config import Metric
from components.evaluate.metrics import METRICS
from components.text import normal

Array = np.ndarray[Any, Any]
Place = tuple[str, ...]  # () for all examples, (column, slice) for some


@dataclass(frozen=True)
class Measured:
    """What is known of one model on the evaluated examples.

    Args:
        report: without the resamples.
        resampled: the metric in each resample, by () and metric, or by (column, slice) and metric.
    """

    report: Mapping[str, Any]
    resampled: Mapping[tuple[Place, str], Array]

    def places(self, name: str | None) -> list[Place]:
        """The slices that a threshold's key means; for None the whole, which is ()."""
        if name is None:
            return [()]
        column, separator, value = normal(name).partition("=")
        known = self.report["slices"].get(column, {})
        return [(column, known_value) for known_value in known if not separator or known_value == value]

    def value(self, metric: Metric, place: Place) -> float | None:
        """The metric there, if it is defined."""
        report = self.report
        for key in ("slices", *place) if place else ():
            report = report.get(key, {})
        value: float | None = report.get("metrics", {}).get(metric)
        return value

    def smaller_is_better(self, metric: Metric) -> bool:
        """Whether the metric is an error; of one in a module of the user's the report says so."""
        info = METRICS.get(metric)
        return info.smaller_is_better if info else metric in self.report.get("smaller_is_better", ())

    def resamples(self, metric: Metric, place: Place) -> Array:
        """The metric there in each resample; none where it is not known."""
        return self.resampled.get((place, metric), np.zeros(0))


def apart(report: Mapping[str, Any]) -> tuple[dict[str, Any], Array]:
    """Takes the resamples out of a report.

    Args:
        report: as MeasureSlices makes it.

    Returns:
        The rest, which is JSON-able, and float32 [metrics, resamples], a row for each metric in the report,
        in the same order.
    """
    rows = [part["resampled"][name] for _, part in _reports(report) for name in part["metrics"]]
    return _without_resampled(report), np.asarray(rows, np.float32)


def together(report: Mapping[str, Any], rows: Array) -> Measured:
    """Puts together what `apart` took apart."""
    names = [(place, name) for place, part in _reports(report) for name in part["metrics"]]
    return Measured(report, dict(zip(names, rows, strict=True)))


def _reports(report: Mapping[str, Any]) -> Iterator[tuple[Place, Mapping[str, Any]]]:
    yield (), report
    for column, slices in report["slices"].items():
        for name, part in slices.items():
            yield (column, name), part


def _without_resampled(report: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in report.items() if name not in ("resampled", "slices")}
    if "slices" in report:
        kept["slices"] = {
            column: {name: _without_resampled(part) for name, part in slices.items()}
            for column, slices in report["slices"].items()
        }
    return kept
