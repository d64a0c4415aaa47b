"""Which answers are the worst: those to look at first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rapidfuzz.distance import Levenshtein

from components.evaluate.answers import Answers
from components.strict import Task


def graded(answers: Answers, task: Task) -> Iterator[dict[str, Any]]:
    """Yields the wrong answers, each as in the predictions, with its `example` (from 1) and `badness`.

    The badness of a label is its score: how sure the model was. That of a text is how many characters of it
    are wrong, for each character of the target.

    Args:
        answers: a batch.
        task: classification or seq2seq.
    """
    numbers = answers.numbers.tolist()
    for number, row, columns in zip(numbers, answers.rows(), answers.column_rows(), strict=True):
        if not row["correct"]:
            more = {"columns": columns} if columns else {}
            yield {"example": number + 1, "badness": _badness(row, task), **row, **more}


def badness(row: dict[str, Any]) -> tuple[float, int]:
    """Sorts graded answers from the least bad to the worst; of two equal ones, the later comes first."""
    return row["badness"], -row["example"]


def _badness(row: dict[str, Any], task: Task) -> float:
    if task == "classification":
        return float(row["score"] or 0)
    return Levenshtein.distance(row["target"], row["prediction"]) / max(len(row["target"]), 1)
