"""In how many texts each term occurs: what TF-IDF weights are made of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import apache_beam as beam
import numpy as np

from components.events import StageProgress, emit
from components.models.encoders import TfIdfEncoder
from components.strict import FIELDS, Task


class DocumentFrequencies(NamedTuple):
    """What has been counted in some of the texts; two such add up."""

    frequencies: np.ndarray
    """int64 [features], how many texts contain each term."""
    documents: int
    """How many texts there are."""


class CountDocuments(beam.PTransform):
    """Counts the terms of the train split's inputs, shard by shard.

    Args:
        encoder: says what a term is.
        task: decides which field is the input.
    """

    def __init__(self, encoder: TfIdfEncoder, task: Task) -> None:
        super().__init__()
        self._count = _CountShard(encoder, task)

    def expand(self, inputs: beam.PCollection) -> beam.PCollection:
        """{"tokenize": directory, ...} to one DocumentFrequencies."""
        return (
            inputs
            | "find" >> beam.FlatMap(_find)
            | "spread" >> beam.Reshuffle()
            | "count" >> beam.ParDo(self._count)
            | "sum" >> beam.CombineGlobally(_sum)
        )


def _find(inputs: dict[str, str]) -> list[tuple[str, str]]:
    from components.train.dataset import token_shards

    return [(inputs["tokenize"], shard) for shard in token_shards(inputs["tokenize"], "train")]


class _CountShard(beam.DoFn):
    def __init__(self, encoder: TfIdfEncoder, task: Task) -> None:
        self._encoder = encoder
        self._task = task

    def process(self, shard: tuple[str, str]) -> Iterator[DocumentFrequencies]:
        from components.train.dataset import shard_batches
        from components.train.start import model_sizes

        tokens, path = shard
        field = FIELDS[self._task][0]
        tfidf = self._encoder.encoder(model_sizes(self._task, tokens)[field]).tfidf
        frequencies, documents = np.zeros(tfidf.features, np.int64), 0
        for inputs, *_ in shard_batches(path, self._task):
            batch = inputs if self._task == "classification" else inputs[field]
            frequencies += tfidf.document_frequencies(batch)
            documents += len(batch)
            emit(StageProgress("train", documents, None, "counting terms"))
        yield DocumentFrequencies(frequencies, documents)


def _sum(counted: Iterable[DocumentFrequencies]) -> DocumentFrequencies:
    frequencies, documents = zip(*counted, strict=True)
    return DocumentFrequencies(np.sum(frequencies, axis=0), sum(documents))
