"""The ingest stage's artifact: checked examples, split by split."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from components.artifacts.artifact import Artifact, FileRef
from components.artifacts.columns import ColumnWriter, read_columns
from components.strict import FIELDS, Split
from components.work import Attempt

if TYPE_CHECKING:
    import pyarrow

STATISTICS = "statistics.json"
REJECTED = "rejected.jsonl"
CONFLICTS = "conflicts.jsonl"

_FIELDS = {field for fields in FIELDS.values() for field in fields}


class Examples(Artifact):
    """Texts in Parquet, what else was kept of them, and what is known about the data.

    The order of a split's files, and of the rows in them, is the order of the user's files.
    """

    stage = "ingest"
    parts: ClassVar = {
        "train": ("examples/train-",),
        "validation": ("examples/validation-",),
        "test": ("examples/test-",),
        "kept": ("kept/",),
        "report": (STATISTICS, REJECTED, CONFLICTS),
    }
    published = (STATISTICS,)
    lists = (REJECTED, CONFLICTS)

    def parts_of(self, split: Split) -> list[str]:
        """Returns the logical names of a split's files in their order; none where it has no examples."""
        return self.names(f"examples/{split}-")

    def count(self, split: Split) -> int:
        """Returns how many examples a split has."""
        return int(self.statistics()["splits"][split]["examples"])

    def batches(
        self, name: str, fields: Sequence[str], batch_size: int = 1024
    ) -> Iterator[dict[str, list[str]]]:
        """Reads a file of examples in order, without holding more than a few batches in memory.

        Args:
            name: one of `parts_of`.
            fields: fields of the task, or names of `ingest.keep`.
            batch_size: examples of a batch; the last one may be smaller.

        Yields:
            By field, in the order asked for, a text for each example.

        Raises:
            KeyError: if there is no such field.
        """
        for batch in self.arrays(name, fields, batch_size):
            yield {field: column.to_pylist() for field, column in batch.items()}

    def arrays(
        self, name: str, fields: Sequence[str], batch_size: int = 1024
    ) -> Iterator[dict[str, pyarrow.Array]]:
        """As `batches`, but yields Arrow arrays of strings."""
        own = [field for field in fields if field in _FIELDS]
        kept = [field for field in fields if field not in _FIELDS]
        if not own or not kept:
            yield from read_columns(self.file(kept_name(name) if kept else name), fields, batch_size)
            return
        examples = read_columns(self.file(name), own, batch_size)
        beside = read_columns(self.file(kept_name(name)), kept, batch_size)
        for one, other in zip(examples, beside, strict=True):
            both = one | other
            yield {field: both[field] for field in fields}

    def statistics(self) -> dict[str, Any]:
        """Returns counts, lengths, duplicates and warnings; see components/ingest/statistics.py."""
        statistics: dict[str, Any] = self.json(STATISTICS)
        return statistics

    def rejected(self) -> Iterator[dict[str, Any]]:
        """Yields the rejected records: file, line, reason and text of each, by file and line."""
        yield from self._lines(REJECTED)

    def conflicts(self) -> Iterator[dict[str, Any]]:
        """Yields texts of train with several labels; see components/ingest/conflicts.py."""
        if self.has(CONFLICTS):
            yield from self._lines(CONFLICTS)

    def _lines(self, name: str) -> Iterator[dict[str, Any]]:
        with self.file(name).open(encoding="utf-8") as lines:
            for line in lines:
                yield json.loads(line)


def part_name(split: Split, index: int) -> str:
    """Returns the logical name of a file of examples."""
    return f"examples/{split}-{index:05d}.parquet"


def kept_name(name: str) -> str:
    """Returns the logical name of what was kept beside a file of examples, row by row."""
    return f"kept/{name.removeprefix('examples/')}"


class ExampleWriter:
    """Writes a file of examples, or of what is kept beside one, batch by batch.

    Args:
        attempt: whose file it is.
        name: as `part_name` or `kept_name` gives it.
        fields: the columns.
    """

    def __init__(self, attempt: Attempt, name: str, fields: Sequence[str]) -> None:
        import pyarrow

        self._attempt = attempt
        self._name = name
        self._text = pyarrow.string()
        self._writer = ColumnWriter(attempt.path(name), dict.fromkeys(fields, self._text))

    def write(self, columns: Sequence[Sequence[str]]) -> None:
        """Adds examples.

        Args:
            columns: by the order of the fields, a text for each example.
        """
        import pyarrow

        self._writer.write([pyarrow.array(texts, self._text) for texts in columns])

    def close(self) -> FileRef:
        """Finishes the file."""
        self._writer.close()
        return self._attempt.add(self._name)
