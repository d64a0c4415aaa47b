"""The evaluate stage."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam.pvalue import AsList, AsSingleton, TaggedOutput
from apache_beam.transforms.combiners import Top

from components.artifacts.artifact import FileRef, Reference
from components.artifacts.evaluation import join_answers, plot_name, write_calibration, write_figures
from components.artifacts.examples import Examples
from components.artifacts.tokens import Tokens
from components.distinct import distinct
from components.errors import UserError
from components.evaluate.answers import Answers
from components.evaluate.calibrate import Calibrate, Calibration
from components.evaluate.candidates import Candidate, Trained
from components.evaluate.confidence import MeasureConfidence
from components.evaluate.config import EvaluateConfig
from components.evaluate.confused import Confused
from components.evaluate.looked_at import LookAt
from components.evaluate.measure import Measure, MeasureSlices
from components.evaluate.measure_floors import Floors, MeasureFloors
from components.evaluate.predict import Part, Predict, kept_columns
from components.evaluate.slices import LABEL, LENGTH, UNKNOWN, make_slicing
from components.evaluate.split import evaluated_split
from components.evaluate.told import told
from components.evaluate.worst import badness, graded
from components.evaluate.worst_slices import FindWorstSlices, searched_metric, slice_words
from components.models.decode import DecodeConfig
from components.reports import Warned, emit
from components.strict import FIELDS, Split, Task
from components.work import Attempt, Made, Work

_MOST_VALUES = 5_000  # of a column by which the worst slices are looked for


class Evaluate(beam.PTransform):
    """Measures a candidate on the test split (without one: on the validation split), as it is served.

    Args:
        config: what is measured.
        decode: how answers are searched for (seq2seq).
        task: classification or seq2seq.
        work: of the node.
        candidate: what is measured; by default the model that the trial has trained.
        floors: whether floors are measured beside it.
        kept: the columns that the examples have beside text and target; the worst slices are also looked for
            by those with few values.

    Raises:
        UserError: if a metric does not fit the task.
    """

    def __init__(
        self,
        config: EvaluateConfig,
        decode: DecodeConfig | None,
        task: Task,
        work: Work,
        candidate: Candidate | None = None,
        floors: bool = True,
        kept: Sequence[str] = (),
    ) -> None:
        super().__init__()
        try:
            self._metrics = config.measured(task)
        except ValueError as error:
            raise UserError(str(error)) from error
        self._config = config
        self._decode = decode
        self._task = task
        self._work = work
        self._candidate = candidate or Trained()
        self._floors = floors
        self._columns = list(dict.fromkeys([*kept_columns(config.slices), *kept]))

    def expand(self, inputs: beam.PCollection) -> beam.PCollection:
        """{"ingest" and what the candidate reads: Reference} to Made."""
        config, work = self._config, self._work
        find = _FindExamples(
            self._task, self._decode, config.slices, self._columns, work, self._candidate.of_trial
        )
        predict = Predict(self._task, self._decode, config, work, self._candidate, self._columns)
        learnt = self._learnt(inputs)
        outputs = inputs | "find examples" >> beam.ParDo(find).with_outputs(
            _FindExamples.SLICINGS, _FindExamples.SEARCHED, main="parts"
        )
        predicted = (
            outputs.parts
            | "spread" >> beam.Reshuffle()
            | "predict"
            >> beam.ParDo(predict, **learnt).with_outputs(Predict.FILES, Predict.PLOTS, main="answers")
        )
        report = predicted.answers | "measure" >> MeasureSlices(
            Measure(self._metrics, config.resamples, confusion=self._task == "classification"),
            Measure(self._metrics, config.resamples),
            AsSingleton(outputs[_FindExamples.SLICINGS]),
            work,
        )
        wrong = predicted.answers | "grade" >> beam.FlatMap(
            lambda *each: work.reported(_graded, *each), self._task
        )
        beside: dict[str, AsSingleton] = {}
        if self._floors:
            measure = MeasureFloors(
                self._metrics, config.resamples, self._task, config.baseline is not None, self._columns, work
            )
            beside["floors"] = AsSingleton((inputs, predicted.answers) | "floors" >> measure)
        worst = wrong | "worst" >> Top.Of(max(config.worst_examples, 1), key=badness)
        errs: dict[str, AsSingleton] = {}
        if self._task == "classification":
            errs["confused"] = AsSingleton(wrong | "confused" >> Confused(), [])
        if metric := searched_metric(self._metrics):
            searched = AsSingleton(outputs[_FindExamples.SEARCHED])
            find_slices = FindWorstSlices(metric, config.resamples, searched, work)
            errs["worst_slices"] = AsSingleton(predicted.answers | "worst slices" >> find_slices, None)
        looked = inputs | "look at" >> beam.ParDo(
            LookAt(predict, work), AsSingleton(worst), errs.get("confused", ())
        ).with_outputs(LookAt.PLOTS, main="seen")
        errs["attended"] = AsSingleton(looked.seen, [])
        return inputs | "write" >> beam.ParDo(
            _Write(config, work),
            AsSingleton(report),
            AsSingleton(worst),
            AsList(predicted[Predict.FILES]),
            AsList(predicted[Predict.PLOTS]),
            AsList(looked[LookAt.PLOTS]),
            **beside,
            **errs,
            **learnt,
            **self._confidence(predicted.answers, **learnt),
        )

    def _learnt(self, inputs: beam.PCollection) -> dict[str, AsSingleton]:
        """What is learnt from the trial's validation split, if anything is; other candidates bring theirs."""
        config = self._config
        wanted = config.calibrate is not None or config.target_accuracy is not None
        if self._task != "classification" or not wanted or not self._candidate.of_trial:
            return {}
        calibrated = inputs | "calibrate" >> Calibrate(config, self._work, self._candidate)
        return {"calibration": AsSingleton(calibrated)}

    def _confidence(
        self, answers: beam.PCollection, calibration: AsSingleton | None = None
    ) -> dict[str, AsSingleton]:
        if self._task != "classification":
            return {}
        known: AsSingleton | Calibration | None = calibration
        if chosen := self._candidate.chosen:
            known = Calibration(None, chosen, chosen.examples)
        measure = MeasureConfidence(self._config, known, self._work)
        return {"confidence": AsSingleton(answers | "confidence" >> measure)}


def _graded(answers: Answers, task: Task) -> list[dict[str, Any]]:
    return list(graded(answers, task))


class _FindExamples(beam.DoFn):
    """Finds the files of the evaluated split, and how it is sliced."""

    SLICINGS, SEARCHED = "slicings", "searched"

    def __init__(
        self,
        task: Task,
        decode: DecodeConfig | None,
        slices: Sequence[str],
        columns: Sequence[str],
        work: Work,
        checks: bool,
    ) -> None:
        self._task = task
        self._decode = decode or DecodeConfig()
        self._slices = slices
        self._columns = columns
        self._work = work
        self._checks = checks

    def process(self, inputs: Mapping[str, Reference]) -> Iterator[Part | TaggedOutput]:
        with self._work.attempt("find examples"):
            yield from self._find(inputs)

    def _find(self, inputs: Mapping[str, Reference]) -> Iterator[Part | TaggedOutput]:
        examples: Examples = Examples.load(inputs["ingest"])
        split, names = evaluated_split(examples)
        if self._checks:
            self._check(Tokens.load(inputs["tokenize"]), split)
        own = (LENGTH, UNKNOWN, *([LABEL] if self._task == "classification" else []), *self._columns)
        values: dict[str, Counter[Any]] = {column: Counter() for column in (*self._slices, *own)}
        counts = [self._read(examples, name, values) for name in names]
        slicings = {column: make_slicing(column, counted) for column, counted in values.items()}
        yield TaggedOutput(self.SLICINGS, [slicings[column] for column in self._slices])
        yield TaggedOutput(self.SEARCHED, list(slicings.values()))
        for index, name in enumerate(names):
            yield Part(inputs, name, index, sum(counts[:index]), sum(counts))

    def _read(self, examples: Examples, name: str, values: dict[str, Counter[Any]]) -> int:
        """Counts the examples of a file, and adds to how often each value of a slicing column occurs."""
        fields = FIELDS[self._task]
        count = 0
        for batch in examples.batches(name, [*fields, *self._columns]):
            read, expected = (batch[field] for field in fields)
            answers = Answers.of(read, expected, expected)
            count += len(read)
            for column, counter in list(values.items()):
                if column in self._columns and column not in self._slices and len(counter) > _MOST_VALUES:
                    del values[column]  # it tells records apart, and not groups of them
                elif column == LENGTH:
                    counter.update(map(len, answers.inputs))
                elif column != UNKNOWN:
                    counter.update(answers.expected if column == LABEL else batch[column])
        return count

    def _check(self, tokens: Tokens, split: Split) -> None:
        """Warns of what makes a trial's figures doubtful."""
        if split != "test":
            self._warn(
                "there is no test split: measured on validation, which may have decided when training ended"
            )
        if self._task != "seq2seq":
            return
        targets = tokens.statistics()["fields"]["target"]["splits"][split]["tokens"]
        if targets["max"] > self._decode.max_decoding_length:
            self._warn(
                f"targets of {split} have up to {targets['max']} tokens (95 % have at most "
                f"{targets['p95']}), but answers end after {self._decode.max_decoding_length}: raise "
                "decode.max_decoding_length"
            )

    def _warn(self, message: str) -> None:
        emit(Warned(self._work.stage, message))


class _Write(beam.DoFn):
    """Joins the predictions of all parts, and writes the report, the worst answers and the plots."""

    def __init__(self, config: EvaluateConfig, work: Work) -> None:
        self._config = config
        self._work = work

    def process(
        self,
        inputs: Mapping[str, Reference],
        report: dict[str, Any],
        worst: list[dict[str, Any]],
        parts: list[FileRef],
        plots: list[FileRef],
        looked_at: list[FileRef],
        floors: Floors | None = None,
        calibration: Calibration | None = None,
        confidence: dict[str, Any] | None = None,
        **errs: Any,
    ) -> Iterator[Made]:
        report = report | {name: finding for name, finding in errs.items() if finding}
        with self._work.attempt("write") as attempt:
            examples: Examples = Examples.load(inputs["ingest"])
            split, _ = evaluated_split(examples)
            if floors is not None:
                report = report | floors.beside(report, split, bool(examples.parts_of("train")))
                for warning in report["warnings"]:
                    emit(Warned(self._work.stage, warning))
            summary = {name: report[name] for name in ("examples", "metrics", "intervals")}
            if floors is not None:
                summary["floors"] = {name: floor["metrics"] for name, floor in report["floors"].items()}
            if words := slice_words(report["worst_slices"]) if "worst_slices" in report else "":
                summary["worst_slice"] = words
            if confidence:
                report = {**report, "confidence": confidence}
                summary["confidence"] = told(confidence, split)
            made = [
                *join_answers(attempt, self._work.root, parts),
                *write_figures(attempt, split, report, worst[: self._config.worst_examples]),
                *plots,
                *looked_at,
            ]
            if calibration and calibration.fitted:
                made.append(write_calibration(attempt, calibration.fitted.as_json()))
            made += self._draw(report, attempt)
        yield Made(tuple(made), summary)

    def _draw(self, report: dict[str, Any], attempt: Attempt) -> list[FileRef]:
        from components.evaluate import plots

        names = []

        def path(name: str) -> Path:
            names.append(plot_name(name))
            return attempt.path(names[-1])

        if "confusion" in report:
            plots.confusion_matrix(**report["confusion"], path=path("confusion_matrix"))
        if report.get("calibration"):
            before = report.get("confidence", {}).get("uncalibrated", {}).get("bins", ())
            plots.calibration(report["calibration"], path("calibration"), before)
        if report.get("confidence"):
            plots.coverage(report["confidence"]["curve"], path("coverage"))
        if report["metrics"]:
            metric = next(iter(report["metrics"]))
            columns = distinct(report["slices"], lambda column: re.sub(r"[^0-9A-Za-z_.-]", "_", column), 100)
            for column, slices in report["slices"].items():
                plots.quality_by_slice(column, slices, metric, path(f"by_{columns[column]}"))
        return [attempt.add(name) for name in names]
