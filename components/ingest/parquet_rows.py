"""Reads Parquet row by row, in memory that grows neither with the file nor with what its pages expand to."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator

import pyarrow
from pyarrow import parquet

from components.errors import UserError
from components.ingest.files import open_file
from components.ingest.headers import find_columns
from components.ingest.records import Record, Unreadable
from components.ingest.sources import Source

_ROWS = 8192  # in memory, at most
_BATCH_BYTES = 32 << 20  # of these rows, as they are in the file without its compression

# Of a column in a row group; above it, at most so many times what is in the file.
_UNPACKED_BYTES = 256 << 20
_UNPACKED_TIMES = 500

_is = pyarrow.types


def read_parquet(source: Source, names: dict[str, str]) -> Iterator[Record]:
    """Reads the rows of a Parquet file.

    Values are strings as bytes, numbers, dates and the like as Python has them, and `Unreadable` where Python
    has nothing for them. Of nested columns the values are not read, but their kind is there.

    Args:
        source: what to read.
        names: by field, the name of its column.

    Raises:
        UserError: if the file cannot be read at all, or lacks a column.
    """
    with open_file(source.place(), source.name()) as file:
        plain = parquet.ParquetFile(file)
        schema = plain.schema_arrow
        find_columns(source.name(), schema.names, names)
        wanted = dict.fromkeys(names.values())
        # A page that holds a long string once, for thousands of rows, must not become thousands of strings.
        strings = [name for name in wanted if _holds_strings(schema.field(name).type)]
        table = parquet.ParquetFile(file, metadata=plain.metadata, read_dictionary=strings)
        _check_expansion(source.name(), table.metadata, wanted)
        flat = [name for name in wanted if not _is.is_nested(schema.field(name).type)]
        nested = {name: _empty(schema.field(name).type) for name in wanted if name not in flat}
        done = 0
        for batch in table.iter_batches(_batch_rows(table.metadata), columns=flat):
            columns = {name: _values(batch.column(name)) for name in flat}
            columns |= {name: [value] * batch.num_rows for name, value in nested.items()}
            rows = zip(*(columns[name] for name in names.values()), strict=True)
            for row, cells in enumerate(rows, done + 1):
                yield Record(row, cells, cells)
            done += batch.num_rows


def _holds_strings(kind: pyarrow.DataType) -> bool:
    value = kind.value_type if _is.is_dictionary(kind) else kind
    return bool(
        _is.is_string(value)
        or _is.is_large_string(value)
        or _is.is_binary(value)
        or _is.is_large_binary(value)
    )


def _empty(kind: pyarrow.DataType) -> object:
    return {} if _is.is_struct(kind) else []


def _check_expansion(name: str, metadata: parquet.FileMetaData, wanted: Collection[str]) -> None:
    """Checks that no column needs far more memory than the file takes: Arrow reads its pages as a whole."""
    for index, number in itertools.product(range(metadata.num_row_groups), range(metadata.num_columns)):
        chunk = metadata.row_group(index).column(number)
        packed, unpacked = max(chunk.total_compressed_size, 1), chunk.total_uncompressed_size
        if chunk.path_in_schema in wanted and unpacked > max(_UNPACKED_BYTES, _UNPACKED_TIMES * packed):
            raise UserError(
                f"ingest: {name}: received a column {chunk.path_in_schema!r} whose {packed:,} bytes expand "
                f"to {unpacked:,}, expected at most {_UNPACKED_TIMES} times as many. Check the file, or "
                f"write it with less compression."
            )


def _batch_rows(metadata: parquet.FileMetaData) -> int:
    """How many rows may be in memory at once, by the row group that has the longest."""
    groups = (metadata.row_group(index) for index in range(metadata.num_row_groups))
    longest = max((group.total_byte_size // max(group.num_rows, 1) for group in groups), default=0)
    return int(min(_ROWS, max(1, _BATCH_BYTES // max(longest, 1))))


def _values(column: pyarrow.Array) -> list[object]:
    if not _is.is_dictionary(column.type):
        return _to_python(_as_bytes(column))
    used = column.indices.unique().drop_null()
    dictionary = _to_python(_as_bytes(column.dictionary.take(used)))
    values = dict(zip(used.to_pylist(), dictionary, strict=True))
    return [None if index is None else values[index] for index in column.indices.to_pylist()]


def _as_bytes(column: pyarrow.Array) -> pyarrow.Array:
    """Strings as bytes, so that those that are no UTF-8 spoil one row, not all."""
    return column.cast(pyarrow.large_binary()) if _holds_strings(column.type) else column


def _to_python(column: pyarrow.Array) -> list[object]:
    try:
        values: list[object] = column.to_pylist()
        return values
    except Exception:
        # Python's dates end in the year 9999, its clock has no nanoseconds, and it may not know a zone.
        return [_one(value) for value in column]


def _one(value: pyarrow.Scalar) -> object:
    try:
        return value.as_py()
    except Exception as error:
        return Unreadable(f"{value.type} that cannot be read: {error}")
