"""The slices where a model is worse than elsewhere by more than chance, found among all."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.pvalue import AsList, AsSingleton

from components.evaluate.answers import Answers
from components.evaluate.bootstrap import interval
from components.evaluate.measure import Accumulated, Measure
from components.evaluate.metrics import MetricInfo, SummedMetric, metric_info, shown
from components.evaluate.slices import Slicing
from components.work import Work

RESAMPLES = 200  # enough for a standard error
LEAST = 20  # examples of a slice, and of the rest
LISTED = 5
ERROR = 0.01  # the probability that any slice is listed by chance

Array = np.ndarray[Any, Any]
Named = tuple[tuple[str, str], Accumulated]


def searched_metric(metrics: Sequence[str]) -> str | None:
    """Returns the first metric by which a slice can be compared with the rest; None without."""
    return next((name for name in metrics if _compares(metric_info(name))), None)


def _compares(info: MetricInfo) -> bool:
    return info.by_example and isinstance(_computed(info), SummedMetric)


class FindWorstSlices(beam.PTransform):
    """Batches of Answers to one finding: `metric`, `looked_at` (how many slices), `slices`, the worst first.

    A slice is listed if its metric is worse than that of all other examples together by more than chance: the
    difference, divided by its standard error, is beyond what the largest of as many slices as were looked at
    reaches with a probability of 1 % (Bonferroni). The standard error is that of 200 resamples of the
    bootstrap, but no less than if the slice varied as all examples do: where nothing is right, it does not
    vary at all. A slice has `column`, `value`, `examples`, `metric`, `interval` (of the middle 95 %) and
    `elsewhere`. Those of fewer than 20 examples are not looked at.

    Args:
        metric: which one.
        resamples: of the evaluation; 0 lists nothing.
        slicings: a side input, one list of Slicing.
        work: of the node.
    """

    def __init__(self, metric: str, resamples: int, slicings: AsSingleton, work: Work) -> None:
        super().__init__()
        self._metric = metric
        self._sums = _Sums([metric], min(resamples, RESAMPLES))
        self._slicings = slicings
        self._work = work

    def expand(self, answers: beam.PCollection) -> beam.PCollection:
        """A PCollection of Answers to one finding; none without answers."""
        work, info = self._work, metric_info(self._metric)
        slices = (
            answers
            | "slice" >> beam.FlatMap(lambda *each: work.reported(_sliced, *each), self._slicings)
            | "sum slices" >> beam.CombinePerKey(self._sums)
        )
        return (
            answers
            | "sum" >> beam.CombineGlobally(self._sums).without_defaults()
            | "compare" >> beam.Map(lambda *each: work.reported(worst_slices, *each), AsList(slices), info)
        )


class _Sums(Measure):
    """The sums that a metric follows from, in all resamples."""

    def extract_output(self, accumulator: Accumulated) -> Accumulated:  # type: ignore[override]
        return accumulator


def _sliced(answers: Answers, slicings: list[Slicing]) -> list[tuple[tuple[str, str], Answers]]:
    return [((slicing.column, name), part) for slicing in slicings for name, part in slicing.groups(answers)]


def worst_slices(whole: Accumulated, slices: Collection[Named], info: MetricInfo) -> dict[str, Any]:
    """Compares slices with the rest of the examples.

    Args:
        whole: the sums of all examples.
        slices: those of the slices, by column and name.
        info: the metric.
    """
    metric = _computed(info)
    assert isinstance(metric, SummedMetric)
    total = whole.sums["", "examples"][0]
    large = [
        (place, own)
        for place, own in sorted(slices, key=lambda each: each[0])
        if LEAST <= own.sums["", "examples"][0] <= total - LEAST
    ]
    found = []
    usual = _deviation(metric.score(whole.of(info.name)))
    for (column, value), own in large:
        size = own.sums["", "examples"][0]
        here, elsewhere = metric.score(own.of(info.name)), metric.score(_rest(whole, own, info.name))
        gap = (here - elsewhere) * (1 if info.smaller_is_better else -1)
        spread = max(_deviation(gap), usual * math.sqrt(total / size + total / (total - size)))
        if 0 < spread < math.inf and _chance(float(gap[0]) / spread) * len(large) < ERROR:
            ends = interval(here[1:])
            row = {"column": column, "value": value, "examples": int(size)}
            row |= {"metric": float(here[0]), "interval": list(ends or ()), "elsewhere": float(elsewhere[0])}
            found.append((float(gap[0]), row))
    found.sort(key=lambda each: -each[0])
    return {"metric": info.name, "looked_at": len(large), "slices": [row for _, row in found[:LISTED]]}


def slice_words(finding: dict[str, Any]) -> str:
    """Says in a line which slice is the worst; empty if none is worse than the rest by more than chance."""
    if not finding["slices"]:
        return ""
    name, worst = finding["metric"], finding["slices"][0]
    low, high = (shown(name, end) for end in worst["interval"])
    return (
        f"worst slice of {finding['looked_at']}: {worst['column']} {worst['value']}: "
        f"{name} {shown(name, worst['metric'])} on {worst['examples']:,} ({low} to {high}), "
        f"{shown(name, worst['elsewhere'])} elsewhere"
    )


def _deviation(scores: Array) -> float:
    """The standard deviation over the resamples; infinite where one of the scores is not defined."""
    return float(np.std(scores[1:])) if len(scores) > 1 and np.all(np.isfinite(scores)) else math.inf


def _rest(whole: Accumulated, part: Accumulated, metric: str) -> dict[Any, Array]:
    own = part.of(metric)
    return {key: column - own.get(key, 0) for key, column in whole.of(metric).items()}


def _chance(deviations: float) -> float:
    """How probable so many standard deviations above the mean, or more, are."""
    return math.erfc(deviations / math.sqrt(2)) / 2


def _computed(info: MetricInfo) -> Any:
    return info.computed_by()
