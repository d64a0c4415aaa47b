"""Examples and token examples as files: how every stage names, writes and reads them.

Both are TFRecord shards of `tf.train.Example`, named `<split>-00000-of-0000N.tfrecord`, in the folder
`examples/` of the ingest artifact (texts) and `tokens/` of the tokenize artifact (numbers):

    shards = split_shards(os.path.join(ingest, "examples"), "train")
    for batch in text_batches(shards, ("source", "target")):
        batch["source"]    # an array of n bytes objects

    with tf.io.TFRecordWriter(os.path.join(tokens, shard_name("train", 0, 1))) as writer:
        writer.write(encode_tokens({"text": [17, 4, 23], "label": [1]}))

The order of shards, and of examples within them, is the order of the source files.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from components.strict import Split


def shard_name(split: Split, index: int, count: int) -> str:
    """The file name of one shard.

    Args:
        split: which split it belongs to.
        index: its number, from 0.
        count: how many shards the split has.
    """
    return f"{split}-{index:05d}-of-{count:05d}.tfrecord"


def split_shards(directory: str, split: Split) -> list[str]:
    """The paths of a split's shards in their order; none where the split has no examples.

    Args:
        directory: the folder `examples` or `tokens` of an artifact, local or remote.
        split: which split to look for.
    """
    return sorted(tf.io.gfile.glob(os.path.join(directory, f"{split}-*-of-*.tfrecord")))


def encode_text(values: Mapping[str, str | bytes]) -> bytes:
    """One example of texts as a serialized `tf.train.Example`; the same values give the same bytes.

    Args:
        values: by field, a text, or its UTF-8 bytes.
    """
    example = tf.train.Example()
    features = example.features.feature
    for field, value in values.items():
        features[field].bytes_list.value.append(value.encode() if isinstance(value, str) else value)
    return example.SerializeToString(deterministic=True)


def encode_tokens(values: Mapping[str, Sequence[int] | np.ndarray]) -> bytes:
    """One example of numbers as a serialized `tf.train.Example`; the same values give the same bytes.

    Args:
        values: by field, token ids (also none), or the label's id as a list of one.
    """
    example = tf.train.Example()
    features = example.features.feature
    for field, ids in values.items():
        features[field].int64_list.value.extend(ids.tolist() if isinstance(ids, np.ndarray) else ids)
    return example.SerializeToString(deterministic=True)


def text_batches(
    paths: Sequence[str], fields: Sequence[str], batch_size: int = 1024
) -> Iterator[dict[str, np.ndarray[Any, Any]]]:
    """Reads examples of texts, in order, without holding more than a few batches in memory.

    Args:
        paths: the shards, in order; may be empty.
        fields: which fields to read.
        batch_size: examples a batch; the last one may be smaller.

    Yields:
        By field, an object array `[n]` of UTF-8 bytes.
    """
    if not paths:
        return
    features = {field: tf.io.FixedLenFeature([], tf.string) for field in fields}
    dataset = tf.data.TFRecordDataset(list(paths)).batch(batch_size)
    yield from dataset.map(lambda serialized: tf.io.parse_example(serialized, features)).as_numpy_iterator()
