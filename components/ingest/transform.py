"""The ingest stage: the user's files to checked, counted examples."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import apache_beam as beam
import numpy as np

from components.artifacts.artifact import Reference
from components.errors import UserError
from components.ingest.config import IngestConfig
from components.ingest.parts import Part, PartWriter, Rejections
from components.ingest.publish import publish
from components.ingest.readers import read_records
from components.ingest.records import Record, shown, size_of, to_kept, to_text
from components.ingest.sources import Source
from components.ingest.splits import choose, hash64, held_out
from components.ingest.statistics import FINGERPRINT, Duplicates, Fingerprint, find_duplicates, partition
from components.ingest.tables import Columns
from components.reports import Progress, emit
from components.strict import FIELDS, SPLITS, Task
from components.work import Made, Work

_CHUNK = 8192  # records after which fingerprints and progress are passed on
_PROGRESS_SECONDS = 0.5


class Ingest(beam.PTransform):
    """Reads every source into the artifact `Examples`.

    Args:
        config: how to read, and how much may be rejected.
        task: decides the fields of an example.
        sources: what to read, as `find_sources` found it.
        work: of the stage.

    Raises:
        UserError: where `columns` does not suit the task; while running, where a file cannot be read, more
            than `max_rejected` records are rejected, or nothing is left to train on.
    """

    def __init__(self, config: IngestConfig, task: Task, sources: Sequence[Source], work: Work) -> None:
        super().__init__()
        self._config = config
        self._task = task
        self._sources = tuple(sources)
        self._work = work
        self._columns = _columns(config, task)

    def expand(self, inputs: beam.PCollection) -> beam.PCollection:
        """Makes one `Made` from the one (empty) mapping of references."""
        written = (
            inputs
            | "Sources" >> beam.FlatMap(_sources, self._sources)
            | "SpreadSources" >> beam.Reshuffle()
            | "WriteExamples"
            >> beam.ParDo(WriteExamples(self._config, self._columns, self._work)).with_outputs(
                "fingerprints", main="parts"
            )
        )
        duplicates = (
            written.fingerprints
            | "Partition" >> beam.GroupByKey()
            | "FindDuplicates" >> beam.Map(_find_duplicates, self._work)
        )
        return inputs | "Publish" >> beam.Map(
            _publish,
            self._config,
            self._task,
            self._work,
            beam.pvalue.AsList(written.parts),
            beam.pvalue.AsList(duplicates),
        )


class WriteExamples(beam.DoFn):
    """Reads a source from start to end and writes its parts; yields them and, apart, the fingerprints.

    It is one step and not several so that the order of the records never depends on the runner.

    Args:
        config: how to read.
        columns: by field, in order, the name or the position of its column; those to keep come last.
        work: of the stage.
    """

    def __init__(self, config: IngestConfig, columns: Columns, work: Work) -> None:
        self._config = config
        self._columns = columns
        self._fields = tuple(column for column in columns if column not in config.keep)
        self._keep = tuple(config.keep)
        self._work = work
        self._by_position = "label" in columns and any(isinstance(each, int) for each in columns.values())
        self._held_out = held_out(config)
        self._done = 0
        self._told = 0.0

    def process(self, source: Source) -> Iterator[Part | Rejections | beam.pvalue.TaggedOutput]:
        """Writes the parts of one source."""
        fingerprints: list[Fingerprint] = []
        with (
            self._work.attempt("reading") as attempt,
            PartWriter(attempt, source, self._fields, self._keep) as writer,
        ):
            for count, record in enumerate(read_records(source, self._columns), 1):
                if fingerprint := self._write(source, record, writer, count == 1):
                    fingerprints.append(fingerprint)
                if not count % _CHUNK:
                    yield from _tagged(fingerprints)
                    fingerprints.clear()
                    self._tell(_CHUNK)
            yield from _tagged(fingerprints)
            yield from writer.finish()

    def _write(self, source: Source, record: Record, writer: PartWriter, first: bool) -> Fingerprint | None:
        """Writes a record where it belongs; returns the fingerprint if it is an example."""
        size = size_of(record, len(self._fields))
        writer.advance(size)
        texts, reason, field = self._check(record)
        if reason:
            name = source.name(field if field in source.files else "")
            writer.reject(name, record.line, reason, shown(record.raw))
            return None
        kept, unreadable = self._kept(record)
        read = texts[0].encode()
        text = hash64(read)
        split = choose(text, self._held_out) if source.split == "train" else source.split
        part = writer.write(split, texts, kept, size)
        if first and self._by_position:
            part.head = texts[1]
        for column, problem in unreadable:
            part.leave_empty(column, record.line, problem)
        example = hash64(b"%d %b%b" % (len(read), read, texts[1].encode()))
        return text, example, source.index, record.line, SPLITS.index(split)

    def _check(self, record: Record) -> tuple[list[str], str, str]:
        """Returns the texts, or else the reason and the field at fault."""
        if record.reason:
            return [], record.reason, record.field
        texts = []
        for field, value in zip(self._fields, record.values, strict=False):  # what is kept comes after them
            text, reason = to_text(field, value, self._config.max_characters)
            if reason:
                return [], reason, field
            texts.append(text)
        return texts, "", ""

    def _kept(self, record: Record) -> tuple[list[str], list[tuple[str, str]]]:
        """Returns the texts of the kept columns, and by column why one is left empty."""
        texts, unreadable = [], []
        for column, value in zip(self._keep, record.values[len(self._fields) :], strict=True):
            text, reason = to_kept(column, value, self._config.max_characters)
            texts.append(text)
            if reason:
                unreadable.append((column, reason))
        return texts, unreadable

    def _tell(self, records: int) -> None:
        self._done += records
        if time.monotonic() - self._told > _PROGRESS_SECONDS:
            self._told = time.monotonic()
            emit(Progress(self._work.stage, self._done, None, "records"))


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


def _sources(_: dict[str, Reference], sources: Sequence[Source]) -> Sequence[Source]:
    return sources


def _find_duplicates(grouped: tuple[int, Iterable[np.ndarray[Any, Any]]], work: Work) -> Duplicates:
    return work.reported(find_duplicates, grouped[1])


def _publish(
    _: dict[str, Reference],
    config: IngestConfig,
    task: Task,
    work: Work,
    written: list[Part | Rejections],
    duplicates: list[Duplicates],
) -> Made:
    with work.attempt("counting") as attempt:
        return publish(work, attempt, config, task, written, duplicates)
