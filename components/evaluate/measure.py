"""Measures answers in Beam, as a whole and by slice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.pvalue import AsList, AsSingleton

from components.evaluate.answers import Answers
from components.evaluate.bootstrap import counts, interval
from components.evaluate.config import Metric
from components.evaluate.metrics import CALIBRATION_BINS, SCORE_UNIT, SUMMED
from components.evaluate.roc import RANKED, ranked, roc_auc
from components.evaluate.slices import Slicing
from components.work import Work

Array = np.ndarray[Any, Any]
Report = dict[str, Any]


@dataclass
class Accumulated:
    """What is known of some examples.

    Args:
        sums: by metric and column, its sum in the examples and in each resample [1 + R].
        ranked: what roc_auc follows from.
        confusion: examples by target and prediction.
    """

    sums: dict[tuple[str, Hashable], Array] = field(default_factory=dict)
    ranked: list[Array] = field(default_factory=list)
    confusion: Counter[tuple[str, str]] = field(default_factory=Counter)


class Measure(beam.CombineFn):
    """Combines batches of Answers to a report.

    The report has `examples`, `metrics` (by name; one that is not defined on these examples, such as roc_auc
    of one label, is left out), `intervals` (the middle 95 % of the resamples, by name) and `resampled` (the
    metric in each resample, by name). With `confusion` also `classes`, `confusion` and, where
    calibration_error is measured, `calibration`.

    Args:
        metrics: which, in their order.
        resamples: how many bootstrap resamples; 0 for no intervals.
        confusion: whether to report each class.
    """

    def __init__(self, metrics: Sequence[Metric], resamples: int, confusion: bool = False) -> None:
        self._metrics = metrics
        self._resamples = resamples
        self._confusion = confusion

    def create_accumulator(self) -> Accumulated:
        """Nothing is known yet."""
        return Accumulated()

    def add_input(self, accumulator: Accumulated, answers: Answers) -> Accumulated:
        """Adds a batch."""
        columns: dict[tuple[str, Hashable], Any] = {("", "examples"): [1] * len(answers.inputs)}
        for name in self._metrics:
            if name in SUMMED:
                columns |= {(name, key): column for key, column in SUMMED[name].columns(answers).items()}
        matrix = np.asarray(list(columns.values()), np.float64)
        sums = matrix @ counts(answers.numbers, self._resamples).T
        _add(accumulator.sums, zip(columns, sums, strict=True))
        if "roc_auc" in self._metrics:
            accumulator.ranked.append(ranked(answers))
        if self._confusion:
            accumulator.confusion.update(zip(answers.expected, answers.predicted, strict=True))
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[Accumulated]) -> Accumulated:
        """Adds up what is known."""
        merged = Accumulated()
        for each in accumulators:
            _add(merged.sums, each.sums.items())
            merged.ranked += each.ranked
            merged.confusion.update(each.confusion)
        return merged

    def extract_output(self, accumulator: Accumulated) -> Report:
        """Makes the report."""
        examples = accumulator.sums.get(("", "examples"), np.zeros(1 + self._resamples))
        found = {name: self._scores(name, accumulator, examples) for name in self._metrics}
        defined = {name: scores for name, scores in found.items() if np.isfinite(scores[0])}
        intervals = {name: interval(scores[1:]) for name, scores in defined.items()}
        report = {
            "examples": int(examples[0]),
            "metrics": {name: float(scores[0]) for name, scores in defined.items()},
            "intervals": {name: list(ends) for name, ends in intervals.items() if ends},
            "resampled": {name: scores[1:] for name, scores in defined.items()},
        }
        if self._confusion:
            report |= class_figures(accumulator.confusion)
        if self._confusion and "calibration_error" in self._metrics:
            report["calibration"] = _calibration(accumulator.sums)
        return report

    def _scores(self, name: Metric, accumulator: Accumulated, examples: Array) -> Array:
        if name not in SUMMED:
            rows = np.concatenate([np.zeros(0, RANKED), *accumulator.ranked])
            return roc_auc(rows, self._resamples)
        sums = {key: column for (metric, key), column in accumulator.sums.items() if metric == name}
        if not sums:
            return np.full(1 + self._resamples, np.nan)
        return np.where(examples > 0, SUMMED[name].score(sums), np.nan)


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

        Without any answers there is no report.
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
            | "join" >> beam.Map(lambda *each: work.reported(_join, *each), AsList(slices), self._slicings)
        )


def _sliced(answers: Answers, slicings: list[Slicing]) -> list[tuple[tuple[str, str], Answers]]:
    return [((slicing.column, name), part) for slicing in slicings for name, part in slicing.groups(answers)]


def _join(
    report: Report, slices: Collection[tuple[tuple[str, str], Report]], slicings: list[Slicing]
) -> Report:
    by_column: dict[str, dict[str, Report]] = {}
    for slicing in slicings:
        found = {name: each for (column, name), each in slices if column == slicing.column}
        by_column[slicing.column] = {name: found[name] for name in sorted(found, key=slicing.order)}
    return {**report, "slices": by_column}


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


def _calibration(sums: dict[tuple[str, Hashable], Array]) -> list[dict[str, float]]:
    """Of each bin of scores that holds examples: its ends, and what is expected to be equal in it."""
    rows = []
    for number in range(CALIBRATION_BINS):
        named = (sums.get(("calibration_error", (name, number))) for name in ("examples", "correct", "score"))
        examples, correct, score = (0.0 if column is None else float(column[0]) for column in named)
        if examples:
            row = {"from": number / CALIBRATION_BINS, "to": (number + 1) / CALIBRATION_BINS}
            row |= {"examples": int(examples), "accuracy": correct / examples}
            rows.append({**row, "mean_score": score * SCORE_UNIT / examples})
    return rows


def _add(
    sums: dict[tuple[str, Hashable], Array], columns: Iterable[tuple[tuple[str, Hashable], Array]]
) -> None:
    for key, column in columns:
        sums[key] = sums[key] + column if key in sums else column
