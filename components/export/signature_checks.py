"""What is wrong with the answer that a signature beside `serving_default` gives to one text, if anything is.

replay.py loads this file by its path; only the standard library and numpy are imported.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

TOLERANCE = 1e-4
_SUM_TOLERANCE = 1e-3


class Answer(NamedTuple):
    """What the model says to a text. The score may be not finite."""

    prediction: str
    score: float

    def __str__(self) -> str:
        return f"{self.prediction!r} (score {self.score:g})"


class Check(NamedTuple):
    """The outputs that a signature must have, by name and type, and what finds the fault of one text's."""

    outputs: dict[str, str]
    fault: Callable[[Answer, Mapping[str, Any]], str | None]


def agree(one: Answer, other: Answer) -> bool:
    """Whether two answers are equal, the scores within the tolerance; scores may also both be not finite."""
    if math.isfinite(one.score) and math.isfinite(other.score):
        close = math.isclose(one.score, other.score, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    else:
        close = not (math.isfinite(one.score) or math.isfinite(other.score))
    return close and one.prediction == other.prediction


def _n_best_fault(expected: Answer, outputs: Mapping[str, Any]) -> str | None:
    predictions = [_text(prediction) for prediction in outputs["predictions"]]
    scores = [float(score) for score in outputs["scores"]]
    finished = [bool(each) for each in outputs["finished"]]
    first = Answer(predictions[0], scores[0])
    if not agree(first, expected):
        return f"the first is {first}, not {expected}"
    if any(math.isnan(score) or score == math.inf for score in scores):
        return f"the scores are {scores}"
    count = sum(score > -math.inf for score in scores)
    if -math.inf in scores[:count] or any(predictions[count:]) or any(finished[count:]):
        return f"{count} of the scores are finite, but the places behind them are not empty"
    ranks = list(zip(finished, scores, strict=True))[:count]
    if ranks != sorted(ranks, reverse=True):
        return f"they are not sorted: the scores are {scores}, finished are {finished}"
    if len(set(predictions[:count])) < count:
        return f"one occurs twice: {predictions[:count]}"
    return None


def _classify_fault(expected: Answer, outputs: Mapping[str, Any]) -> str | None:
    classes = [_text(label) for label in outputs["classes"]]
    scores = [float(score) for score in outputs["scores"]]
    if len(set(classes)) < len(classes):
        return f"a class occurs twice: {classes}"
    if any(not 0 <= score <= 1 for score in scores) or abs(sum(scores) - 1) > _SUM_TOLERANCE:
        return f"the scores are no probabilities: {scores}"
    score, label = max(zip(scores, classes, strict=True))
    best = Answer(label, score)
    if agree(best, expected) or any(  # of two equal ones either may be the answer
        agree(Answer(label, score), expected) and math.isclose(score, best.score, abs_tol=TOLERANCE)
        for score, label in zip(scores, classes, strict=True)
    ):
        return None
    return f"the best is {best}, not {expected}"


def _explain_fault(expected: Answer, outputs: Mapping[str, Any]) -> str | None:
    answer = Answer(_text(outputs["prediction"]), float(outputs["score"]))
    if not agree(answer, expected):
        return f"the answer is {answer}, not {expected}"
    weights = np.asarray(outputs["attention"], "float64")
    sources, targets = outputs["source_tokens"] != b"", outputs["target_tokens"] != b""
    if weights.shape != (len(targets), len(sources)):
        return f"{len(targets)} by {len(sources)} tokens have weights of the shape {weights.shape}"
    if not np.all(np.isfinite(weights) & (weights >= 0)):
        return "a weight is negative or not finite"
    sums = weights.sum(axis=1)
    if np.any(sums > 1 + _SUM_TOLERANCE):  # less is possible: not every attention is a distribution
        return f"the weights of token {np.argmax(sums) + 1} add up to {sums.max():g}"
    if np.any(weights[~targets]) or np.any(weights[:, ~sources]):
        return "padding has a weight"
    return None


def _text(value: bytes) -> str:
    return value.decode(errors="replace")


CHECKS = {
    "classify": Check({"classes": "string", "scores": "float32"}, _classify_fault),
    "n_best": Check({"predictions": "string", "scores": "float32", "finished": "bool"}, _n_best_fault),
    "explain": Check(
        {
            "prediction": "string",
            "score": "float32",
            "source_tokens": "string",
            "target_tokens": "string",
            "attention": "float32",
        },
        _explain_fault,
    ),
}
