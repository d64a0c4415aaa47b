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
from components.artifacts.evaluation import join_answers, plot_name, write_figures
from components.artifacts.examples import Examples
from components.artifacts.tokens import Tokens
from components.distinct import distinct
from components.errors import UserError
from components.evaluate.answers import Answers
from components.evaluate.candidates import Candidate, Trained
from components.evaluate.config import EvaluateConfig
from components.evaluate.measure import Measure, MeasureSlices
from components.evaluate.predict import Part, Predict, kept_columns
from components.evaluate.slices import LABEL, LENGTH, make_slicing
from components.evaluate.worst import badness, graded
from components.models.decode import DecodeConfig
from components.reports import Warned, emit
from components.strict import FIELDS, Split, Task
from components.work import Attempt, Made, Work


class Evaluate(beam.PTransform):
    """Measures a candidate on the test split (without one: on the validation split), as it is served.

    Args:
        config: what is measured.
        decode: how answers are searched for (seq2seq).
        task: classification or seq2seq.
        work: of the node.
        candidate: what is measured; by default the model that the trial has trained.

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

    def expand(self, inputs: beam.PCollection) -> beam.PCollection:
        """{"ingest" and what the candidate reads: Reference} to Made."""
        config, work = self._config, self._work
        find = _FindExamples(self._task, self._decode, config.slices, work, self._candidate.of_trial)
        predict = Predict(self._task, self._decode, config, work, self._candidate)
        outputs = inputs | "find examples" >> beam.ParDo(find).with_outputs(
            _FindExamples.SLICINGS, main="parts"
        )
        predicted = (
            outputs.parts
            | "spread" >> beam.Reshuffle()
            | "predict" >> beam.ParDo(predict).with_outputs(Predict.FILES, Predict.PLOTS, main="answers")
        )
        report = predicted.answers | "measure" >> MeasureSlices(
            Measure(self._metrics, config.resamples, confusion=self._task == "classification"),
            Measure(self._metrics, config.resamples),
            AsSingleton(outputs[_FindExamples.SLICINGS]),
            work,
        )
        worst = (
            predicted.answers
            | "grade" >> beam.FlatMap(lambda *each: work.reported(_graded, *each), self._task)
            | "worst" >> Top.Of(max(config.worst_examples, 1), key=badness)
        )
        return inputs | "write" >> beam.ParDo(
            _Write(config, work),
            AsSingleton(report),
            AsSingleton(worst),
            AsList(predicted[Predict.FILES]),
            AsList(predicted[Predict.PLOTS]),
        )


def _graded(answers: Answers, task: Task) -> list[dict[str, Any]]:
    return list(graded(answers, task))


class _FindExamples(beam.DoFn):
    """Finds the files of the evaluated split, and how it is sliced."""

    SLICINGS = "slicings"

    def __init__(
        self, task: Task, decode: DecodeConfig | None, slices: Sequence[str], work: Work, checks: bool
    ) -> None:
        self._task = task
        self._decode = decode or DecodeConfig()
        self._slices = slices
        self._work = work
        self._checks = checks

    def process(self, inputs: Mapping[str, Reference]) -> Iterator[Part | TaggedOutput]:
        with self._work.attempt("find examples"):
            yield from self._find(inputs)

    def _find(self, inputs: Mapping[str, Reference]) -> Iterator[Part | TaggedOutput]:
        examples: Examples = Examples.load(inputs["ingest"])
        split, names = _evaluated_split(examples)
        if self._checks:
            self._check(Tokens.load(inputs["tokenize"]), split)
        values: dict[str, Counter[Any]] = {column: Counter() for column in self._slices}
        counts = [self._read(examples, name, values) for name in names]
        yield TaggedOutput(self.SLICINGS, [make_slicing(column, counts) for column, counts in values.items()])
        for index, name in enumerate(names):
            yield Part(inputs, name, index, sum(counts[:index]), sum(counts))

    def _read(self, examples: Examples, name: str, values: dict[str, Counter[Any]]) -> int:
        """Counts the examples of a file, and adds to how often each value of a slicing column occurs."""
        fields = FIELDS[self._task]
        count = 0
        for batch in examples.batches(name, [*fields, *kept_columns(self._slices)]):
            read, expected = (batch[field] for field in fields)
            answers = Answers.of(read, expected, expected)
            count += len(read)
            for column, counter in values.items():
                if column == LENGTH:
                    counter.update(map(len, answers.inputs))
                else:
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


def _evaluated_split(examples: Examples) -> tuple[Split, list[str]]:
    splits: tuple[Split, ...] = ("test", "validation")
    for split in splits:
        names = examples.parts_of(split)
        if names:
            return split, names
    raise UserError(
        "The ingested data has neither a test nor a validation split; expected examples to measure "
        "the model on: name files for `test` in ingest.files, or give it a fraction in ingest.holdout."
    )


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
    ) -> Iterator[Made]:
        with self._work.attempt("write") as attempt:
            split, _ = _evaluated_split(Examples.load(inputs["ingest"]))
            made = [
                *join_answers(attempt, self._work.root, parts),
                *write_figures(attempt, split, report, worst[: self._config.worst_examples]),
                *plots,
            ]
            made += self._draw(report, attempt)
        yield Made(tuple(made), {name: report[name] for name in ("examples", "metrics", "intervals")})

    def _draw(self, report: dict[str, Any], attempt: Attempt) -> list[FileRef]:
        from components.evaluate import plots

        names = []

        def path(name: str) -> Path:
            names.append(plot_name(name))
            return attempt.path(names[-1])

        if "confusion" in report:
            plots.confusion_matrix(**report["confusion"], path=path("confusion_matrix"))
        if report.get("calibration"):
            plots.calibration(report["calibration"], path("calibration"))
        if report["metrics"]:
            metric = next(iter(report["metrics"]))
            columns = distinct(report["slices"], lambda column: re.sub(r"[^0-9A-Za-z_.-]", "_", column), 100)
            for column, slices in report["slices"].items():
                plots.quality_by_slice(column, slices, metric, path(f"by_{columns[column]}"))
        return [attempt.add(name) for name in names]
