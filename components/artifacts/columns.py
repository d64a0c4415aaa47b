"""Columns in Parquet: written in row groups of a bounded size, read in batches of any."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow

# What a reader holds in memory at least. Both are properties of the files: other numbers, other bytes.
GROUP_ROWS = 8192
GROUP_BYTES = 16 << 20


class ColumnWriter:
    """Writes a Parquet file from batches of columns; the same rows in the same batches give the same bytes.

    Args:
        path: a local file.
        columns: by name, the Arrow type.
    """

    def __init__(self, path: Path, columns: dict[str, pyarrow.DataType]) -> None:
        import pyarrow
        from pyarrow import parquet

        self._schema = pyarrow.schema(columns)
        self._writer: Any = parquet.ParquetWriter(path, self._schema, compression="zstd")
        self._batches: list[Any] = []

    def write(self, arrays: Sequence[pyarrow.Array]) -> None:
        """Adds rows.

        Args:
            arrays: one a column, of equal length, at most `GROUP_ROWS`.
        """
        import pyarrow

        self._batches.append(pyarrow.record_batch(arrays, self._schema))
        rows = sum(batch.num_rows for batch in self._batches)
        if rows >= GROUP_ROWS or sum(batch.nbytes for batch in self._batches) >= GROUP_BYTES:
            self._flush()

    def close(self) -> None:
        """Finishes the file."""
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        import pyarrow

        if self._batches:
            table = pyarrow.Table.from_batches(self._batches)
            self._writer.write_table(table, row_group_size=max(table.num_rows, 1))
            self._batches.clear()


def read_columns(path: Path, names: Sequence[str], batch_size: int) -> Iterator[dict[str, pyarrow.Array]]:
    """Reads columns of a Parquet file in order, in memory that does not grow with the file.

    Args:
        path: a local file.
        names: of the columns.
        batch_size: rows of a batch; the last one may be smaller.

    Yields:
        By name, in the order asked for, an array.

    Raises:
        KeyError: if there is no such column.
    """
    from pyarrow import parquet

    with parquet.ParquetFile(path) as file:
        there = file.schema_arrow.names
        if missing := [name for name in names if name not in there]:
            raise KeyError(f"{path} has no column {missing[0]!r}, it has: {', '.join(there)}")
        for batch in file.iter_batches(batch_size, columns=list(names)):
            yield dict(zip(names, batch.columns, strict=True))
