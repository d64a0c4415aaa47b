"""What computes the metrics that are functions of sums over the examples.

What is summed are whole numbers only: their sums in float64 are exact in any order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from rapidfuzz.distance import Levenshtein
from sacrebleu.metrics.base import Metric as SacreBleuMetric
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from components.evaluate.answers import Answers
from components.evaluate.metrics import SummedMetric

if TYPE_CHECKING:
    from components.evaluate.metrics import Array, Columns, Sums

CALIBRATION_BINS = 15
SCORE_UNIT = 2.0**-30


class FractionCorrect(SummedMetric):
    """Right answers over all answers: accuracy, micro F1 (of one label a text, the same) and exact match."""

    def columns(self, answers: Answers) -> Columns:
        """Whether each answer is right."""
        return {"correct": answers.correct, "examples": [1] * len(answers.inputs)}

    def score(self, sums: Sums) -> Array:
        """Right answers over all."""
        return _ratio(sums["correct"], sums["examples"])


class MacroF1(SummedMetric):
    """The mean of the labels' F1 over the labels that occur, as scikit-learn has it (zero_division=0)."""

    def columns(self, answers: Answers) -> Columns:
        """By label, whether it is expected or predicted (each counts one), and whether it is both."""
        labels = sorted({*answers.expected, *answers.predicted})
        numbers = {label: number for number, label in enumerate(labels)}
        # Compared by number: NumPy's own strings drop a NUL at the end.
        targets, predictions = (
            np.asarray([numbers[label] for label in texts], np.int64)
            for texts in (answers.expected, answers.predicted)
        )
        columns: Columns = {}
        for label, number in numbers.items():
            expected, predicted = targets == number, predictions == number
            columns["named", label] = expected.astype(int) + predicted
            columns["right", label] = expected & predicted
        return columns

    def score(self, sums: Sums) -> Array:
        """The mean of 2 TP / (2 TP + FP + FN)."""
        labels = sorted(key[1] for key in sums if key[0] == "named")  # type: ignore[index]
        named, right = (np.stack([sums[name, label] for label in labels]) for name in ("named", "right"))
        return _ratio((2 * right / np.maximum(named, 1)).sum(axis=0), (named > 0).sum(axis=0))


class CalibrationError(SummedMetric):
    """The expected calibration error (Guo et al., 2017, equation 3): the mean of |accuracy - score|.

    Both are means within 15 bins of equal width, (0, 1/15] to (14/15, 1], by the score of the answer.
    """

    def columns(self, answers: Answers) -> Columns:
        """By bin, the examples, the right answers and the scores, these in units of 2^-30."""
        scores = answers.scores.astype(np.float64)
        bins = np.clip(np.ceil(scores * CALIBRATION_BINS) - 1, 0, CALIBRATION_BINS - 1)
        correct = np.asarray(answers.correct, bool)
        columns: Columns = {}
        for number in np.unique(bins[np.isfinite(scores)]).astype(int).tolist():
            inside = bins == number
            columns["examples", number] = inside
            columns["correct", number] = inside & correct
            columns["score", number] = np.where(inside, np.rint(scores / SCORE_UNIT), 0)
        return columns

    def score(self, sums: Sums) -> Array:
        """The sum over the bins of |right answers - scores|, over all examples."""
        bins = sorted(key[1] for key in sums if key[0] == "examples")  # type: ignore[index]
        gaps = [np.abs(sums["correct", i] - sums["score", i] * SCORE_UNIT) for i in bins]
        zero = np.zeros(1)
        return _ratio(sum(gaps, zero), sum((sums["examples", i] for i in bins), zero))

    def details(self, sums: Sums) -> Mapping[str, Any]:
        """`calibration`: of each bin that holds examples, its ends, and what should be equal in it."""
        rows = []
        for number in range(CALIBRATION_BINS):
            named = (sums.get((name, number)) for name in ("examples", "correct", "score"))
            examples, correct, score = (0.0 if column is None else float(column[0]) for column in named)
            if examples:
                row = {"from": number / CALIBRATION_BINS, "to": (number + 1) / CALIBRATION_BINS}
                row |= {"examples": int(examples), "accuracy": correct / examples}
                rows.append({**row, "mean_score": score * SCORE_UNIT / examples})
        return {"calibration": rows}


class ErrorRate(SummedMetric):
    """The sum of the Levenshtein distances over the sum of the targets' lengths.

    It may exceed 1. Targets that are all empty count as one unit together.

    Args:
        words: whether the units are words, parted by white space, and not characters (code points).
    """

    def __init__(self, words: bool) -> None:
        self._words = words

    def columns(self, answers: Answers) -> Columns:
        """The distance, and the length of the target."""
        targets, predictions = (
            [text.split() if self._words else text for text in texts]
            for texts in (answers.expected, answers.predicted)
        )
        return {
            "distance": list(map(Levenshtein.distance, targets, predictions)),
            "length": list(map(len, targets)),
        }

    def score(self, sums: Sums) -> Array:
        """Distance over length."""
        return np.asarray(sums["distance"] / np.maximum(sums["length"], 1))


class CorpusScore(SummedMetric):
    """A corpus metric of sacrebleu, 0 to 100, from its own statistics of each sentence.

    Args:
        metric: sacrebleu's, with its settings.
    """

    def __init__(self, metric: SacreBleuMetric) -> None:
        self._metric = metric

    def columns(self, answers: Answers) -> Columns:
        """Sacrebleu's statistics, which it resamples by the same two methods."""
        if not answers.inputs:
            return {}
        statistics = self._metric._extract_corpus_statistics(answers.predicted, [answers.expected])
        return dict(enumerate(zip(*statistics, strict=True)))

    def score(self, sums: Sums) -> Array:
        """The corpus' score."""
        rows = zip(*(sums[place] for place in range(len(sums))), strict=True)
        return np.asarray([self._score(row) for row in rows])

    def _score(self, sums: Sequence[float]) -> float:
        return float(self._metric._compute_score_from_stats(list(map(int, sums))).score)


def sacrebleu_bleu() -> SacreBleuMetric:
    """Returns BLEU as sacrebleu sets it by default."""
    return BLEU(force=True)  # it only silences a warning about texts that look tokenized


def sacrebleu_chrf() -> SacreBleuMetric:
    """Returns chrF as sacrebleu sets it by default."""
    return CHRF()


def _ratio(part: Array, whole: Array) -> Array:
    return np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=np.asarray(whole) > 0)
