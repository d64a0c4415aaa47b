"""The work in portions: the files of examples, each read by one worker from start to end."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import apache_beam as beam
import pyarrow
import tensorflow as tf

from components.artifacts.artifact import Reference
from components.artifacts.examples import Examples
from components.reports import Progress, emit
from components.strict import SPLITS, Split
from components.work import Work

_BATCH_SIZE = 2048  # texts handed to TensorFlow at once; one by one they would take fifty times as long
_PROGRESS_SECONDS = 0.5


class Part(NamedTuple):
    """A file of examples.

    Args:
        examples: the artifact.
        split: whose examples they are.
        number: which file of the split it is.
        name: of the file in the artifact.
        total: how many examples the parts of all splits hold.
    """

    examples: Reference
    split: Split
    number: int
    name: str
    total: int


def find_parts(inputs: Mapping[str, Reference], splits: Sequence[Split] = SPLITS) -> list[Part]:
    """Lists the files of examples in their order.

    Args:
        inputs: what is read; that of ingest among it.
        splits: whose files to list.
    """
    reference = inputs[Examples.stage]
    examples: Examples = Examples.load(reference)
    total = sum(examples.count(split) for split in splits)
    return [
        Part(reference, split, number, name, total)
        for split in splits
        for number, name in enumerate(examples.parts_of(split))
    ]


class ReadPart(beam.DoFn):
    """Base of what goes through parts in batches, and tells how far it is.

    Args:
        work: of the stage.
        fields: which fields of the examples to read.
        message: what is being done, for people.
    """

    def __init__(self, work: Work, fields: Sequence[str], message: str) -> None:
        self._work = work
        self._fields = fields
        self._message = message
        self._examples: Examples | None = None
        self._done = 0
        self._told = 0.0

    def _batches(self, part: Part) -> Iterator[dict[str, pyarrow.Array]]:
        """Yields by field an array of strings `[B]`."""
        if self._examples is None or self._examples.reference != part.examples:
            # Once for a worker: it lists every part, and would be read as often as there are parts.
            self._examples = Examples.load(part.examples)
        examples = self._examples
        for batch in examples.arrays(part.name, self._fields, _BATCH_SIZE):
            yield batch
            self._done += len(batch[self._fields[0]])
            if time.monotonic() - self._told > _PROGRESS_SECONDS:
                self._tell(part)
        self._tell(part)

    def _tell(self, part: Part) -> None:
        self._told = time.monotonic()
        emit(Progress(self._work.stage, self._done, part.total, self._message))


def as_tensor(texts: pyarrow.Array) -> tf.Tensor:
    """Returns strings `[B]` of an array of strings."""
    return tf.constant(texts.cast(pyarrow.binary()).to_numpy(zero_copy_only=False), tf.string)
