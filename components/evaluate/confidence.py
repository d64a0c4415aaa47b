"""What a classifier's scores are worth on the evaluated examples: calibration, coverage, a threshold."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.pvalue import AsList, AsSingleton

from components.evaluate.answers import Answers
from components.evaluate.calibrate import SAMPLED, Calibration
from components.evaluate.config import EvaluateConfig
from components.evaluate.coverage import CoverageCurve
from components.evaluate.measure import Measure
from components.evaluate.sample import Sample
from components.work import Work

Array = np.ndarray[Any, Any]
Report = dict[str, Any]

_ERROR = "calibration_error"


class MeasureConfidence(beam.PTransform):
    """Batches of Answers of a classifier to one report; no report without any answers.

    The report has `coverage` (rows of coverage, threshold, accuracy and its interval), `curve` (points of
    coverage and accuracy), `aurc`, `sampled` (how many examples these are of), and where they were wanted
    `temperature`, `uncalibrated` (the calibration error and its bins without the temperature) and
    `threshold`.

    Args:
        config: what is wanted.
        calibration: what was learnt, or a side input of it; None where nothing was.
        work: of the node.
    """

    def __init__(
        self, config: EvaluateConfig, calibration: AsSingleton | Calibration | None, work: Work
    ) -> None:
        super().__init__()
        self._config = config
        self._calibration = [] if calibration is None else [calibration]
        self._work = work

    def expand(self, answers: beam.PCollection) -> beam.PCollection:
        """Samples scores, and measures what they were before."""
        work = self._work
        before = (
            answers
            | "uncalibrated" >> beam.FlatMap(lambda each: work.reported(_uncalibrated, each))
            | "measure uncalibrated"
            >> beam.CombineGlobally(
                Measure([_ERROR], self._config.resamples, confusion=True)
            ).without_defaults()
        )
        return (
            answers
            | "scores" >> beam.Map(lambda each: work.reported(_rows, each))
            | "sample scores" >> beam.CombineGlobally(Sample(SAMPLED)).without_defaults()
            | "confidence"
            >> beam.Map(
                lambda *each: work.reported(confidence_report, *each),
                self._config.target_accuracy,
                AsList(before),
                *self._calibration,
            )
        )


def _uncalibrated(answers: Answers) -> list[Answers]:
    return [] if answers.uncalibrated is None else [replace(answers, scores=answers.uncalibrated)]


def _rows(answers: Answers) -> Array:
    rows = np.empty(len(answers.inputs), [("number", "i8"), ("score", "f4"), ("correct", "?")])
    rows["number"], rows["score"], rows["correct"] = answers.numbers, answers.scores, answers.correct
    return rows


def confidence_report(
    rows: Array,
    target: float | None,
    before: list[Report],
    calibration: Calibration | None = None,
) -> Report:
    """Makes the report; see MeasureConfidence.

    Args:
        rows: `score` and `correct` of the answers; at least one.
        target: the accuracy that a threshold is wanted for.
        before: what was measured of the scores without the temperature, if there is one.
        calibration: what was learnt from the validation split, of this run or of the one that made the model.
    """
    learnt = calibration or Calibration()
    curve = CoverageCurve(rows["score"], rows["correct"])
    report: Report = {
        "sampled": len(rows),
        "coverage": curve.rows(),
        "curve": curve.points(),
        "aurc": curve.aurc(),
    }
    if learnt.fitted:
        report["temperature"] = learnt.fitted.as_json()
    if before:
        measured = before[0]
        report["uncalibrated"] = {
            _ERROR: measured["metrics"].get(_ERROR),
            "interval": measured["intervals"].get(_ERROR),
            "bins": measured["calibration"],
        }
    if target is not None:
        report["threshold"] = _threshold(curve, target, learnt)
    return report


def _threshold(curve: CoverageCurve, target: float, learnt: Calibration) -> Report:
    """Where the target accuracy begins, on what that was chosen, and what it comes to here."""
    chosen = learnt.chosen if learnt.examples else curve.reaching(target)
    here = curve.at(chosen.threshold) if chosen else None
    return {
        "target_accuracy": target,
        "on_validation": bool(learnt.examples),
        "chosen": chosen.as_json() if chosen else None,
        "chosen_examples": learnt.examples or curve.examples,
        "evaluated": here.as_json() if here else None,
    }
