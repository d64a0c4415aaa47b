"""Turns examples into numbers."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from components.examples import encode_tokens
from components.strict import FIELDS, Task
from components.tokenize.labels import read_labels
from components.tokenize.learn import Learnt
from components.tokenize.shards import ReadShard, Shard
from components.tokenize.statistics import FieldStatistics, ShardStatistics
from components.tokenize.tokenizers import UNKNOWN, Tokenizer, load_tokenizer

UNKNOWN_LABEL = -1


class EncodeShard(ReadShard):
    """Writes the shard of tokens that belongs to a shard of examples; yields what it holds.

    Args:
        task: decides the fields.
        output: the artifact's directory.
    """

    def __init__(self, task: Task, output: str) -> None:
        super().__init__(FIELDS[task], "encoding")
        self._output = output
        self._tokenizers: dict[str, Tokenizer] = {}
        self._labels: dict[bytes, int] = {}

    def process(self, shard: Shard, _: Sequence[Learnt]) -> Iterator[ShardStatistics]:
        """Encodes one shard with what has been learnt, which it reads from the artifact."""
        if not self._tokenizers:
            self._load()
        found = ShardStatistics(shard.split, {field: FieldStatistics() for field in self._tokenizers})
        path = os.path.join(self._output, "tokens", os.path.basename(shard.path))
        tf.io.gfile.makedirs(os.path.dirname(path))
        with tf.io.TFRecordWriter(path) as writer:
            for batch in self._batches(shard):
                columns = {
                    field: self._number(values, found)
                    if field == "label"
                    else self._encode(self._tokenizers[field], values, found.fields[field])
                    for field, values in batch.items()
                }
                for row in zip(*columns.values(), strict=True):
                    writer.write(encode_tokens(dict(zip(columns, row, strict=True))))
        yield found

    def _load(self) -> None:
        for field in self._fields:
            if field == "label":
                self._labels = {label.encode(): i for i, label in enumerate(read_labels(self._output))}
            else:
                self._tokenizers[field] = load_tokenizer(os.path.join(self._output, "tokenizer", field))

    def _encode(
        self, tokenizer: Tokenizer, texts: np.ndarray[Any, Any], found: FieldStatistics
    ) -> list[list[int]]:
        whole = tokenizer.tokenize(tf.constant(texts), cut=False)
        kept = tokenizer.cut(whole)
        ids, ends = kept.flat_values.numpy(), kept.row_splits.numpy().tolist()
        found.lengths.update(whole.row_lengths().numpy().tolist())
        found.unknown += int((ids == UNKNOWN).sum())
        tokens = ids.tolist()
        return [tokens[start:end] for start, end in itertools.pairwise(ends)]

    def _number(self, labels: np.ndarray[Any, Any], found: ShardStatistics) -> list[list[int]]:
        numbers = [self._labels.get(label, UNKNOWN_LABEL) for label in labels]
        found.unknown_labels += numbers.count(UNKNOWN_LABEL)
        return [[number] for number in numbers]
