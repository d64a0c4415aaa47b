"""Answers beside what was asked and what was expected, in batches, and as rows to write down."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from components.text import normal


@dataclass(frozen=True)
class Answers:
    """A batch of answers.

    Args:
        inputs: the texts read.
        targets: the texts or labels expected.
        predictions: the texts or labels predicted.
        numbers: the place of each among all evaluated examples, from 0 [n].
        scores: of each prediction [n], float32.
        probabilities: of two labels, that of the positive one [n], float32; None for a model with others.
        positives: of two labels, 1 where the positive one is expected, 0 where the other one is, and -1 where
            neither is [n]; None for a model with others.
        columns: what else the data says about each example, by column.
        unknown: which share of the tokens of each input the vocabulary lacks [n]; None where that is unknown.
        uncalibrated: the scores before temperature scaling [n], float32; None where there was none.
    """

    inputs: list[str]
    targets: list[str]
    predictions: list[str]
    numbers: np.ndarray[Any, Any]
    scores: np.ndarray[Any, Any]
    probabilities: np.ndarray[Any, Any] | None = None
    positives: np.ndarray[Any, Any] | None = None
    columns: Mapping[str, list[str]] = field(default_factory=dict)
    unknown: np.ndarray[Any, Any] | None = None
    uncalibrated: np.ndarray[Any, Any] | None = None

    @classmethod
    def of(
        cls, inputs: Sequence[str], targets: Sequence[str], predictions: Sequence[str], **others: Any
    ) -> Answers:
        """Makes a batch; by default of the first examples, and with scores that are not a number."""
        unknown = {
            "numbers": np.arange(len(inputs)),
            "scores": np.full(len(inputs), np.nan, np.float32),
        }
        return cls(list(inputs), list(targets), list(predictions), **{**unknown, **others})

    @cached_property
    def expected(self) -> list[str]:
        """The targets in Unicode's form NFC, in which they are compared."""
        return [normal(text) for text in self.targets]

    @cached_property
    def predicted(self) -> list[str]:
        """The predictions in the same form."""
        return [normal(text) for text in self.predictions]

    @property
    def correct(self) -> list[bool]:
        """Whether each prediction is what was expected."""
        return [
            target == prediction for target, prediction in zip(self.expected, self.predicted, strict=True)
        ]

    def select(self, indices: Sequence[int]) -> Answers:
        """Returns some of the answers, by their places in this batch."""
        places = np.asarray(indices, np.int64)

        def some(values: list[str]) -> list[str]:
            return [values[index] for index in indices]

        return Answers(
            some(self.inputs),
            some(self.targets),
            some(self.predictions),
            self.numbers[places],
            self.scores[places],
            None if self.probabilities is None else self.probabilities[places],
            None if self.positives is None else self.positives[places],
            {name: some(values) for name, values in self.columns.items()},
            None if self.unknown is None else self.unknown[places],
            None if self.uncalibrated is None else self.uncalibrated[places],
        )

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yields what the evaluation's predictions say about each answer; JSON-able."""
        texts = zip(self.inputs, self.targets, self.predictions, self.scores, self.correct, strict=True)
        for index, (text, target, prediction, score, correct) in enumerate(texts):
            row: dict[str, Any] = {
                "input": text,
                "target": target,
                "prediction": prediction,
                "score": _json_number(score),
                "correct": correct,
            }
            if self.probabilities is not None:
                row["probability"] = _json_number(self.probabilities[index])
            yield row

    def column_rows(self) -> Iterator[dict[str, str]]:
        """Yields what else the data says about each example, by column."""
        for index in range(len(self.inputs)):
            yield {name: values[index] for name, values in self.columns.items()}


def _json_number(value: np.float32) -> float | None:
    """The shortest decimal that is this float32; JSON has no word for what is not finite."""
    return float(str(value)) if np.isfinite(value) else None
