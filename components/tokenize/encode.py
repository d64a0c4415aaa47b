"""Turns examples into numbers."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.compute as compute

from components.artifacts.artifact import local_file
from components.artifacts.tokens import (
    LABELS,
    UNKNOWN_LABEL,
    TokenWriter,
    part_name,
    read_labels,
    tokenizer_folder,
)
from components.strict import FIELDS, Task
from components.tokenize.learn import Learnt
from components.tokenize.parts import Part, ReadPart, as_tensor
from components.tokenize.statistics import FieldStatistics, PartStatistics
from components.tokenize.tokenizers import UNKNOWN, Tokenizer, load_tokenizer
from components.work import Work


class EncodePart(ReadPart):
    """Writes the tokens that belong to a file of examples; yields what they are.

    Args:
        work: of the stage.
        task: decides the fields.
    """

    def __init__(self, work: Work, task: Task) -> None:
        super().__init__(work, FIELDS[task], "encoding")
        self._learnt: Sequence[Learnt] = ()
        self._tokenizers: dict[str, Tokenizer] = {}
        self._labels = pyarrow.array([], pyarrow.string())

    def process(self, part: Part, learnt: Sequence[Learnt]) -> Iterator[PartStatistics]:
        """Encodes one part with what has been learnt."""
        with self._work.attempt("encoding") as attempt:
            if learnt != self._learnt:
                self._load(learnt, attempt.scratch())
            fields = {field: FieldStatistics() for field in self._tokenizers}
            statistics = PartStatistics(part.split, part.number, fields)
            writer = TokenWriter(attempt, part_name(part.split, part.number), self._fields)
            for batch in self._batches(part):
                columns = {
                    field: self._number(values, statistics)
                    if field == "label"
                    else _encode(self._tokenizers[field], values, statistics.fields[field])
                    for field, values in batch.items()
                }
                writer.write(columns)
            statistics.file = writer.close()
            yield statistics

    def _load(self, learnt: Sequence[Learnt], folder: Path) -> None:
        """Reads tokenizers and labels, which another worker may have written on another machine."""
        for item in learnt:
            for file in item.files:
                copy = folder / file.name
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(local_file(self._work.root, file), copy)
            if item.field == "label":
                self._labels = pyarrow.array(read_labels(folder / LABELS), pyarrow.string())
            else:
                self._tokenizers[item.field] = load_tokenizer(str(folder / tokenizer_folder(item.field)))
        self._learnt = learnt

    def _number(self, labels: pyarrow.Array, statistics: PartStatistics) -> pyarrow.Array:
        numbers = compute.index_in(labels, value_set=self._labels)
        statistics.unknown_labels += numbers.null_count
        return compute.fill_null(numbers, UNKNOWN_LABEL)


def _encode(tokenizer: Tokenizer, texts: pyarrow.Array, statistics: FieldStatistics) -> pyarrow.Array:
    whole = tokenizer.tokenize(as_tensor(texts), cut=False)
    kept = tokenizer.cut(whole)
    ids, ends = kept.flat_values.numpy(), kept.row_splits.numpy()
    statistics.lengths.update(whole.row_lengths().numpy().tolist())
    statistics.unknown += int((ids == UNKNOWN).sum())
    return pyarrow.ListArray.from_arrays(ends.astype(np.int32), pyarrow.array(ids, pyarrow.int32()))
