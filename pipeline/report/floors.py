"""Floors in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from components.evaluate.floors import COMMONEST, COPY, MAJORITY, TFIDF
from components.ingest.advice import shorten

_WORDS = {
    MAJORITY: "the commonest label",
    COPY: "the source, as it is",
    COMMONEST: "the commonest target",
    TFIDF: "TF-IDF and a logistic regression, fitted on train",
}


def floor_words(report: Mapping[str, Any]) -> list[str]:
    """Returns what each floor of an evaluation answers.

    Args:
        report: of the evaluation; those of earlier versions have no floors.
    """
    words = []
    for name, floor in report.get("floors", {}).items():
        answer = f" of {floor['of']}, {shorten(floor['answer'])!r}" if "answer" in floor else ""
        words.append(f"{name}: {_WORDS[name]}{answer}")
    return words
