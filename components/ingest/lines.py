"""Reads a text file line by line, whatever is in it, in memory that does not grow with the file."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import BinaryIO, cast

from components.errors import UserError
from components.ingest.encodings import Utf8Reader, check_utf8, is_utf8
from components.ingest.files import open_file
from components.ingest.records import CUT
from components.ingest.sources import Source
from components.text import first_line, without_end

_LINE_LIMIT = 16 << 20  # bytes
_BUFFER = 1 << 20


def read_lines(source: Source, of: str = "") -> Iterator[bytes]:
    """Reads a file of a source line by line.

    Args:
        source: what to read.
        of: the field whose file is meant, by default that of the input text.

    Yields:
        The lines with their ends, in UTF-8, without a byte order mark and without empty lines at the end.
        Bytes that are no UTF-8 are what the file's encoding does not know.

    Raises:
        UserError: if the file cannot be read, is in another encoding, or its lines end in another way.
    """
    name, encoding = source.name(of), source.dialect.encoding
    with open_file(source.place(of), name) as file:
        if not is_utf8(encoding):
            file = io.BufferedReader(cast(io.RawIOBase, Utf8Reader(file, encoding)), _BUFFER)
        empty: list[bytes] = []
        for number, line in enumerate(_limited(file)):
            if not number:
                if is_utf8(encoding):
                    check_utf8(name, line)
                _check_end(name, line)
                line = first_line(line)
            if not without_end(line):
                empty.append(line)
                continue
            if empty:
                yield from empty
                empty.clear()
            yield line


def _limited(file: BinaryIO) -> Iterator[bytes]:
    """The lines; of one that would not fit in memory only the start, marked as cut."""
    while line := file.readline(_LINE_LIMIT):
        if len(line) < _LINE_LIMIT or line.endswith(b"\n"):
            yield line
        else:
            yield line + CUT
            while len(line) == _LINE_LIMIT and not line.endswith(b"\n"):
                line = file.readline(_LINE_LIMIT)


def _check_end(name: str, line: bytes) -> None:
    """Checks of the first line that it ends with a line feed, unless it is all there is."""
    returns = without_end(line).count(b"\r")
    if returns and not line.endswith(b"\n"):
        raise UserError(
            f"ingest: {name}: received lines that end with a carriage return alone ({returns:,} in the first "
            f"{len(line):,} bytes), expected a line feed at the end of every line. Convert the file: "
            f"tr '\\r' '\\n' < OLD > NEW"
        )
