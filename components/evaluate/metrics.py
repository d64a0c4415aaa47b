"""Metrics as Beam combiners: what is summed does not depend on how the examples are sharded."""

from __future__ import annotations

import itertools
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from math import fsum
from typing import Any

import apache_beam as beam
from apache_beam.transforms.combiners import TupleCombineFn
from rapidfuzz.distance import Levenshtein
from sacrebleu.metrics.bleu import BLEU, BLEUScore

from components.evaluate.config import Metric
from components.strict import Task

BUCKETS = 8

# effective_order changes only the sentence's own score, which is not used, and spares a warning.
_SENTENCE_BLEU = BLEU(effective_order=True)
_ORDERS = _SENTENCE_BLEU.max_ngram_order


@dataclass(frozen=True)
class Answers:
    """A batch of answers beside what was asked and what was expected, all in Unicode's form NFC.

    Args:
        inputs: the texts read.
        targets: the texts or labels expected.
        predictions: the texts or labels predicted.
    """

    inputs: list[str]
    targets: list[str]
    predictions: list[str]

    @classmethod
    def normalized(cls, inputs: Iterable[str], targets: Iterable[str], predictions: Iterable[str]) -> Answers:
        """Makes a batch of texts in any form."""
        return cls(_nfc(inputs), _nfc(targets), _nfc(predictions))

    @property
    def correct(self) -> list[bool]:
        """Whether each prediction is what was expected."""
        return [
            target == prediction for target, prediction in zip(self.targets, self.predictions, strict=True)
        ]


class Measure(beam.PTransform):
    """Measures batches of Answers.

    Args:
        task: classification or seq2seq.
        metrics: which metrics of the task to report.
    """

    def __init__(self, task: Task, metrics: Collection[Metric]) -> None:
        super().__init__()
        self._task = task
        self._metrics = metrics

    def expand(self, answers: beam.PCollection) -> beam.PCollection:
        """A PCollection of Answers to one report.

        Returns:
            {"examples", "metrics": {name: value}} and for classification "classes" and "confusion", for
            seq2seq "by_length".
        """
        combiner = TupleCombineFn(*combiners(self._task, self._metrics)).with_common_input()
        return (
            answers
            | "combine" >> beam.CombineGlobally(combiner)
            | "merge" >> beam.Map(merge_reports, self._metrics)
        )


def combiners(task: Task, metrics: Collection[Metric]) -> list[beam.CombineFn]:
    """Returns the combiners, from Answers to partial reports, that the metrics need.

    Args:
        task: classification or seq2seq.
        metrics: which metrics of the task to report.
    """
    if task == "classification":
        return [ConfusionMatrix()]
    wanted: list[beam.CombineFn] = [ExactMatch()]
    if "character_error_rate" in metrics:
        wanted.append(CharacterErrorRate())
    if "bleu" in metrics:
        wanted.append(CorpusBleu())
    return wanted


def merge_reports(reports: Iterable[dict[str, Any]], metrics: Collection[Metric]) -> dict[str, Any]:
    """Joins partial reports into one that holds the wanted metrics only.

    Args:
        reports: what the combiners of one task gave.
        metrics: which metrics to keep, in this order.
    """
    merged: dict[str, Any] = {}
    values: dict[str, float] = {}
    for report in reports:
        merged.update(report)
        values.update(report["metrics"])
    return {**merged, "metrics": {name: values[name] for name in metrics}}


class ConfusionMatrix(beam.CombineFn):
    """Accuracy, macro F1 and the figures of each class, as scikit-learn defines them (zero_division=0)."""

    def create_accumulator(self) -> Counter[tuple[str, str]]:
        """Examples by (target, prediction)."""
        return Counter()

    def add_input(self, accumulator: Counter[tuple[str, str]], answers: Answers) -> Counter[tuple[str, str]]:
        """Adds a batch."""
        accumulator.update(zip(answers.targets, answers.predictions, strict=True))
        return accumulator

    def merge_accumulators(
        self, accumulators: Iterable[Counter[tuple[str, str]]]
    ) -> Counter[tuple[str, str]]:
        """Adds up the counts."""
        merged: Counter[tuple[str, str]] = Counter()
        for accumulator in accumulators:
            merged.update(accumulator)
        return merged

    def extract_output(self, accumulator: Counter[tuple[str, str]]) -> dict[str, Any]:
        """Returns examples, accuracy, macro_f1, classes and confusion over the labels that occur."""
        labels = sorted({label for pair in accumulator for label in pair})
        counts = [[accumulator[target, prediction] for prediction in labels] for target in labels]
        support = [sum(row) for row in counts]
        predicted = [sum(column) for column in zip(*counts, strict=True)]
        classes = {
            label: {
                "precision": _ratio(counts[i][i], predicted[i]),
                "recall": _ratio(counts[i][i], support[i]),
                "f1": _ratio(2 * counts[i][i], predicted[i] + support[i]),
                "support": support[i],
            }
            for i, label in enumerate(labels)
        }
        correct = sum(counts[i][i] for i in range(len(labels)))
        return {
            "examples": sum(support),
            "metrics": {
                "accuracy": _ratio(correct, sum(support)),
                "macro_f1": _ratio(fsum(figures["f1"] for figures in classes.values()), len(classes)),
            },
            "classes": classes,
            "confusion": {"labels": labels, "counts": counts},
        }


class ExactMatch(beam.CombineFn):
    """The fraction of answers that are right to the character, in all and by the length of the input."""

    def create_accumulator(self) -> dict[int, tuple[int, int]]:
        """Examples and right answers, by the number of characters (code points) of the input."""
        return {}

    def add_input(
        self, accumulator: dict[int, tuple[int, int]], answers: Answers
    ) -> dict[int, tuple[int, int]]:
        """Adds a batch."""
        for text, correct in zip(answers.inputs, answers.correct, strict=True):
            examples, right = accumulator.get(len(text), (0, 0))
            accumulator[len(text)] = (examples + 1, right + correct)
        return accumulator

    def merge_accumulators(
        self, accumulators: Iterable[dict[int, tuple[int, int]]]
    ) -> dict[int, tuple[int, int]]:
        """Adds up the counts."""
        merged: dict[int, tuple[int, int]] = {}
        for accumulator in accumulators:
            for length, (examples, right) in accumulator.items():
                before = merged.get(length, (0, 0))
                merged[length] = (before[0] + examples, before[1] + right)
        return merged

    def extract_output(self, accumulator: dict[int, tuple[int, int]]) -> dict[str, Any]:
        """Returns examples, exact_match and by_length."""
        examples = sum(examples for examples, _ in accumulator.values())
        right = sum(right for _, right in accumulator.values())
        return {
            "examples": examples,
            "metrics": {"exact_match": _ratio(right, examples)},
            "by_length": length_buckets(accumulator),
        }


class CharacterErrorRate(beam.CombineFn):
    """The sum of the Levenshtein distances over the sum of the targets' lengths, both in code points.

    It may exceed 1. Targets that are all empty count as one character together.
    """

    def create_accumulator(self) -> tuple[int, int]:
        """Distance, and length of the targets."""
        return 0, 0

    def add_input(self, accumulator: tuple[int, int], answers: Answers) -> tuple[int, int]:
        """Adds a batch."""
        return _summed([accumulator, *map(_distance, answers.targets, answers.predictions)])

    def merge_accumulators(self, accumulators: Iterable[tuple[int, int]]) -> tuple[int, int]:
        """Adds up distances and lengths."""
        return _summed(accumulators)

    def extract_output(self, accumulator: tuple[int, int]) -> dict[str, Any]:
        """Returns character_error_rate."""
        distance, length = accumulator
        return {"metrics": {"character_error_rate": distance / max(length, 1)}}


class CorpusBleu(beam.CombineFn):
    """BLEU of the corpus, 0 to 100, from the sum of its sentences' statistics (Papineni et al., 2002).

    Equals `sacrebleu.corpus_bleu` with its defaults (tokenizer 13a, exponential smoothing), for which
    languages that write no spaces are single words.
    """

    def create_accumulator(self) -> list[int]:
        """Lengths of predictions and targets, then by order the n-grams that match, and all of them."""
        return [0] * (2 + 2 * _ORDERS)

    def add_input(self, accumulator: list[int], answers: Answers) -> list[int]:
        """Adds a batch."""
        for target, prediction in zip(answers.targets, answers.predictions, strict=True):
            score: BLEUScore = _SENTENCE_BLEU.sentence_score(prediction, [target])
            statistics = (score.sys_len, score.ref_len, *score.counts, *score.totals)
            accumulator = [a + b for a, b in zip(accumulator, statistics, strict=True)]
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[list[int]]) -> list[int]:
        """Adds up the statistics."""
        return [sum(column) for column in zip(*accumulators, strict=True)]

    def extract_output(self, accumulator: list[int]) -> dict[str, Any]:
        """Returns bleu."""
        score = BLEU.compute_bleu(
            correct=accumulator[2 : 2 + _ORDERS],
            total=accumulator[2 + _ORDERS :],
            sys_len=accumulator[0],
            ref_len=accumulator[1],
            smooth_method="exp",
        )
        return {"metrics": {"bleu": score.score}}


def length_buckets(counts: dict[int, tuple[int, int]], buckets: int = BUCKETS) -> list[dict[str, float]]:
    """Groups lengths into ranges that hold about as many examples each.

    Args:
        counts: examples and right answers, by length.
        buckets: how many ranges at most.

    Returns:
        {"from", "to" (inclusive), "examples", "exact_match"} by rising length.
    """
    total = sum(examples for examples, _ in counts.values())
    lengths = sorted(counts)
    running = itertools.accumulate(counts[length][0] for length in lengths)
    # A length goes where the middle of its examples falls among all examples, sorted by length.
    place = {
        length: (2 * end - counts[length][0]) * buckets // (2 * total)
        for length, end in zip(lengths, running, strict=True)
    }
    rows = []
    for _, group in itertools.groupby(lengths, key=place.__getitem__):
        members = list(group)
        examples = sum(counts[length][0] for length in members)
        right = sum(counts[length][1] for length in members)
        row = {"from": members[0], "to": members[-1], "examples": examples}
        rows.append({**row, "exact_match": right / examples})
    return rows


def _nfc(texts: Iterable[str]) -> list[str]:
    return [unicodedata.normalize("NFC", text) for text in texts]


def _distance(target: str, prediction: str) -> tuple[int, int]:
    return Levenshtein.distance(target, prediction), len(target)


def _summed(pairs: Iterable[Sequence[int]]) -> tuple[int, int]:
    first, second = zip(*pairs, strict=True)
    return sum(first), sum(second)


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
