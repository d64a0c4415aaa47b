"""The linear floor: TF-IDF and logistic regression by scikit-learn, weakly regularized."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple


class Figures(NamedTuple):
    """Of answers on the test split, in percent."""

    accuracy: float
    macro_f1: float


def rows_of(path: Path) -> list[tuple[str, str]]:
    """Reads (text, label) of a tab-separated file with a header."""
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        next(reader)
        return [(text, label) for text, label in reader]


def figures(expected: Sequence[str], predicted: Sequence[str]) -> Figures:
    """Measures answers."""
    from sklearn.metrics import accuracy_score, f1_score

    macro = f1_score(expected, predicted, average="macro", zero_division=0)
    return Figures(100 * accuracy_score(expected, predicted), 100 * macro)


def floor(
    train: Sequence[tuple[str, str]],
    test: Sequence[tuple[str, str]],
    characters: bool = False,
    class_weight: str | None = None,
) -> Figures:
    """Fits the floor and measures it.

    Args:
        train: (text, label).
        test: the same.
        characters: whether terms are 1 to 3 characters, and not 1 or 2 words.
        class_weight: scikit-learn's.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    analyzer, ngrams = ("char", (1, 3)) if characters else ("word", (1, 2))
    model = make_pipeline(
        TfidfVectorizer(analyzer=analyzer, ngram_range=ngrams, sublinear_tf=True),
        LogisticRegression(C=10, max_iter=1000, class_weight=class_weight),
    )
    texts, labels = zip(*train, strict=True)
    model.fit(texts, labels)
    asked, expected = zip(*test, strict=True)
    return figures(expected, list(model.predict(asked)))
