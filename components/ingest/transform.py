"""The ingest stage: the user's files to checked, counted examples."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.io.filesystems import FileSystems

from components.errors import UserError
from components.events import StageProgress, emit
from components.examples import encode_text
from components.ingest.config import IngestConfig
from components.ingest.parts import PARTS, Part, PartWriter
from components.ingest.publish import publish
from components.ingest.readers import Columns, read_records
from components.ingest.records import Record, shown, to_kept, to_text
from components.ingest.sources import Source, find_sources
from components.ingest.splits import choose, hash64, held_out
from components.ingest.statistics import FINGERPRINT, Duplicates, Fingerprint, find_duplicates, partition
from components.strict import FIELDS, SPLITS, Task

_CHUNK = 8192  # records after which fingerprints and progress are passed on
_PROGRESS_SECONDS = 0.5


class Ingest(beam.PTransform):
    """Reads every file into examples/, statistics.json and rejected.jsonl.

    Args:
        config: which files, and how to read them.
        task: decides the fields of an example.
        output: an existing empty directory.

    Raises:
        UserError: where `columns` does not suit the task; while running, where a file is missing or cannot be
            read, more than `max_rejected` records are rejected, or nothing is left to train on.
    """

    def __init__(self, config: IngestConfig, task: Task, output: str) -> None:
        super().__init__()
        self._config = config
        self._task = task
        self._output = output
        self._columns = _columns(config, task)

    def expand(self, upstream: beam.PCollection) -> beam.PCollection:
        """Makes the one summary from the one (empty) mapping of upstream artifacts."""
        parts = os.path.join(self._output, PARTS)
        written = (
            upstream
            | "FindFiles" >> beam.FlatMap(_find, self._config, self._task, parts)
            | "SpreadFiles" >> beam.Reshuffle()
            | "WriteExamples"
            >> beam.ParDo(WriteExamples(self._config, self._columns, parts)).with_outputs(
                "fingerprints", main="parts"
            )
        )
        duplicates = (
            written.fingerprints
            | "Partition" >> beam.GroupByKey()
            | "FindDuplicates" >> beam.MapTuple(_find_duplicates)
        )
        return upstream | "Publish" >> beam.Map(
            _publish,
            self._config,
            self._task,
            self._output,
            beam.pvalue.AsList(written.parts),
            beam.pvalue.AsList(duplicates),
        )


class WriteExamples(beam.DoFn):
    """Reads a source from start to end and writes its parts; yields them and, apart, the fingerprints.

    It is one step and not several so that the order of the records never depends on the runner.

    Args:
        config: how to read.
        columns: by field, in order, the name or the position of its column.
        directory: where the parts go.
    """

    def __init__(self, config: IngestConfig, columns: Columns, directory: str) -> None:
        self._config = config
        self._columns = columns
        self._fields = tuple(column for column in columns if column not in config.keep)
        self._directory = directory
        self._held_out = held_out(config)
        self._done = 0
        self._told = 0.0

    def process(self, source: Source) -> Iterator[Part | beam.pvalue.TaggedOutput]:
        """Writes the parts of one source."""
        fingerprints: list[Fingerprint] = []
        with PartWriter(source.index, source.file, self._fields, self._directory) as writer:
            for count, record in enumerate(read_records(source, self._columns), 1):
                fingerprints += self._write(source, record, writer)
                if not count % _CHUNK:
                    yield from _tagged(fingerprints)
                    fingerprints.clear()
                    self._tell(_CHUNK)
        yield from _tagged(fingerprints)
        yield from writer.parts

    def _write(self, source: Source, record: Record, writer: PartWriter) -> list[Fingerprint]:
        """Writes a record where it belongs; returns the fingerprint if it is an example."""
        texts, reason, field = self._check(record)
        if reason:
            writer.reject(source.files.get(field, source.file), record.line, reason, shown(record.raw))
            return []
        values = dict(zip(self._columns, texts, strict=True))
        read = {field: values[field] for field in self._fields}
        text = hash64(texts[0].encode())
        split = choose(text, self._held_out) if source.split == "train" else source.split
        writer.write(split, tuple(read.values()), encode_text(values))
        return [(text, hash64(encode_text(read)), source.index, record.line, SPLITS.index(split))]

    def _check(self, record: Record) -> tuple[list[str], str, str]:
        """Returns the texts, or else the reason and the field at fault."""
        if record.reason:
            return [], record.reason, record.field
        texts = []
        for field, value in zip(self._columns, record.values, strict=True):
            check = to_text if field in self._fields else to_kept
            text, reason = check(field, value, self._config.max_characters)
            if reason:
                return [], reason, field
            texts.append(text)
        return texts, "", ""

    def _tell(self, records: int) -> None:
        self._done += records
        if time.monotonic() - self._told > _PROGRESS_SECONDS:
            self._told = time.monotonic()
            emit(StageProgress("ingest", self._done, None, "records"))


def _columns(config: IngestConfig, task: Task) -> Columns:
    """By field, in order, where its values are: all names, or all positions."""
    fields = FIELDS[task]
    unknown = sorted(set(config.columns) - set(fields))
    if unknown:
        raise UserError(
            f"ingest: `columns` received {', '.join(unknown)}, expected {' and '.join(fields)} for {task}. "
            f"Correct `ingest.columns` or `task`."
        )
    columns = {**config.columns, **config.keep}
    positions = {field: column for field, column in columns.items() if isinstance(column, int)}
    missing = [field for field in fields if field not in positions]
    if positions and missing:
        raise UserError(
            f"ingest: `columns` received a position for {', '.join(positions)}, but none for {missing[0]}, "
            f"expected one for each: a file without a header line has no names. Add `{missing[0]}` to "
            f"`ingest.columns`."
        )
    if positions:
        return {field: positions[field] for field in (*fields, *config.keep)}
    return {field: str(columns.get(field, field)) for field in (*fields, *config.keep)}


def _tagged(fingerprints: list[Fingerprint]) -> Iterator[beam.pvalue.TaggedOutput]:
    for chunk in partition(np.array(fingerprints, FINGERPRINT)):
        yield beam.pvalue.TaggedOutput("fingerprints", chunk)


def _find(_: dict[str, str], config: IngestConfig, task: Task, parts: str) -> list[Source]:
    if not FileSystems.exists(parts):  # a runner may start the same work twice
        FileSystems.mkdirs(parts)
    return find_sources(config, task)


def _find_duplicates(_: int, chunks: Iterable[np.ndarray]) -> Duplicates:
    return find_duplicates(chunks)


def _publish(
    _: dict[str, str],
    config: IngestConfig,
    task: Task,
    output: str,
    parts: list[Part],
    found: list[Duplicates],
) -> dict[str, Any]:
    return publish(config, task, output, parts, found)
