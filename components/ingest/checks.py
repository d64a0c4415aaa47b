"""Takes records apart into fields and other columns, and says what makes them unfit."""

from __future__ import annotations

from typing import Any

from components.errors import UserError
from components.ingest.config import SPLIT_COLUMN, IngestConfig
from components.ingest.records import Record, to_kept, to_text
from components.ingest.tables import Columns
from components.strict import FIELDS, Task


class Checker:
    """Takes records apart.

    Args:
        config: how to read.
        columns: as `columns_of` gives them.

    Attributes:
        fields: of an example, in order.
        keep: the names of the columns to keep beside them, in order.
    """

    def __init__(self, config: IngestConfig, columns: Columns) -> None:
        self.keep = tuple(config.keep)
        self.fields = tuple(name for name in columns if name not in config.keep and name != SPLIT_COLUMN)
        self._max_characters = config.max_characters
        self._kept = slice(len(self.fields), len(self.fields) + len(self.keep))
        self._splits = SPLIT_COLUMN in columns

    def texts(self, record: Record) -> tuple[list[str], str, str]:
        """Returns the texts, or else the reason and the field at fault."""
        if record.reason:
            return [], record.reason, record.field
        texts = []
        for field, value in zip(
            self.fields, record.values, strict=False
        ):  # the other columns come after them
            text, reason = to_text(field, value, self._max_characters)
            if reason:
                return [], reason, field
            texts.append(text)
        return texts, "", ""

    def kept(self, record: Record) -> tuple[list[str], list[tuple[str, str]]]:
        """Returns the texts of the kept columns, and by column why one is left empty."""
        texts: list[str] = []
        unreadable: list[tuple[str, str]] = []
        for column, value in zip(self.keep, record.values[self._kept], strict=True):
            text, reason = to_kept(column, value, self._max_characters)
            texts.append(text)
            if reason:
                unreadable.append((column, reason))
        return texts, unreadable

    def split_value(self, record: Record) -> Any:
        """Returns what stands in the column to split by; None where there is none."""
        return record.values[-1] if self._splits else None


def columns_of(config: IngestConfig, task: Task) -> Columns:
    """By field, in order, where its values are: all names, or all positions.

    Behind the fields come the kept columns, and then the one to split by.

    Raises:
        UserError: where `columns` does not suit the task.
    """
    fields = FIELDS[task]
    unknown = sorted(set(config.columns) - set(fields))
    if unknown:
        raise UserError(
            f"ingest: `columns` received {', '.join(unknown)}, expected {' and '.join(fields)} for {task}. "
            f"Correct `ingest.columns` or `task`."
        )
    columns = {**config.columns, **config.keep, **config.split_column}
    positions = {field: column for field, column in columns.items() if isinstance(column, int)}
    missing = [field for field in fields if field not in positions]
    if positions and missing:
        raise UserError(
            f"ingest: `columns` received a position for {', '.join(positions)}, but none for {missing[0]}, "
            f"expected one for each: a file without a header line has no names. Add `{missing[0]}` to "
            f"`ingest.columns`."
        )
    names = (*fields, *config.keep, *config.split_column)
    if positions:
        return {field: positions[field] for field in names}
    return {field: str(columns.get(field, field)) for field in names}
