"""Reads sources from start to end: once to learn what the examples are ordered by, before they are cut."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import numpy as np

from components.ingest.checks import Checker
from components.ingest.chooser import Position
from components.ingest.config import IngestConfig
from components.ingest.cuts import POSITION
from components.ingest.duplicates import partition, rows_of
from components.ingest.folds import chooser
from components.ingest.readers import read_records
from components.ingest.records import Record
from components.ingest.sources import Source
from components.ingest.splits import hash64
from components.ingest.tables import Columns
from components.reports import Progress, emit
from components.work import Work

CHUNK = 8192  # records after which fingerprints and progress are passed on
_POSITIONS = 1 << 17  # passed on at once: few large arrays, as they are gone through again and again
_PROGRESS_SECONDS = 0.5

Rows = np.ndarray[Any, Any]


class ReadSource(beam.DoFn):
    """Reads a source from start to end.

    Args:
        config: how to read.
        columns: as `columns_of` gives them.
        work: of the stage.
        unit: what is counted, for people.
    """

    def __init__(self, config: IngestConfig, columns: Columns, work: Work, unit: str = "records") -> None:
        self._config = config
        self._columns = columns
        self._work = work
        self._unit = unit
        self._checker = Checker(config, columns)
        self._done = 0
        self._told = 0.0

    def _tell(self, records: int) -> None:
        self._done += records
        if time.monotonic() - self._told > _PROGRESS_SECONDS:
            self._told = time.monotonic()
            emit(Progress(self._work.stage, self._done, None, self._unit))


class LocateExamples(ReadSource):
    """Yields what the examples of `train` are ordered by, before they are cut into splits.

    Their texts are read again afterwards: keeping them meanwhile would cost more than reading them, and an
    order of them that depends on the runner.
    """

    def __init__(self, config: IngestConfig, columns: Columns, work: Work) -> None:
        super().__init__(config, columns, work, "records located")
        self._chooser = chooser(config)

    def process(self, source: Source) -> Iterator[tuple[int, Rows]]:
        """Yields the positions of one source, POSITION `[n]`, by partition."""
        if source.split != "train":
            return
        positions: list[Position] = []
        with self._work.attempt("locating"):
            for count, record in enumerate(read_records(source, self._columns), 1):
                if position := self._locate(record):
                    positions.append(position)
                if not count % CHUNK:
                    self._tell(CHUNK)
                if len(positions) == _POSITIONS:
                    yield from partition(rows_of(positions, POSITION), "stratum")
                    positions.clear()
            yield from partition(rows_of(positions, POSITION), "stratum")

    def _locate(self, record: Record) -> Position | None:
        texts, reason, _ = self._checker.texts(record)
        if reason:
            return None
        text = hash64(texts[0].encode())
        return self._chooser.locate(text, texts[1], self._checker.split_value(record))[0]
