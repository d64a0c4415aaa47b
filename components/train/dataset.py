"""Token columns to batches of about equal length, in an order that depends on seed and epoch alone.

What is read in columns is taken apart, shuffled and batched by tf.data: a text as a string of the bytes of
its ids, which become numbers again when the batch is complete.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from components.artifacts.tokens import Tokens
from components.strict import FIELDS, Split, Task
from components.tokenize.tokenizers import END, START

if TYPE_CHECKING:
    import pyarrow

_READ = 4096  # examples read at once
_BYTES = 4  # of a token id


@dataclass
class TokenData:
    """One split of a tokenize artifact.

    Args:
        tokens: the artifact.
        split: which split.
        task: decides the fields, and with them what a batch is.
        batch_size: examples in a batch.
        buckets: number of length classes, of about equal numbers of examples.
        label_weights: how much an example counts, by number of its label; None: all count 1.
    """

    tokens: Tokens
    split: Split
    task: Task
    batch_size: int
    buckets: int
    label_weights: np.ndarray | None = None
    _lengths: np.ndarray | None = field(default=None, init=False, repr=False)

    def lengths(self) -> np.ndarray:
        """Reads how many input steps every example has, int64 [N]: its tokens, or one step of padding."""
        if self._lengths is None:
            text = FIELDS[self.task][0]
            counted = [
                columns[text].value_lengths().to_numpy()
                for name in self.tokens.parts_of(self.split)
                for columns in self.tokens.batches(name, (text,), _READ)
            ]
            self._lengths = np.maximum(np.concatenate([np.zeros(0, np.int64), *counted]), 1)
        return self._lengths

    def boundaries(self) -> list[int]:
        """Returns the lengths at which a new bucket begins: quantiles, so that buckets fill alike."""
        if not len(self.lengths()):
            return []
        quantiles = np.quantile(self.lengths(), np.arange(1, self.buckets) / self.buckets, method="higher")
        return sorted({int(length) + 1 for length in quantiles})

    def steps(self, boundaries: list[int]) -> int:
        """Returns the number of batches of an epoch with these boundaries."""
        _, counts = np.unique(np.digitize(self.lengths(), boundaries), return_counts=True)
        return int(np.sum(-(-counts // self.batch_size)))

    def batches(
        self, boundaries: list[int], seed: int | None = None, shuffle_buffer: int = 1
    ) -> tf.data.Dataset:
        """Makes the batches of one epoch.

        Args:
            boundaries: as `boundaries` returns them.
            seed: the order of the examples; None keeps the order of the files.
            shuffle_buffer: how many examples are held to be shuffled.

        Returns:
            Batches (inputs, targets, weights), int32 and float32, padded with 0 on the right.
            classification: inputs [B, T], targets [B], weights [B] (0 where the label is unknown,
            else that of the label).
            seq2seq: inputs {"source": [B, S], "previous": [B, T]}, targets [B, T], weights [B, T].
        """
        columns = tf.data.Dataset.from_generator(
            self._columns, output_signature=(*_SIGNATURES[self.task], tf.TensorSpec([None], tf.int32))
        )

        def with_bucket(*read: tf.Tensor) -> tuple[tf.Tensor, ...]:
            bucket = tf.searchsorted(tf.constant(boundaries, tf.int32), read[-1], side="right")
            return (*read[:-1], tf.cast(bucket, tf.int64))

        examples = columns.map(with_bucket).unbatch()
        if seed is not None:
            examples = examples.shuffle(shuffle_buffer, seed=seed)
        packed = examples.group_by_window(
            key_func=lambda *example: example[-1],
            reduce_func=lambda _, window: window.batch(self.batch_size),
            window_size=self.batch_size,
        )
        batches = packed.map(
            lambda *batch: self._weighted(*_UNPACK[self.task](*batch[:-1])),
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )
        counted = batches.apply(tf.data.experimental.assert_cardinality(self.steps(boundaries)))
        return counted.prefetch(tf.data.AUTOTUNE)

    def _weighted(self, inputs: Any, targets: tf.Tensor, weights: tf.Tensor) -> tuple[Any, ...]:
        if self.label_weights is not None:
            weights *= tf.gather(tf.constant(self.label_weights), targets)
        return inputs, targets, weights

    def _columns(self) -> Iterator[tuple[np.ndarray, ...]]:
        """Yields the packed columns of some examples, and how long their inputs are."""
        fields = FIELDS[self.task]
        for name in self.tokens.parts_of(self.split):
            for columns in self.tokens.batches(name, fields, _READ):
                lengths = columns[fields[0]].value_lengths().to_numpy()
                yield *(_pack(columns[field]) for field in fields), np.maximum(lengths, 1)


def part_batches(tokens: Tokens, name: str, task: Task, batch_size: int = 256) -> Iterator[tuple[Any, ...]]:
    """Reads one file of a split in its order.

    Args:
        tokens: the artifact.
        name: of the file in it.
        task: decides the fields, and with them what a batch is.
        batch_size: examples in a batch, at most.

    Yields:
        Batches as of `TokenData.batches`.
    """
    for columns in tokens.batches(name, FIELDS[task], batch_size):
        yield _UNPACK[task](*(tf.constant(_pack(columns[field])) for field in FIELDS[task]))


def text_batches(tokens: Tokens, name: str, field: str, batch_size: int = 256) -> Iterator[tf.Tensor]:
    """Reads the texts of one file in their order.

    Args:
        tokens: the artifact.
        name: of the file in it.
        field: a text field.
        batch_size: texts in a batch, at most.

    Yields:
        Token ids, int32 [B, T], padded with 0 on the right; T is at least 1.
    """
    for columns in tokens.batches(name, (field,), batch_size):
        yield _unpack(tf.constant(_pack(columns[field])))


def _pack(column: pyarrow.Array) -> np.ndarray:
    """Makes of each text a string of its ids, four bytes each; leaves numbers as they are."""
    import pyarrow

    if not pyarrow.types.is_list(column.type):
        return column.to_numpy()
    ids = np.ascontiguousarray(column.flatten().to_numpy())
    ends = np.zeros(len(column) + 1, np.int64)
    np.cumsum(column.value_lengths().to_numpy(), out=ends[1:])
    buffers = [None, pyarrow.py_buffer(ends * _BYTES), pyarrow.py_buffer(ids)]
    packed = pyarrow.Array.from_buffers(pyarrow.large_binary(), len(column), buffers)
    return packed.to_numpy(zero_copy_only=False)


def _lengths(packed: tf.Tensor) -> tf.Tensor:
    return tf.strings.length(packed) // _BYTES


def _unpack(packed: tf.Tensor, more: int = 0) -> tf.Tensor:
    """Returns int32 [B, T], T the length of the longest text and `more`, but at least 1, as in serving."""
    steps = tf.maximum(tf.reduce_max(_lengths(packed)) + more, 1)
    return tf.ensure_shape(tf.io.decode_raw(packed, tf.int32, fixed_length=steps * _BYTES), [None, None])


def _classification(text: tf.Tensor, label: tf.Tensor) -> tuple[Any, ...]:
    return _unpack(text), tf.maximum(label, 0), tf.cast(label >= 0, tf.float32)


def _seq2seq(source: tf.Tensor, target: tf.Tensor) -> tuple[Any, ...]:
    expected, lengths = _unpack(target, more=1), _lengths(target)[:, tf.newaxis]
    steps = tf.range(tf.shape(expected)[1])
    previous = tf.pad(expected[:, :-1], [[0, 0], [1, 0]], constant_values=START)
    weights = tf.cast(steps <= lengths, tf.float32)
    return (
        {"source": _unpack(source), "previous": previous},
        tf.where(steps == lengths, END, expected),
        weights,
    )


_UNPACK: dict[Task, Callable[..., tuple[Any, ...]]] = {
    "classification": _classification,
    "seq2seq": _seq2seq,
}
_STRINGS, _NUMBERS = (tf.TensorSpec([None], kind) for kind in (tf.string, tf.int32))
_SIGNATURES: dict[Task, tuple[tf.TensorSpec, ...]] = {
    "classification": (_STRINGS, _NUMBERS),
    "seq2seq": (_STRINGS, _STRINGS),
}
