"""Reads tables with delimiters: where the columns stand, and which rows are header lines."""

from __future__ import annotations

from collections.abc import Iterator

from components.errors import UserError
from components.ingest.advice import setting, shorten
from components.ingest.encodings import UndecodableError
from components.ingest.headers import find_columns, names_fields, other_dialect
from components.ingest.records import Record, undecodable
from components.ingest.rows import Row, Rows
from components.ingest.sources import Source
from components.strict import FIELDS
from components.text import without_end

Columns = dict[str, str] | dict[str, int]

_MARK = "\ufeff"

HEADER_AGAIN = "the header line again"
HEADER = "a header line, but columns are given by position"


class Table:
    """A table of which records are read, once.

    A header line is no example: neither the first line where columns have names, nor those in the middle
    where files were put behind one another, nor one where columns have positions.

    Args:
        source: what to read.
        columns: by field, the name or the position of its column.

    Raises:
        UserError: if the file cannot be read at all, or lacks a column; likewise while it is read.
    """

    def __init__(self, source: Source, columns: Columns) -> None:
        self._source = source
        self._columns = columns
        self._rows = Rows(source)
        fields = {field for both in FIELDS.values() for field in both}
        self._fields = [field for field in columns if field in fields]
        self._header: list[str] = []
        self._begins_header: set[str] = set()
        self._width = 0  # 0: as many columns as the first row has
        self._good = self._bad = 0
        positions = [column for column in columns.values() if isinstance(column, int)]
        self._by_position = bool(positions)
        self._positions = positions or self._read_header(next(iter(self._rows), None))

    def __iter__(self) -> Iterator[Record]:
        """The records, also those that cannot be read, with the reason."""
        positions = self._positions
        for line, raw, cells, broken in self._rows:
            if reason := broken or self._problem(line, raw, cells):
                self._bad += 1
                yield Record(line, raw, reason=reason, readable=self._readable(cells))
            else:
                self._good += 1
                yield Record(line, raw, tuple([cells[position] for position in positions]))

    def _readable(self, cells: list[str]) -> tuple[str | None, ...]:
        """What stands in the columns of a row that is no record; None for what is not where it belongs.

        A delimiter too many is most often one of the text's own, behind which the cells are shifted.
        """
        end = len(cells) if len(cells) == self._width else min(len(cells), self._positions[0])
        return tuple([cells[position] if position < end else None for position in self._positions])

    def _read_header(self, row: Row | None) -> list[int]:
        name = self._source.name()
        names = {field: str(column) for field, column in self._columns.items()}
        if row is not None and (row.reason or not {*names.values()} <= {*row.cells}):
            text = without_end(row.raw).decode(errors="replace")
            if found := other_dialect(text, self._rows.delimiter, self._rows.quoting, names):
                raise UserError(
                    f"ingest: {name}: received {shorten(text)!r} in line {row.line}, expected the names of "
                    f"the columns, with {self._rows.delimiter!r} between them. {'. '.join(found)}."
                )
        if row is None or row.reason:
            positions = {field: position for position, field in enumerate(self._columns)}
            encoding = self._source.dialect.encoding
            problem = (
                f"ingest: {name}: received {row.reason if row else 'nothing'} in the first line, expected "
                f"the names of the columns, in {encoding.upper()}."
            )
            if row and row.reason == undecodable(b"", encoding):
                raise UndecodableError(
                    f"{problem} Set `ingest.encoding` to the encoding of the file, or convert the file."
                )
            raise UserError(f"{problem} Add such a line, or give positions. {setting('columns', positions)}.")
        self._keep_header(row.cells)
        self._width = len(row.cells)
        return find_columns(name, row.cells, names)

    def _problem(self, line: int, raw: bytes, cells: list[str]) -> str:
        """Why a row that can be read is no record; empty if it is one."""
        if cells[0] in self._begins_header and self._is_header_again(line, cells):
            return HEADER_AGAIN
        if not self._width:
            self._width = max(len(cells), max(self._positions) + 1)
        if len(cells) != self._width:
            return f"{len(cells)} columns instead of {self._width}{self._advice(raw)}"
        if self._by_position and (not self._good or cells[self._positions[0]].lower() == self._fields[0]):
            named = {field: cells[int(self._columns[field])] for field in self._fields}
            if names_fields(named, first=not self._good):
                self._keep_header(cells)
                return HEADER
        return ""

    def _keep_header(self, cells: list[str]) -> None:
        self._header = [_bare(cell) for cell in cells]
        self._begins_header = {begun + name for name in (*cells, *self._header) for begun in ("", _MARK)}

    def _is_header_again(self, line: int, cells: list[str]) -> bool:
        names = [_bare(cell) for cell in cells]
        if not self._by_position and names != self._header and sorted(names) == sorted(self._header):
            raise UserError(
                f"ingest: {self._source.name()}:{line}: received a header line whose columns are in another "
                f"order than in the first line, expected records. This file was put together from several: "
                f"read them one by one."
            )
        return names == self._header

    def _advice(self, raw: bytes) -> str:
        """What to set where the most rows cannot be read as they are."""
        if self._good > self._bad or not self._by_position:
            return ""
        text = without_end(raw).decode(errors="replace")
        advice = other_dialect(text, self._rows.delimiter, self._rows.quoting, self._width)
        return f" ({'. '.join(advice)})" if advice else ""


def _bare(cell: str) -> str:
    """A cell without white space, and without the byte order mark of a file that was put behind another."""
    return cell.lstrip(_MARK).strip()
