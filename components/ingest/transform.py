"""The ingest stage: the user's files to checked, counted examples."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import apache_beam as beam
import numpy as np

from components.artifacts.artifact import Reference
from components.ingest.checks import columns_of
from components.ingest.chooser import Position
from components.ingest.config import PLACE, IngestConfig
from components.ingest.conflicts import Names, example_hash, name_conflicts
from components.ingest.cuts import Cut, find_cuts
from components.ingest.duplicates import (
    FINGERPRINT,
    Duplicates,
    Fingerprint,
    find_duplicates,
    partition,
    rows_of,
)
from components.ingest.folds import Dealt, chooser, find_fold
from components.ingest.locate import CHUNK, LocateExamples, ReadSource
from components.ingest.near import bare
from components.ingest.parts import Part, PartWriter, Rejections
from components.ingest.publish import publish
from components.ingest.readers import read_records
from components.ingest.records import Record, shown, size_of
from components.ingest.sources import Source
from components.ingest.splits import checks_groups, choose, hash64, held_out, is_cut
from components.ingest.tables import Columns
from components.strict import SPLITS, Split, Task
from components.work import Made, Work

Rows = np.ndarray[Any, Any]


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
        self._columns = columns_of(config, task)

    def expand(self, inputs: beam.PCollection) -> beam.PCollection:
        """Makes one `Made` from the one (empty) mapping of references."""
        sources = (
            inputs | "Sources" >> beam.FlatMap(_sources, self._sources) | "SpreadSources" >> beam.Reshuffle()
        )
        written = sources | "WriteExamples" >> beam.ParDo(
            WriteExamples(self._config, self._columns, self._work), *self._cuts(sources)
        ).with_outputs("fingerprints", "groups", main="parts")
        groups = self._duplicates("Groups", written.groups) if checks_groups(self._config) else ()
        duplicates = self._duplicates("Texts", written.fingerprints)
        return inputs | "Publish" >> beam.Map(
            _publish,
            self._config,
            self._task,
            self._work,
            beam.pvalue.AsList(written.parts),
            duplicates,
            groups,
            self._names(written.parts, duplicates),
        )

    def _names(
        self, written: beam.PCollection, duplicates: beam.pvalue.AsSideInput
    ) -> beam.pvalue.AsSideInput | tuple[()]:
        """The texts and labels of conflicts; none for seq2seq, where a text may have several translations."""
        if self._task != "classification":
            return ()
        return beam.pvalue.AsList(
            written
            | "SpreadParts" >> beam.Reshuffle()
            | "NameConflicts" >> beam.FlatMap(_name_conflicts, duplicates, self._work)
        )

    def _duplicates(self, name: str, fingerprints: beam.PCollection) -> beam.pvalue.AsSideInput:
        """What is there more than once, by partition."""
        return beam.pvalue.AsList(
            fingerprints
            | f"Partition{name}" >> beam.GroupByKey()
            | f"FindDuplicate{name}" >> beam.Map(_find_duplicates, self._work)
        )

    def _cuts(self, sources: beam.PCollection) -> list[beam.pvalue.AsSideInput]:
        """Where the examples of train are cut, if all must be known before the split of one is."""
        if not is_cut(self._config):
            return []
        cuts = (
            sources
            | "LocateExamples" >> beam.ParDo(LocateExamples(self._config, self._columns, self._work))
            | "PartitionLocations" >> beam.GroupByKey()
            | "FindCuts" >> beam.FlatMap(_find_cuts, self._config, self._work)
        )
        return [beam.pvalue.AsList(cuts)]


class WriteExamples(ReadSource):
    """Reads a source and writes its parts; yields them and, apart, the fingerprints of examples and groups.

    It is one step and not several so that the order of the records never depends on the runner.
    """

    def __init__(self, config: IngestConfig, columns: Columns, work: Work) -> None:
        super().__init__(config, columns, work)
        self._has_labels = "label" in columns
        self._by_position = self._has_labels and any(isinstance(each, int) for each in columns.values())
        self._held_out = held_out(config)
        self._by_text = config.split.type == "hash"
        self._notes_times = config.split.type == "time"
        self._notes_groups = checks_groups(config)
        self._notes_places = config.split.type == "fold"
        self._keep = (*self._checker.keep, PLACE) if self._notes_places else self._checker.keep
        self._chooser = chooser(config)

    def process(
        self, source: Source, cuts: Sequence[Cut | Dealt] = ()
    ) -> Iterator[Part | Rejections | beam.pvalue.TaggedOutput]:
        """Writes the parts of one source.

        Args:
            source: what to read.
            cuts: where the examples of train are cut, or their groups.
        """
        self._chooser = chooser(self._config, cuts)
        fingerprints: list[Fingerprint] = []
        groups: list[Fingerprint] = []
        with (
            self._work.attempt("reading") as attempt,
            PartWriter(attempt, source, self._checker.fields, self._keep) as writer,
        ):
            for count, record in enumerate(read_records(source, self._columns), 1):
                if fingerprint := self._write(source, record, writer, groups, count == 1):
                    fingerprints.append(fingerprint)
                if not count % CHUNK:
                    yield from _tagged("fingerprints", fingerprints)
                    yield from _tagged("groups", groups)
                    self._tell(CHUNK)
            yield from _tagged("fingerprints", fingerprints)
            yield from _tagged("groups", groups)
            yield from writer.finish()

    def _write(
        self, source: Source, record: Record, writer: PartWriter, groups: list[Fingerprint], first: bool
    ) -> Fingerprint | None:
        """Writes a record where it belongs; returns the fingerprint if it is an example."""
        checker = self._checker
        size = size_of(record, len(checker.fields))
        writer.advance(size)
        texts, reason, field = checker.texts(record)
        split, position, unlocated = source.split, None, ""
        if not reason:
            read = texts[0].encode()
            text = hash64(read)
            if not self._by_text:
                split, position, reason, unlocated = self._choose(source, text, texts[1], record)
            elif split == "train":
                split = choose(text, self._held_out)
        if reason:
            name = source.name(field if field in source.files else "")
            writer.reject(name, record.line, reason, shown(record.raw))
            return None
        kept, unreadable = checker.kept(record) if checker.keep else ([], [])
        if self._notes_places:
            kept.append(f"{source.index}:{record.line}")
        part = writer.write(split, texts, kept, size)
        if first and self._by_position:
            part.head = texts[1]
        for column, problem in unreadable:
            part.leave_empty(column, record.line, problem)
        if unlocated:
            part.note_unlocated(record.line, unlocated)
        index = SPLITS.index(split)
        if position is not None and self._notes_times:
            part.note_time(*position, record.line)
        if position is not None and self._notes_groups:
            groups.append((position[1], position[1], position[1], source.index, record.line, index))
        words = bare(texts[0], read)
        near = text if words == read else hash64(words)
        if self._has_labels:
            example = example_hash(text, texts[1])
        else:
            example = (
                2 * text + hash64(texts[1].encode())
            ) % 2**64  # also where the answer is the text itself
        return text, near, example, source.index, record.line, index

    def _choose(
        self, source: Source, text: int, label: str, record: Record
    ) -> tuple[Split, Position | None, str, str]:
        """Returns an example's split and position; why it has no split, and why, having one, no position."""
        position, problem = self._chooser.locate(text, label, self._checker.split_value(record))
        if source.split != "train" or not self._held_out:  # as it was given
            return source.split, position, "", problem
        if position is None:
            return source.split, None, problem, ""
        split, problem = self._chooser.choose(position)
        return split, position, problem, ""


def _tagged(tag: str, fingerprints: list[Fingerprint]) -> Iterator[beam.pvalue.TaggedOutput]:
    """Passes fingerprints on, by partition, and forgets them."""
    for chunk in partition(rows_of(fingerprints, FINGERPRINT), "near"):
        yield beam.pvalue.TaggedOutput(tag, chunk)
    fingerprints.clear()


def _sources(_: dict[str, Reference], sources: Sequence[Source]) -> Sequence[Source]:
    return sources


def _find_duplicates(grouped: tuple[int, Iterable[Rows]], work: Work) -> Duplicates:
    return work.reported(find_duplicates, grouped[1])


def _name_conflicts(
    written: Part | Rejections, duplicates: Sequence[Duplicates], work: Work
) -> Sequence[Names]:
    found = [partition.conflicts for partition in duplicates if partition.conflicts.texts]
    if not isinstance(written, Part) or written.split != "train" or not found:
        return []
    return work.reported(lambda: list(name_conflicts(written, found, work)))


def _find_cuts(
    grouped: tuple[int, Iterable[Rows]], config: IngestConfig, work: Work
) -> Sequence[Cut | Dealt]:
    if config.split.type == "fold":
        return work.reported(find_fold, grouped[1], config)
    held = held_out(config)
    fractions = [held[split] for split in SPLITS if split in held]
    return work.reported(find_cuts, grouped[1], fractions)


def _publish(
    _: dict[str, Reference],
    config: IngestConfig,
    task: Task,
    work: Work,
    written: list[Part | Rejections],
    duplicates: list[Duplicates],
    groups: Sequence[Duplicates],
    names: Sequence[Names],
) -> Made:
    with work.attempt("counting") as attempt:
        return publish(work, attempt, config, task, written, duplicates, groups, names)
