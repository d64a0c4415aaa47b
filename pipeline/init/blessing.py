"""What a model must be better than to be served: answers that cost no training."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any, NamedTuple

from components.ingest.advice import shorten
from pipeline.init.chance import above, bar_above
from pipeline.init.statistics import Statistics

_SERVED_REGRESSION = 0.01
_PAIRS = 500
_UNEQUAL = 4  # times as frequent as the other labels on average


class Blessing(NamedTuple):
    """Metrics, bounds and why.

    Args:
        metrics: to measure.
        bless: bounds by metric.
        why: the floor and the margin in words, a line each.
    """

    metrics: list[str]
    bless: dict[str, dict[str, float]]
    why: list[str]


def bless_labels(train: Statistics, tested: int) -> Blessing:
    """Bounds for a classifier: above what the commonest label alone scores.

    Args:
        train: whose labels are counted.
        tested: examples of the test split.
    """
    (label, most), *_ = train.labels.most_common(1)
    share = most / train.labels.total()
    bar = bar_above(share, tested)
    metrics = ["accuracy", "macro_f1", *(["roc_auc"] if len(train.labels) == 2 else []), "calibration_error"]
    bless: dict[str, dict[str, float]] = {
        "accuracy": {"min": bar.least, "max_regression": _SERVED_REGRESSION},
    }
    why = f"Answering {shorten(label)!r} to everything has an accuracy of {share:.3f}"
    others = (1 - share) / (len(train.labels) - 1)
    if share <= _UNEQUAL * others:
        return Blessing(metrics, bless, [f"{why}. {bar.why}"])
    majority = 2 * share / (1 + share) / len(train.labels)
    bless["macro_f1"] = {"min": above(majority)}
    counts = f"a macro F1 of {majority:.3f}: where labels are as unequal as here, every one counts there."
    if bar.least < 1:
        return Blessing(metrics, bless, [f"{why}. {bar.why}", f"It has {counts}"])
    del bless["accuracy"]["min"]  # which only a test split without an error would reach
    return Blessing(metrics, bless, [f"{why}, and {counts}"])


def bless_texts(train: Statistics, tested: int, is_short: bool) -> Blessing:
    """Bounds for text to text: above copying the source, and above the commonest target.

    Args:
        train: whose pairs are looked at.
        tested: examples of the test split.
        is_short: whether targets are short strings, right or wrong as a whole.
    """
    from components.evaluate.answers import Answers
    from components.evaluate.floors import constant, copied, value

    pairs = train.pairs
    (common, _), *_ = Counter(target for _, target in pairs).most_common(1)
    sources, targets = zip(*pairs, strict=True)
    answers = Answers.of(sources, targets, targets)
    if is_short:
        copy, commonest = (
            value("exact_match", each) for each in (copied(answers), constant(answers, common))
        )
        bar = bar_above(max(copy, commonest), tested)
        why = (
            f"Copying the source is right for {copy:.1%}, the commonest target, {shorten(common, 30)!r}, "
            f"for {commonest:.1%}. {bar.why}"
        )
        return Blessing(
            ["exact_match", "character_error_rate"],
            {"exact_match": {"min": bar.least, "max_regression": _SERVED_REGRESSION}},
            [why],
        )
    some = answers.select(range(0, len(pairs), max(1, len(pairs) // _PAIRS)))
    copy, commonest = (value("chrf", each) for each in (copied(some), constant(some, common)))
    best = max(copy, commonest)
    floor = min(float(math.ceil(best + 1)), math.ceil(5 * (best + 100)) / 10)  # at most half the way to 100
    why = (
        f"Copying the source has chrF {copy:.1f}, the commonest target, {shorten(common, 30)!r}, "
        f"{commonest:.1f}. Raise it to what you need."
    )
    bless: dict[str, Any] = {"chrf": {"min": floor, "max_regression": 1.0}}
    return Blessing(["exact_match", "character_error_rate", "bleu", "chrf"], bless, [why])
