"""Opens the files to read, and finds the columns in them."""

from __future__ import annotations

import difflib
import gzip
import io
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import BinaryIO, cast

import pyarrow
from upath import UPath

from components import files
from components.errors import UserError
from components.strict import FIELDS

_BUFFER = 1 << 20


@contextmanager
def open_file(place: UPath, name: str) -> Iterator[BinaryIO]:
    """Opens a file for reading, unpacking .gz; trouble within the block becomes a UserError.

    Args:
        place: where it is.
        name: what people call it.

    Raises:
        UserError: if it cannot be read to its end.
    """
    try:
        with files.open_to_read(place) as raw:
            if place.name.endswith(".gz"):
                yield io.BufferedReader(gzip.GzipFile(fileobj=raw), _BUFFER)
            else:
                yield raw if files.is_local(place) else io.BufferedReader(cast(io.RawIOBase, raw), _BUFFER)
    except (OSError, EOFError, zlib.error, pyarrow.ArrowException) as error:
        raise UserError(
            f"ingest: cannot read {name}: {error}. Expected a whole, readable file of the format its name or "
            f"`ingest.format` says. Check it, its permissions, and whether it arrived complete."
        ) from error


def find_columns(file: str, header: Sequence[str], columns: dict[str, str]) -> list[int]:
    """Where in the header the columns stand.

    Args:
        file: for the error message.
        header: the names the file has.
        columns: by field, the name of its column.

    Raises:
        UserError: if one is missing or stands there twice.
    """
    for field, column in columns.items():
        if header.count(column) == 1:
            continue
        names = ", ".join(map(repr, header))
        if column in header:
            problem = f"{header.count(column)} columns are called {column!r}"
            advice = "Rename all but one of them"
        else:
            problem = f"there is no column {column!r}"
            near = difflib.get_close_matches(
                column.lower(), [name.lower() for name in header], n=1, cutoff=0.5
            )
            nearest = next((name for name in header if near == [name.lower()]), "...")
            advice = f"Did you mean {nearest!r}? " if near else ""
            section = "columns" if any(field in fields for fields in FIELDS.values()) else "keep"
            advice += f"Set `ingest.{section}: {{{field}: {nearest}}}`"
        raise UserError(f"ingest: {file}: {problem}, expected one for {field!r}. It has: {names}. {advice}.")
    return [header.index(column) for column in columns.values()]
