"""The linear floor: TF-IDF of words, and a logistic regression."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer
from sklearn.linear_model import LogisticRegression

from components.scripts import are_unspaced

Array = np.ndarray[Any, Any]
Batch = tuple[Sequence[str], Sequence[str]]

_STRENGTH = 10.0  # of the data beside the penalty; 1 leaves sst2 1.4 points lower (validation), 3.3 (test)
_BUCKETS = 2**20  # that n-grams are hashed to
_FEATURES = 50_000  # of these, the most frequent ones
_COEFFICIENTS = 4_000_000  # of all labels; the solver holds about 25 numbers for every one
_SEED = 20040725
_ENTRIES = 50_000_000  # of the matrix: 600 MB


class NoFloorError(Exception):
    """Nothing can be fitted to these texts; the message says why."""


class LinearFloor:
    """Predicts labels by TF-IDF (log term frequencies) and an L2-regularized logistic regression.

    Texts with spaces are taken apart into words, in lower case, and pairs of words; others into one to three
    characters. Of more train texts than memory is set aside for, a part drawn at random is used.

    Args:
        batches: texts and labels to fit to.
        entries: nonzero numbers of the matrix of the texts, at most.

    Raises:
        NoFloorError: there are no texts, fewer than two labels, or nothing in the texts that is counted.
    """

    def __init__(self, batches: Iterable[Batch], entries: int = _ENTRIES) -> None:
        remaining = iter(batches)
        first = next(remaining, ([], []))
        words = {"analyzer": "word", "token_pattern": r"(?u)\b\w+\b", "ngram_range": (1, 2)}
        characters = {"analyzer": "char", "ngram_range": (1, 3)}
        how = characters if are_unspaced(first[0]) else words
        self._hash = HashingVectorizer(n_features=_BUCKETS, alternate_sign=False, norm=None, **how)
        counts, labels = self._counts(itertools.chain([first], remaining), entries)
        if (different := len(set(labels))) < 2:
            raise NoFloorError(f"the train split has {different} label{'s' * (different != 1)}, not two")
        if not counts.nnz:
            raise NoFloorError("no text of the train split has a word in it")
        frequencies = np.bincount(counts.indices, minlength=_BUCKETS)
        most = min(_FEATURES, _COEFFICIENTS // different)
        ranked = np.argsort(-frequencies, kind="stable")[:most]
        self._columns = ranked[frequencies[ranked] > 0]
        self._weigh = TfidfTransformer(sublinear_tf=True)
        self._regression = LogisticRegression(C=_STRENGTH, max_iter=1000)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # it is a floor, and no lower for that
            self._regression.fit(self._weigh.fit_transform(counts[:, self._columns]), labels)

    @property
    def labels(self) -> list[str]:
        """In the order of the probabilities."""
        return [str(label) for label in self._regression.classes_]

    def probabilities(self, texts: Sequence[str]) -> Array:
        """Returns every label's probability [n, labels]."""
        counts = self._hash.transform(texts)
        found: Array = self._regression.predict_proba(self._weigh.transform(counts[:, self._columns]))
        return found

    def _counts(self, batches: Iterator[Batch], entries: int) -> tuple[Any, list[str]]:
        """The n-grams of the texts [n, buckets], and their labels; of too many texts a part."""
        blocks: list[Any] = [sparse.csr_matrix((0, _BUCKETS))]
        labels: list[str] = []
        random, part = np.random.default_rng(_SEED), 1.0
        for texts, answers in batches:
            places = np.flatnonzero(random.random(len(texts)) < part).tolist()
            if places:
                blocks.append(self._hash.transform([texts[place] for place in places]))
                labels += [answers[place] for place in places]
            while len(labels) > 1 and sum(block.nnz for block in blocks) > entries:
                half = np.sort(random.permutation(len(labels))[: len(labels) // 2])
                blocks = [sparse.vstack(blocks, format="csr")[half]]
                labels, part = [labels[place] for place in half.tolist()], part / 2
        return sparse.vstack(blocks, format="csr"), labels
