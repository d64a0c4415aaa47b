"""Writes what one source holds: examples to shards, rejected records beside them, both counted."""

from __future__ import annotations

import json
import os
import uuid
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import BinaryIO

import tensorflow as tf
from apache_beam.io.filesystems import FileSystems

from components.strict import Split

PARTS = "parts"  # the folder of what is not yet complete
SHARD_BYTES = 256 << 20


@dataclass
class Shard:
    """A file of examples of one split from one source, and what is in it.

    Args:
        split: whose examples they are.
        source: index of the source.
        file: the file the source is known by.
        number: which shard of this source it is.
        path: where it lies until it gets its final name.
        lengths: by field, how many texts have how many characters.
        labels: how many examples have which label.
        examples: how many there are.
        size: bytes of the examples.
    """

    split: Split
    source: int
    file: str
    number: int
    path: str
    lengths: dict[str, Counter[int]]
    labels: Counter[str] = field(default_factory=Counter)
    examples: int = 0
    size: int = 0


@dataclass
class Rejections:
    """The rejected records of one file, and why.

    Args:
        file: where they come from.
        source: index of the source.
        path: where they lie until all are put together.
        reasons: how many were rejected for which reason.
        first: by reason, the first line it was met on.
    """

    file: str
    source: int
    path: str
    reasons: Counter[str] = field(default_factory=Counter)
    first: dict[str, int] = field(default_factory=dict)


Part = Shard | Rejections


class PartWriter:
    """Writes the parts of one source; they are complete when the `with` block has ended.

    Args:
        source: its index.
        file: the file it is known by.
        fields: the fields of an example.
        directory: where the parts go.
    """

    def __init__(self, source: int, file: str, fields: Sequence[str], directory: str) -> None:
        self._source = source
        self._file = file
        self._fields = fields
        self._directory = directory
        self.parts: list[Part] = []
        self._files = ExitStack()
        self._shards: dict[Split, tuple[Shard, tf.io.TFRecordWriter]] = {}
        self._rejections: dict[str, tuple[Rejections, BinaryIO]] = {}

    def __enter__(self) -> PartWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._files.close()

    def write(self, split: Split, texts: Sequence[str], serialized: bytes) -> None:
        """Adds an example.

        Args:
            split: where it goes.
            texts: by the order of the fields.
            serialized: the same as `encode_text` makes it.
        """
        shard, writer = self._shards.get(split) or self._open(split)
        writer.write(serialized)
        shard.examples += 1
        shard.size += len(serialized)
        for name, text in zip(self._fields, texts, strict=True):
            shard.lengths[name][len(text)] += 1
            if name == "label":
                shard.labels[text] += 1
        if shard.size > SHARD_BYTES:
            writer.close()
            del self._shards[split]

    def reject(self, file: str, line: int, reason: str, text: str) -> None:
        """Adds a rejected record; the arguments are what rejected.jsonl says about it."""
        if file not in self._rejections:
            rejections = Rejections(file, self._source, self._path("jsonl"))
            self.parts.append(rejections)
            writer = self._files.enter_context(FileSystems.create(rejections.path))
            self._rejections[file] = rejections, writer
        rejections, writer = self._rejections[file]
        record = {"file": file, "line": line, "reason": reason, "text": text}
        writer.write(json.dumps(record, ensure_ascii=False).encode() + b"\n")
        rejections.reasons[reason] += 1
        rejections.first.setdefault(reason, line)

    def _open(self, split: Split) -> tuple[Shard, tf.io.TFRecordWriter]:
        number = sum(isinstance(part, Shard) for part in self.parts)
        lengths = {name: Counter[int]() for name in self._fields}
        shard = Shard(split, self._source, self._file, number, self._path("tfrecord"), lengths)
        self.parts.append(shard)
        self._shards[split] = shard, self._files.enter_context(tf.io.TFRecordWriter(shard.path))
        return self._shards[split]

    def _path(self, extension: str) -> str:
        # Unique, because a runner may start the same work twice.
        return os.path.join(self._directory, f"{uuid.uuid4().hex}.{extension}")
