"""Opens the files to read."""

from __future__ import annotations

import gzip
import io
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, cast

from upath import UPath

from components import files
from components.errors import UserError
from components.ingest.advice import shorten

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
    except Exception as error:
        if not isinstance(error, OSError | EOFError | zlib.error) and not _is_arrows(error):
            raise
        raise UserError(
            f"ingest: cannot read {name}: {shorten(str(error), 500).rstrip('.')}. Expected a whole, readable "
            f"file of the format its name or `ingest.format` says. Check it, its permissions, and whether it "
            f"arrived complete."
        ) from error


def _is_arrows(error: Exception) -> bool:
    """Whether it comes from pyarrow, which only Parquet needs to be loaded for."""
    arrow = sys.modules.get("pyarrow")
    return arrow is not None and isinstance(error, arrow.ArrowException)
