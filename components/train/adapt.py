"""What an encoder has to know of the train split before training, such as how rare each term is."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator
from functools import reduce
from typing import TYPE_CHECKING, Any

import apache_beam as beam

from components.artifacts.artifact import Reference
from components.artifacts.tokens import Tokens
from components.models.encoders import EncoderConfig
from components.reports import Progress, emit
from components.strict import FIELDS, Task
from components.work import Work

if TYPE_CHECKING:
    import tensorflow as tf


class Summarize(beam.PTransform):
    """Summarizes the train split's inputs, part by part, as the encoder says.

    Args:
        encoder: one that `adapts`.
        task: decides which field is the input.
        work: of the node.
    """

    def __init__(self, encoder: EncoderConfig, task: Task, work: Work) -> None:
        super().__init__()
        self._encoder = encoder
        self._task = task
        self._work = work

    def expand(self, inputs: beam.PCollection) -> beam.PCollection:
        """{"tokenize": reference, ...} to one summary, for `EncoderConfig.adapt`."""
        return (
            inputs
            | "find" >> beam.FlatMap(_find)
            | "spread" >> beam.Reshuffle()
            | "part" >> beam.Map(_summarize, self._encoder, FIELDS[self._task][0], self._work)
            | "sum" >> beam.CombineGlobally(_sum).without_defaults()
        )


def _find(inputs: dict[str, Reference]) -> list[tuple[Reference, str]]:
    tokens: Tokens = Tokens.load(inputs["tokenize"])
    return [(inputs["tokenize"], name) for name in tokens.parts_of("train")]


def _summarize(part: tuple[Reference, str], encoder: EncoderConfig, field: str, work: Work) -> Any:
    tokenized, name = part
    with work.attempt("adapting"):
        tokens: Tokens = Tokens.load(tokenized)
        layer = encoder.encoder(tokens.tokenizer(field).vocabulary_size)
        return encoder.summarize(layer, _texts(tokens, name, field))


def _texts(tokens: Tokens, name: str, field: str) -> Iterator[tf.Tensor]:
    from components.train.dataset import text_batches

    done = 0
    for texts in text_batches(tokens, name, field):
        yield texts
        done += len(texts)
        emit(Progress("train", done, None, "adapting the encoder"))


def _sum(summaries: Iterable[Any]) -> Any:
    return reduce(operator.add, summaries)
