"""Looks at the beginnings of files, so that a column that is not there is missed before anything starts."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence

from components.ingest.checks import columns_of
from components.ingest.config import IngestConfig
from components.ingest.headers import find_columns
from components.ingest.readers import read_records
from components.ingest.sources import Source
from components.ingest.tables import Columns
from components.strict import FIELDS, SPLITS, Task

_FILES = 20  # of a split; what is in the others the run itself says
_RECORDS = 20


def check_columns(config: IngestConfig, task: Task, sources: Sequence[Source]) -> None:
    """Reads the first records of the first files of every split.

    Args:
        config: how they are read.
        task: of the pipeline.
        sources: the user's files.

    Raises:
        UserError: if a file cannot be read, or lacks a column.
    """
    columns = columns_of(config, task)
    for split in SPLITS:
        for source in [source for source in sources if source.split == split][:_FILES]:
            check_beginning(source, columns, task)


def check_beginning(source: Source, columns: Columns, task: Task) -> None:
    """Reads the first records of a source.

    Args:
        source: of the user's files.
        columns: by field, where its values are.
        task: decides which fields are needed.

    Raises:
        UserError: if the file cannot be read, or lacks a column.
    """
    records = list(itertools.islice(read_records(source, columns), _RECORDS))
    if source.format == "jsonl" and records and all(record.reason for record in records):
        needed = {field: str(column) for field, column in columns.items() if field in FIELDS[task]}
        for record in records:
            assert isinstance(record.raw, bytes)
            try:
                value = json.loads(record.raw)
            except (ValueError, RecursionError):
                continue
            if isinstance(value, dict):
                find_columns(source.name(), list(value), needed)
