"""The work in portions: the shards of examples, each read by one worker from start to end."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
import tensorflow as tf

from components.events import StageProgress, emit
from components.examples import split_shards, text_batches
from components.strict import SPLITS, Split

_BATCH_SIZE = 2048  # texts handed to TensorFlow at once; one by one they would take fifty times as long
_PROGRESS_SECONDS = 0.5


class Shard(NamedTuple):
    """A file of examples.

    Args:
        split: whose examples they are.
        path: where it is.
        total: how many examples the shards of all splits hold.
    """

    split: Split
    path: str
    total: int


def find_shards(ingest: str, splits: Sequence[Split] = SPLITS) -> list[Shard]:
    """Lists the shards of an ingest artifact in their order.

    Args:
        ingest: the artifact's directory.
        splits: whose shards to list.
    """
    with tf.io.gfile.GFile(os.path.join(ingest, "statistics.json")) as file:
        counts = json.load(file)["splits"]
    total = sum(counts[split]["examples"] for split in splits)
    directory = os.path.join(ingest, "examples")
    return [Shard(split, path, total) for split in splits for path in split_shards(directory, split)]


class ReadShard(beam.DoFn):
    """Base of what goes through shards in batches, and tells how far it is.

    Args:
        fields: which fields of the examples to read.
        message: what is being done, for people.
    """

    def __init__(self, fields: Sequence[str], message: str) -> None:
        self._fields = fields
        self._message = message
        self._done = 0
        self._told = 0.0

    def _batches(self, shard: Shard) -> Iterator[dict[str, np.ndarray[Any, Any]]]:
        """Yields by field an array of UTF-8 bytes `[B]`."""
        for batch in text_batches([shard.path], self._fields, _BATCH_SIZE):
            yield batch
            self._done += len(batch[self._fields[0]])
            if time.monotonic() - self._told > _PROGRESS_SECONDS:
                self._tell(shard)
        self._tell(shard)

    def _tell(self, shard: Shard) -> None:
        self._told = time.monotonic()
        emit(StageProgress("tokenize", self._done, shard.total, self._message))
