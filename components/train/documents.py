"""In how many texts each term occurs: what TF-IDF weights are made of."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import apache_beam as beam
import numpy as np

from components.artifacts.artifact import Reference
from components.artifacts.tokens import Tokens
from components.models.encoders import TfIdfEncoder
from components.reports import Progress, emit
from components.strict import FIELDS, Task
from components.work import Work


class DocumentFrequencies(NamedTuple):
    """What has been counted in some of the texts; two such add up."""

    frequencies: np.ndarray
    """int64 [features], how many texts contain each term."""
    documents: int
    """How many texts there are."""


class CountDocuments(beam.PTransform):
    """Counts the terms of the train split's inputs, part by part.

    Args:
        encoder: says what a term is.
        task: decides which field is the input.
        work: of the node.
    """

    def __init__(self, encoder: TfIdfEncoder, task: Task, work: Work) -> None:
        super().__init__()
        self._encoder = encoder
        self._task = task
        self._work = work

    def expand(self, inputs: beam.PCollection) -> beam.PCollection:
        """{"tokenize": reference, ...} to one DocumentFrequencies."""
        return (
            inputs
            | "find" >> beam.FlatMap(_find)
            | "spread" >> beam.Reshuffle()
            | "count" >> beam.Map(_count, self._encoder, FIELDS[self._task][0], self._work)
            | "sum" >> beam.CombineGlobally(_sum).without_defaults()
        )


def _find(inputs: dict[str, Reference]) -> list[tuple[Reference, str]]:
    tokens: Tokens = Tokens.load(inputs["tokenize"])
    return [(inputs["tokenize"], name) for name in tokens.parts_of("train")]


def _count(part: tuple[Reference, str], encoder: TfIdfEncoder, field: str, work: Work) -> DocumentFrequencies:
    from components.train.dataset import text_batches

    tokenized, name = part
    with work.attempt("counting terms"):
        tokens: Tokens = Tokens.load(tokenized)
        tfidf = encoder.encoder(tokens.tokenizer(field).vocabulary_size).tfidf
        frequencies, documents = np.zeros(tfidf.features, np.int64), 0
        for texts in text_batches(tokens, name, field):
            frequencies += tfidf.document_frequencies(texts)
            documents += len(texts)
            emit(Progress("train", documents, None, "counting terms"))
        return DocumentFrequencies(frequencies, documents)


def _sum(counted: Iterable[DocumentFrequencies]) -> DocumentFrequencies:
    frequencies, documents = zip(*counted, strict=True)
    return DocumentFrequencies(np.sum(frequencies, axis=0), sum(documents))
