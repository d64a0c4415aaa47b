"""What is wrong with the answer that a signature beside `serving_default` gives to one text, if anything is.

Only the standard library and numpy are imported; see session.py.
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


class Scored(NamedTuple):
    """What `score` must give to a target.

    Args:
        figures: its outputs, as far as they are known; None stands for a number that is not finite.
        answer: what the model itself says to the text, if that is the target.
    """

    figures: Mapping[str, float | None] = {}
    answer: Answer | None = None


class Check(NamedTuple):
    """The outputs that a signature must have, by name and type, and what finds the fault of one text's.

    The fault is found in view of the answer of `serving_default`, for `score` of a `Scored`.
    """

    outputs: dict[str, str]
    fault: Callable[[Any, Mapping[str, Any]], str | None]


def agree(one: Answer, other: Answer) -> bool:
    """Whether two answers are equal, the scores within the tolerance; scores may also both be not finite."""
    return close(one.score, other.score) and one.prediction == other.prediction


def close(one: float, other: float) -> bool:
    """Whether two numbers are equal within the tolerance, or both not finite."""
    if math.isfinite(one) and math.isfinite(other):
        return math.isclose(one, other, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    return not (math.isfinite(one) or math.isfinite(other))


def _n_best_fault(expected: Answer, outputs: Mapping[str, Any]) -> str | None:
    predictions = [_text(prediction) for prediction in outputs["predictions"]]
    scores = [float(score) for score in outputs["scores"]]
    finished = [bool(value) for value in outputs["finished"]]
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


def _score_fault(expected: Scored, outputs: Mapping[str, Any]) -> str | None:
    fault = (_label_fault if "probability" in outputs else _sequence_fault)(expected, outputs)
    if fault:
        return fault
    for name, figure in expected.figures.items():
        if name not in outputs:
            return f"there is no {name}"
        if not close(float(outputs[name]), math.nan if figure is None else figure):
            return f"{name} is {float(outputs[name]):g}, not {figure}"
    return None


def _label_fault(expected: Scored, outputs: Mapping[str, Any]) -> str | None:
    probability, logarithm = float(outputs["probability"]), float(outputs["log_probability"])
    if not (0 <= probability <= 1 + TOLERANCE and close(math.exp(logarithm), probability)):
        return f"the probability is {probability:g}, its logarithm {logarithm:g}"
    if not outputs["known"] and probability > 0:
        return f"an unknown label has the probability {probability:g}"
    if expected.answer and not (outputs["known"] and close(probability, expected.answer.score)):
        return f"the probability is {probability:g}, but the answer is {expected.answer}"
    return None


def _sequence_fault(expected: Scored, outputs: Mapping[str, Any]) -> str | None:
    tokens = [_text(token) for token in outputs["target_tokens"]]
    logarithms = np.asarray(outputs["token_log_probabilities"], "float64")
    count, total = int(outputs["tokens"]), float(outputs["log_probability"])
    if not 0 < count <= len(tokens) == len(logarithms) or tokens[count - 1] != "</s>" or any(tokens[count:]):
        return f"{count} tokens are {tokens}"
    explodes = expected.figures.get("log_probability", total) is None  # also where it was computed first
    if not (explodes or np.all(logarithms[:count] <= TOLERANCE)) or np.any(logarithms[count:]):
        return f"the log probabilities of {count} tokens are {logarithms.tolist()}"
    if not close(float(logarithms.sum()), total):
        return f"the log probability is {total:g}, but the sum over the tokens {logarithms.sum():g}"
    if bool(outputs["known"]) != ("<unk>" not in tokens):
        return f"known is {bool(outputs['known'])}, but the tokens are {tokens}"
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
    "score": Check({"log_probability": "float32", "known": "bool"}, _score_fault),
}
