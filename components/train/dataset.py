"""Token shards to batches of about equal length, in an order that depends on seed and epoch alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from components.examples import split_shards
from components.strict import FIELDS, Split, Task
from components.tokenize.tokenizers import END, START

_BATCH = 4096  # records parsed at once while counting


@dataclass(frozen=True)
class TokenData:
    """One split of a tokenize artifact.

    Args:
        directory: the artifact.
        split: which split.
        task: decides the fields, and with them what a batch is.
        batch_size: examples in a batch.
        buckets: number of length classes, of about equal numbers of examples.
    """

    directory: str
    split: Split
    task: Task
    batch_size: int
    buckets: int

    @cached_property
    def lengths(self) -> np.ndarray:
        """The number of input steps of each example, int64 [N]: its tokens, or one step of padding."""
        field = FIELDS[self.task][0]
        features = {field: tf.io.RaggedFeature(tf.int64)}
        records = tf.data.TFRecordDataset(self._shards()).batch(_BATCH)
        counted = records.map(lambda batch: tf.io.parse_example(batch, features)[field].row_lengths())
        return np.maximum(np.concatenate([np.zeros(0, np.int64), *counted.as_numpy_iterator()]), 1)

    def boundaries(self) -> list[int]:
        """Returns the lengths at which a new bucket begins: quantiles, so that buckets fill alike."""
        if not len(self.lengths):
            return []
        quantiles = np.quantile(self.lengths, np.arange(1, self.buckets) / self.buckets, method="higher")
        return sorted({int(length) + 1 for length in quantiles})

    def steps(self, boundaries: list[int]) -> int:
        """Returns the number of batches of an epoch with these boundaries."""
        _, counts = np.unique(np.digitize(self.lengths, boundaries), return_counts=True)
        return int(np.sum(-(-counts // self.batch_size)))

    def batches(
        self, boundaries: list[int], seed: int | None = None, shuffle_buffer: int = 1
    ) -> tf.data.Dataset:
        """Makes the batches of one epoch.

        Args:
            boundaries: as `boundaries` returns them.
            seed: the order of the examples; None keeps the order of the shards.
            shuffle_buffer: how many examples are held to be shuffled.

        Returns:
            Batches (inputs, targets, weights), int32 and float32, padded with 0 on the right.
            classification: inputs [B, T], targets [B], weights [B] (0 where the label is unknown).
            seq2seq: inputs {"source": [B, S], "previous": [B, T]}, targets [B, T], weights [B, T].
        """
        records = tf.data.TFRecordDataset(self._shards())
        if seed is not None:
            records = records.shuffle(shuffle_buffer, seed=seed)
        examples = records.map(_PARSERS[self.task], num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        batches = examples.bucket_by_sequence_length(
            _length, boundaries, [self.batch_size] * (len(boundaries) + 1)
        )
        counted = batches.apply(tf.data.experimental.assert_cardinality(self.steps(boundaries)))
        return counted.prefetch(tf.data.AUTOTUNE)

    def _shards(self) -> list[str]:
        return token_shards(self.directory, self.split)


def token_shards(directory: str, split: Split) -> list[str]:
    """Returns the paths of a split's shards in a tokenize artifact, in their order."""
    return split_shards(str(Path(directory) / "tokens"), split)


def shard_batches(path: str, task: Task, batch_size: int = 256) -> tf.data.Dataset:
    """Reads one shard in its order.

    Args:
        path: of the shard.
        task: decides the fields, and with them what a batch is.
        batch_size: examples in a batch; the last one may be smaller.

    Returns:
        Batches as of `TokenData.batches`.
    """
    return tf.data.TFRecordDataset(path).map(_PARSERS[task]).padded_batch(batch_size)


def _parse_classification(record: tf.Tensor) -> tuple[Any, ...]:
    features = {"text": tf.io.RaggedFeature(tf.int64), "label": tf.io.FixedLenFeature([], tf.int64)}
    example = tf.io.parse_single_example(record, features)
    text, label = tf.cast(example["text"], tf.int32), tf.cast(example["label"], tf.int32)
    return _at_least_one(text), tf.maximum(label, 0), tf.cast(label >= 0, tf.float32)


def _parse_seq2seq(record: tf.Tensor) -> tuple[Any, ...]:
    features = {field: tf.io.RaggedFeature(tf.int64) for field in FIELDS["seq2seq"]}
    example = tf.io.parse_single_example(record, features)
    source, target = (tf.cast(example[field], tf.int32) for field in FIELDS["seq2seq"])
    inputs = {"source": _at_least_one(source), "previous": tf.concat([[START], target], 0)}
    expected = tf.concat([target, [END]], 0)
    return inputs, expected, tf.ones_like(expected, tf.float32)


_PARSERS: dict[Task, Callable[[tf.Tensor], tuple[Any, ...]]] = {
    "classification": _parse_classification,
    "seq2seq": _parse_seq2seq,
}


def _length(inputs: Any, *_: tf.Tensor) -> tf.Tensor:
    return tf.size(inputs["source"] if isinstance(inputs, dict) else inputs)


def _at_least_one(tokens: tf.Tensor) -> tf.Tensor:
    # A text without tokens becomes one step of padding, as in serving.
    return tf.pad(tokens, [[0, tf.maximum(1 - tf.size(tokens), 0)]])
