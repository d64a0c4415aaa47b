"""The area under the ROC curve of two labels, which does not follow from sums."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from components.evaluate.answers import Answers
from components.evaluate.bootstrap import BLOCK, block_counts
from components.evaluate.metrics import RankedMetric

Array = np.ndarray[Any, Any]

RANKED = np.dtype([("number", np.int64), ("probability", np.float32), ("positive", bool)])
"""What has to be known of an example."""

_CHUNK = 1 << 16  # numbers drawn for together


class RocAuc(RankedMetric):
    """The probability that a positive example ranks above a negative one; ties count half (Hanley, 1982)."""

    def rows(self, answers: Answers) -> Array:
        """Number, probability and label of each answer [n]; none [0] where there are not two labels."""
        if answers.probabilities is None or answers.positives is None:
            return np.zeros(0, RANKED)
        rows = np.zeros(len(answers.inputs), RANKED)
        rows["number"] = answers.numbers
        rows["probability"] = answers.probabilities
        rows["positive"] = answers.positives == 1
        return rows

    def score(self, rows: Array, resamples: int) -> Array:
        """The area [1 + resamples]; not a number where one label is missing."""
        rows = rows[np.lexsort((rows["number"], rows["probability"]))]
        starts = np.flatnonzero(np.diff(rows["probability"], prepend=np.nan) != 0)
        areas = [_areas(rows["positive"], starts, np.ones((len(rows), 1)))]
        for block in range(math.ceil(resamples / BLOCK)):
            areas.append(_areas(rows["positive"], starts, _counts(rows["number"], block)))
        return np.concatenate(areas)[: 1 + resamples]


def _areas(positive: Array, starts: Array, counts: Array) -> Array:
    """The area for each column of counts [n, B], the examples being sorted, and equal from start to start."""
    if not len(positive):
        return np.full(counts.shape[1], np.nan)
    positives, negatives = (
        np.add.reduceat(counts * side[:, None], starts, axis=0, dtype=np.float64)
        for side in (positive, ~positive)
    )
    below = np.cumsum(negatives, axis=0) - negatives
    pairs = positives.sum(axis=0) * negatives.sum(axis=0)
    won = (positives * (below + negatives / 2)).sum(axis=0)
    return np.divide(won, pairs, out=np.full(pairs.shape, np.nan), where=pairs > 0)


def _counts(numbers: Array, block: int) -> Array:
    counts = np.zeros((len(numbers), BLOCK), np.uint8)
    for start in range(0, int(numbers.max(initial=-1)) + 1, _CHUNK):
        inside = (start <= numbers) & (numbers < start + _CHUNK)
        if inside.any():
            counts[inside] = block_counts(numbers[inside], block)
    return counts
