"""Measures answers in Beam, as a whole and by slice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.pvalue import AsList, AsSingleton

from components.errors import UserError
from components.evaluate.answers import Answers
from components.evaluate.bootstrap import counts, interval
from components.evaluate.metrics import MetricInfo, RankedMetric, SummedMetric, metric_info
from components.evaluate.slices import Slicing
from components.plugins import is_reference
from components.work import Work

Array = np.ndarray[Any, Any]
Report = dict[str, Any]

_OTHERS = ("", "examples of a third label")


@dataclass
class Accumulated:
    """What is known of some examples.

    Args:
        sums: by metric and column, its sum in the examples and in each resample [1 + R].
        ranked: by metric, the rows that it follows from.
        confusion: examples by target and prediction.
    """

    sums: dict[tuple[str, Hashable], Array] = field(default_factory=dict)
    ranked: dict[str, list[Array]] = field(default_factory=dict)
    confusion: Counter[tuple[str, str]] = field(default_factory=Counter)

    def of(self, metric: str) -> dict[Hashable, Array]:
        """The sums of a metric, by column."""
        return {key: column for (name, key), column in self.sums.items() if name == metric}


class Measure(beam.CombineFn):
    """Combines batches of Answers to a report.

    The report has `examples`, `metrics` (by name; one that is not defined on these examples, such as roc_auc
    of one label or of three, is left out), `intervals` (the middle 95 % of the resamples, by name) and
    `resampled` (the metric in each resample, by name). With `confusion` also `classes` and `confusion`, and
    the details that metrics add, such as `calibration`.

    Args:
        metrics: which, in their order.
        resamples: how many bootstrap resamples; 0 for no intervals.
        confusion: whether to report each class.
    """

    def __init__(self, metrics: Sequence[str], resamples: int, confusion: bool = False) -> None:
        self._metrics = [metric_info(name) for name in metrics]  # a worker may not know a registered one
        self._resamples = resamples
        self._confusion = confusion

    @property
    def errors(self) -> list[str]:
        """The metrics that are better when they are smaller."""
        return [info.name for info in self._metrics if info.smaller_is_better]

    def create_accumulator(self) -> Accumulated:
        """Nothing is known yet."""
        return Accumulated()

    def add_input(self, accumulator: Accumulated, answers: Answers) -> Accumulated:
        """Adds a batch."""
        columns: dict[tuple[str, Hashable], Any] = {("", "examples"): [1] * len(answers.inputs)}
        if answers.positives is not None:
            columns[_OTHERS] = answers.positives < 0
        for info in self._metrics:
            metric = _computed(info)
            if info.two_labels and answers.probabilities is None:
                continue
            if info.by_score and np.isnan(answers.scores).all():
                continue
            with _naming(info):
                if isinstance(metric, RankedMetric):
                    accumulator.ranked.setdefault(info.name, []).append(metric.rows(answers))
                else:
                    columns |= _columns(info, metric, answers)
        matrix = np.asarray(list(columns.values()), np.float64)
        sums = matrix @ counts(answers.numbers, self._resamples).T
        _add(accumulator.sums, zip(columns, sums, strict=True))
        if self._confusion:
            accumulator.confusion.update(zip(answers.expected, answers.predicted, strict=True))
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[Accumulated]) -> Accumulated:
        """Adds up what is known."""
        merged = Accumulated()
        for accumulator in accumulators:
            _add(merged.sums, accumulator.sums.items())
            for name, rows in accumulator.ranked.items():
                merged.ranked[name] = merged.ranked.get(name, []) + rows
            merged.confusion.update(accumulator.confusion)
        return merged

    def extract_output(self, accumulator: Accumulated) -> Report:
        """Makes the report."""
        examples = accumulator.sums.get(("", "examples"), np.zeros(1 + self._resamples))
        scores_of = {info.name: self._scores(info, accumulator, examples) for info in self._metrics}
        defined = {name: scores for name, scores in scores_of.items() if np.isfinite(scores[0])}
        intervals = {name: interval(scores[1:]) for name, scores in defined.items()}
        report = {
            "examples": int(examples[0]),
            "metrics": {name: float(scores[0]) for name, scores in defined.items()},
            "intervals": {name: list(ends) for name, ends in intervals.items() if ends},
            "resampled": {name: scores[1:] for name, scores in defined.items()},
        }
        if self._confusion:
            report |= class_figures(accumulator.confusion)
            for info in self._metrics:
                metric = _computed(info)
                if isinstance(metric, SummedMetric):
                    report |= metric.details(accumulator.of(info.name))
        return report

    def _scores(self, info: MetricInfo, accumulator: Accumulated, examples: Array) -> Array:
        if info.two_labels and np.any(accumulator.sums.get(_OTHERS, 0)):
            return np.nan * examples
        metric, sums = _computed(info), accumulator.of(info.name)
        rows = accumulator.ranked.get(info.name)
        with _naming(info):
            if isinstance(metric, RankedMetric):
                scores = metric.score(np.concatenate(rows), self._resamples) if rows else np.nan * examples
            else:
                scores = metric.score(sums) if sums else np.nan * examples
        if np.shape(scores) != examples.shape:
            raise UserError(
                f"the metric {info.name}: its `score` returned the shape {np.shape(scores)}, expected "
                f"{examples.shape}, a value for the examples and for each resample"
            )
        return np.where(examples > 0, scores, np.nan)


class MeasureSlices(beam.PTransform):
    """Measures batches of Answers, all of them and by slice.

    Args:
        overall: how all are measured.
        each: how each slice is measured.
        slicings: a side input, one list of Slicing.
        work: of the node.
    """

    def __init__(self, overall: Measure, each: Measure, slicings: AsSingleton, work: Work) -> None:
        super().__init__()
        self._overall = overall
        self._each = each
        self._slicings = slicings
        self._work = work

    def expand(self, answers: beam.PCollection) -> beam.PCollection:
        """A PCollection of Answers to one report, as Measure's, with `slices`: reports by column and name.

        It also has `smaller_is_better`, the names of the errors. Without any answers there is no report.
        """
        work = self._work
        slices = (
            answers
            | "slice" >> beam.FlatMap(lambda *each: work.reported(_sliced, *each), self._slicings)
            | "measure slices" >> beam.CombinePerKey(self._each)
        )
        return (
            answers
            | "measure" >> beam.CombineGlobally(self._overall).without_defaults()
            | "join"
            >> beam.Map(
                lambda *each: work.reported(_join, *each),
                AsList(slices),
                self._slicings,
                self._overall.errors,
            )
        )


def _sliced(answers: Answers, slicings: list[Slicing]) -> list[tuple[tuple[str, str], Answers]]:
    return [((slicing.column, name), part) for slicing in slicings for name, part in slicing.groups(answers)]


def _join(
    report: Report,
    slices: Collection[tuple[tuple[str, str], Report]],
    slicings: list[Slicing],
    errors: list[str],
) -> Report:
    by_column: dict[str, dict[str, Report]] = {}
    for slicing in slicings:
        reports = {name: report for (column, name), report in slices if column == slicing.column}
        by_column[slicing.column] = {name: reports[name] for name in sorted(reports, key=slicing.order)}
    return {**report, "smaller_is_better": errors, "slices": by_column}


def class_figures(confusion: Counter[tuple[str, str]]) -> Report:
    """Precision, recall, F1 and support of each label that occurs, as scikit-learn has them, and the matrix.

    Args:
        confusion: examples by target and prediction.
    """
    labels = sorted({label for pair in confusion for label in pair})
    matrix = [[confusion[target, prediction] for prediction in labels] for target in labels]
    support = [sum(row) for row in matrix]
    predicted = [sum(column) for column in zip(*matrix, strict=True)]
    classes = {
        label: {
            "precision": matrix[i][i] / max(predicted[i], 1),
            "recall": matrix[i][i] / max(support[i], 1),
            "f1": 2 * matrix[i][i] / max(predicted[i] + support[i], 1),
            "support": support[i],
        }
        for i, label in enumerate(labels)
    }
    return {"classes": classes, "confusion": {"labels": labels, "counts": matrix}}


@cache
def _computed(info: MetricInfo) -> SummedMetric | RankedMetric:
    return info.computed_by()


@contextmanager
def _naming(info: MetricInfo) -> Iterator[None]:
    """Says of what fails in a module of the user's which metric it is."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if not is_reference(info.name):
            raise
        raise UserError(f"the metric {info.name} failed: {type(error).__name__}: {error}") from error


def _columns(info: MetricInfo, metric: SummedMetric, answers: Answers) -> dict[tuple[str, Hashable], Array]:
    """What a metric sums, as float64 [n].

    Raises:
        UserError: it is not a whole number for each answer.
    """
    columns: dict[tuple[str, Hashable], Array] = {}
    for key, values in metric.columns(answers).items():
        column = np.asarray(values, np.float64)
        if column.shape != (len(answers.inputs),) or not np.array_equal(column, np.rint(column)):
            raise UserError(
                f"the metric {info.name}: its column {key!r} has the shape {column.shape}, with the values "
                f"{column.ravel()[:3].tolist()}..., expected a whole number for each of the "
                f"{len(answers.inputs)} answers; count in smaller units, such as thousandths"
            )
        columns[info.name, key] = column
    return columns


def _add(
    sums: dict[tuple[str, Hashable], Array], columns: Iterable[tuple[tuple[str, Hashable], Array]]
) -> None:
    for key, column in columns:
        sums[key] = sums[key] + column if key in sums else column
