"""Measures floors in Beam, on the same examples and by the same metrics as a model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.pvalue import AsList, AsSingleton

from components.artifacts.artifact import Reference
from components.artifacts.examples import Examples
from components.evaluate.answers import Answers
from components.evaluate.doubts import Varied, Variety, doubts
from components.evaluate.floors import COPY, ORDER, TFIDF, Commonest, beside, floor_answers
from components.evaluate.measure import Measure, Report
from components.evaluate.predict import ranked_labels, ranks
from components.evaluate.split import evaluated_split
from components.reports import Warned, emit
from components.strict import FIELDS, Split, Task
from components.text import normal
from components.work import Work

Inputs = Mapping[str, Reference]


@dataclass(frozen=True)
class Floors:
    """What was measured beside a model.

    Args:
        reports: as Measure makes them, by the floor's name.
        commonest: the label or target that the constant answer is.
        variety: how much the model's answers vary.
    """

    reports: Mapping[str, Report]
    commonest: Commonest
    variety: Variety

    def beside(self, report: Report, split: Split, trained: bool) -> dict[str, Any]:
        """Returns what the report of the model says of them, as JSON: `floors` by name, and `warnings`.

        Args:
            report: of the model, as MeasureSlices makes it.
            split: that was measured on.
            trained: whether there is a train split, which the commonest label or target is of.
        """
        floors = {name: beside(report, self.reports[name]) for name in ORDER if name in self.reports}
        for name, floor in floors.items():
            if name not in (COPY, TFIDF):
                floor |= {"answer": self.commonest.text, "of": "train" if trained else split}
        return {"floors": floors, "warnings": list(doubts(report, floors, self.variety, split))}


class MeasureFloors(beam.PTransform):
    """Measures the majority answer, or the copied source and the commonest target, and a baseline.

    The commonest label or target is that of the train split. Data that are only evaluated have none: there it
    is that of the examples themselves, the most often right of all constant answers.

    Args:
        metrics: by name.
        resamples: how many bootstrap resamples.
        task: classification or seq2seq.
        baseline: whether the linear floor is fitted to the train split.
        columns: that are kept beside the answers.
        work: of the node.
    """

    def __init__(
        self,
        metrics: Sequence[str],
        resamples: int,
        task: Task,
        baseline: bool,
        columns: Sequence[str],
        work: Work,
    ) -> None:
        super().__init__()
        self._measure = Measure(metrics, resamples)
        self._task = task
        self._baseline = baseline
        self._columns = columns
        self._work = work

    def expand(self, read: tuple[beam.PCollection, beam.PCollection]) -> beam.PCollection:
        """{"ingest": Reference} and a model's Answers to one Floors."""
        inputs, answers = read
        task, work = self._task, self._work
        commonest = (
            inputs
            | "find train" >> beam.FlatMap(lambda each: work.reported(_train_parts, each))
            | "spread train" >> beam.Reshuffle()
            | "count targets" >> beam.FlatMap(lambda each: work.reported(_counts, *each, task))
            | "sum targets" >> beam.CombinePerKey(sum)
            | "commonest" >> beam.CombineGlobally(_FindCommonest()).without_defaults()
        )
        floors = answers | "floors" >> beam.FlatMap(
            lambda each, found: work.reported(_listed, each, task, found), AsSingleton(commonest)
        )
        if self._baseline:
            linear = inputs | "baseline" >> beam.ParDo(_LinearAnswers(self._columns, work))
            floors = (floors, linear) | "with baseline" >> beam.Flatten()
        reports = floors | "measure floors" >> beam.CombinePerKey(self._measure)
        variety = answers | "variety" >> beam.CombineGlobally(Varied()).without_defaults()
        return variety | "floors together" >> beam.Map(
            lambda varied, reports, found: Floors(dict(reports), found, varied),
            AsList(reports),
            AsSingleton(commonest),
        )


def _train_parts(inputs: Inputs) -> list[tuple[Reference, str]]:
    examples: Examples = Examples.load(inputs["ingest"])
    names = examples.parts_of("train") or evaluated_split(examples)[1]
    return [(inputs["ingest"], name) for name in names]


def _counts(reference: Reference, name: str, task: Task) -> list[tuple[str, int]]:
    """How often each target of a file occurs."""
    examples: Examples = Examples.load(reference)
    _, expected = FIELDS[task]
    counts: Counter[str] = Counter()
    for batch in examples.batches(name, [expected]):
        counts.update(map(normal, batch[expected]))
    return list(counts.items())


def _listed(answers: Answers, task: Task, commonest: Commonest) -> list[tuple[str, Answers]]:
    return list(floor_answers(answers, task, commonest))


class _FindCommonest(beam.CombineFn):
    """Combines targets and how often each occurs to the Commonest."""

    def create_accumulator(self) -> Commonest:
        return Commonest("", 0)

    def add_input(self, accumulator: Commonest, counted: tuple[str, int]) -> Commonest:
        return self.merge_accumulators([accumulator, Commonest(*counted)])

    def merge_accumulators(self, accumulators: Iterable[Commonest]) -> Commonest:
        return min(accumulators, key=lambda each: (-each.count, each.text))

    def extract_output(self, accumulator: Commonest) -> Commonest:
        return accumulator


class _LinearAnswers(beam.DoFn):
    """Fits the linear floor to the train split, and answers the evaluated one; nothing if it has no floor."""

    def __init__(self, columns: Sequence[str], work: Work) -> None:
        self._columns = columns
        self._work = work

    def process(self, inputs: Inputs) -> Iterator[tuple[str, Answers]]:
        with self._work.attempt("baseline"):
            yield from self._answers(Examples.load(inputs["ingest"]))

    def _answers(self, examples: Examples) -> Iterator[tuple[str, Answers]]:
        from components.evaluate.linear import LinearFloor, NoFloorError

        if not (train := examples.parts_of("train")):  # data that are only evaluated
            return
        try:
            floor = LinearFloor((texts, labels) for texts, labels, _ in _labelled(examples, train))
        except NoFloorError as error:
            emit(Warned(self._work.stage, f"no floor {TFIDF}: {error}"))
            return
        ranked = ranked_labels(floor.labels)
        first = 0
        for texts, expected, kept in _labelled(examples, evaluated_split(examples)[1], self._columns):
            probabilities = floor.probabilities(texts)
            predictions = [floor.labels[place] for place in probabilities.argmax(axis=1)]
            numbers = np.arange(first, first + len(texts))
            first += len(texts)
            scores = probabilities.max(axis=1).astype(np.float32)
            more = ranks(ranked, expected, predictions, probabilities)
            yield (
                TFIDF,
                Answers.of(
                    texts, expected, predictions, numbers=numbers, scores=scores, columns=kept, **more
                ),
            )


def _labelled(
    examples: Examples, names: Sequence[str], columns: Sequence[str] = ()
) -> Iterator[tuple[list[str], list[str], dict[str, list[str]]]]:
    read, expected = FIELDS["classification"]
    for name in names:
        for batch in examples.batches(name, [read, expected, *columns]):
            labels = [normal(label) for label in batch[expected]]
            yield batch[read], labels, {column: batch[column] for column in columns}
