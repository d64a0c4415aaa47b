"""What makes a model's figures doubtful: no better than a floor, answers that do not vary, few examples."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import apache_beam as beam

from components.evaluate.answers import Answers
from components.evaluate.metrics import METRICS, shown
from components.ingest.advice import shorten
from components.strict import Split

FEW = 200
"""Examples, under which an interval is wider than most differences between models."""
_RULE_OF_THREE = 3.0  # over the examples: the rate of what was never seen (Hanley and Lippman-Hand, 1983)
_FRACTION = (0.0, 1.0)


@dataclass(frozen=True)
class Variety:
    """How much answers vary.

    Args:
        examples: how many there are.
        empty: how many answers are empty.
        answers: different answers, two at most.
        targets: different texts that were expected, two at most.
    """

    examples: int = 0
    empty: int = 0
    answers: frozenset[str] = field(default=frozenset())
    targets: frozenset[str] = field(default=frozenset())


class Varied(beam.CombineFn):
    """Combines batches of Answers to their Variety."""

    def create_accumulator(self) -> Variety:
        """Nothing is known yet."""
        return Variety()

    def add_input(self, accumulator: Variety, answers: Answers) -> Variety:
        """Adds a batch."""
        predicted = answers.predicted
        empty = sum(not text.strip() for text in predicted)
        some = Variety(len(predicted), empty, _two(predicted), _two(answers.expected))
        return self.merge_accumulators([accumulator, some])

    def merge_accumulators(self, accumulators: Iterable[Variety]) -> Variety:
        """Adds up what is known."""
        known = list(accumulators)
        return Variety(
            sum(each.examples for each in known),
            sum(each.empty for each in known),
            _two(text for each in known for text in each.answers),
            _two(text for each in known for text in each.targets),
        )

    def extract_output(self, accumulator: Variety) -> Variety:
        """Returns what is known."""
        return accumulator


def _two(texts: Iterable[str]) -> frozenset[str]:
    return frozenset(sorted(set(texts))[:2])


def doubts(
    report: Mapping[str, Any], floors: Mapping[str, Mapping[str, Any]], variety: Variety, split: Split
) -> Iterator[str]:
    """Yields warnings, each a sentence.

    Args:
        report: of the model, as MeasureSlices makes it.
        floors: by name, as `floors.beside` gives them.
        variety: of the model's answers.
        split: that was measured on.
    """
    if variety.examples and variety.empty == variety.examples:
        yield "all answers are empty: the model has learnt nothing, or decoding ends at once"
    elif len(variety.answers) == 1 and len(variety.targets) > 1:
        (only,) = variety.answers
        yield f"all answers are alike, {shorten(only)!r}: the model does not look at what it reads"
    for name, floor in floors.items():
        if warning := _not_above(report, name, floor):
            yield warning
    if variety.examples < FEW:
        yield _few(report, variety.examples, split)


def _not_above(report: Mapping[str, Any], name: str, floor: Mapping[str, Any]) -> str:
    """Compares on the first metric that tells the two apart at all; empty if the model is clearly above."""
    errors = report["smaller_is_better"]
    both = [metric for metric in report["metrics"] if metric in floor["metrics"]]
    if not both:
        return ""
    telling = (each for each in both if each in errors or _is_above_nothing(each, report, floor))
    metric = next(telling, both[0])
    ours, theirs = report["metrics"][metric], floor["metrics"][metric]
    sign = -1 if metric in errors else 1
    within = floor["differences"].get(metric)
    if sign * (ours - theirs) > 0 and (within is None or min(sign * end for end in within) > 0):
        return ""
    answer = f" ({shorten(floor['answer'], 30)!r} to everything)" if "answer" in floor else ""
    noise = ""
    if within is not None:
        low, high = (shown(metric, end, sign=True) for end in within)
        noise = f": 95 % of the paired resamples differ by {low} to {high}"
    return (
        f"the model is not clearly above the floor {name}{answer}: {metric} {shown(metric, ours)}, the floor "
        f"{shown(metric, theirs)}{noise}"
    )


def _is_above_nothing(metric: str, report: Mapping[str, Any], floor: Mapping[str, Any]) -> bool:
    """Whether not both have the worst value: no sentence of a translation is ever matched exactly."""
    return bool(max(report["metrics"][metric], floor["metrics"][metric]) > _range(metric)[0])


def _few(report: Mapping[str, Any], examples: int, split: Split) -> str:
    what = f"the {split} split has {examples} example{'s' * (examples != 1)}, fewer than {FEW}"
    metric = next(iter(report["intervals"]), "")
    if not metric:
        return f"{what}: too few to tell models apart"
    low, high = report["intervals"][metric]
    width = high - low
    if _range(metric) == _FRACTION:
        if not width:  # the bootstrap cannot draw an error that did not occur
            width = min(1.0, _RULE_OF_THREE / examples)
        width *= 100
    return f"{what}: the 95 % interval of {metric} is {width:.3g} points wide"


def _range(metric: str) -> tuple[float, float]:
    """The range of a metric; a worker may not know one that was registered."""
    return METRICS[metric].range if metric in METRICS else (-math.inf, math.inf)
