"""Floors: what answers score that need no network. A model that is not above them has learnt nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from components.evaluate.answers import Answers
from components.evaluate.bootstrap import interval
from components.evaluate.metrics import SummedMetric, metric_info
from components.strict import Task

MAJORITY, COPY, COMMONEST, TFIDF = "majority", "copy", "commonest", "tfidf"
ORDER = (MAJORITY, COPY, COMMONEST, TFIDF)
"""As they are reported."""


@dataclass(frozen=True)
class Commonest:
    """The commonest label or target.

    Args:
        text: itself, in Unicode's form NFC; of several that are as common the first one by the alphabet.
        count: how many examples have it.
    """

    text: str
    count: int


def floor_answers(answers: Answers, task: Task, commonest: Commonest) -> Iterator[tuple[str, Answers]]:
    """Yields the answers to the same examples that need no model, by the floor's name; none has a score.

    Args:
        answers: a batch of a model's.
        task: classification has the majority answer, seq2seq the copied source and the commonest target.
        commonest: label or target.
    """
    if task == "classification":
        yield MAJORITY, constant(answers, commonest.text)
        return
    yield COPY, copied(answers)
    yield COMMONEST, constant(answers, commonest.text)


def copied(answers: Answers) -> Answers:
    """Returns the sources as answers."""
    return replace(_unscored(answers), predictions=list(answers.inputs))


def constant(answers: Answers, text: str) -> Answers:
    """Returns one label or target as the answer to everything."""
    probabilities = answers.probabilities
    if probabilities is not None:  # it prefers no example to another one, whatever its probability
        probabilities = np.zeros_like(probabilities)
    predictions = [text] * len(answers.inputs)
    return replace(_unscored(answers), predictions=predictions, probabilities=probabilities)


def _unscored(answers: Answers) -> Answers:
    scores = np.full(len(answers.inputs), np.nan, np.float32)
    return replace(answers, scores=scores, probabilities=None)


def value(metric: str, answers: Answers) -> float:
    """Returns a metric of a single batch, without resamples and without Beam.

    Args:
        metric: a name of a metric that follows from sums.
        answers: all of them.
    """
    computed = metric_info(metric).computed_by()
    assert isinstance(computed, SummedMetric)
    sums = {name: np.asarray([np.sum(column)], float) for name, column in computed.columns(answers).items()}
    return float(computed.score(sums)[0])


def beside(report: Mapping[str, Any], floor: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what the report of a model says of a floor, as JSON.

    Args:
        report: of the model, as MeasureSlices makes it.
        floor: as Measure makes it, of the same examples.

    Returns:
        `metrics` and `intervals` as in the report, and as `differences` the middle 95 % of the model's metric
        less the floor's in paired resamples.
    """
    differences = {}
    for name, resampled in floor["resampled"].items():
        ends = interval(report["resampled"][name] - resampled) if name in report["resampled"] else None
        if ends:
            differences[name] = list(ends)
    return {"metrics": floor["metrics"], "intervals": floor["intervals"], "differences": differences}
