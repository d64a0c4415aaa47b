"""Encodings of text files: which there are, and how a file in one of them is read as UTF-8."""

from __future__ import annotations

import codecs
import difflib
import io
from encodings.aliases import aliases
from typing import BinaryIO

from components.errors import UserError
from components.ingest.advice import setting

UTF8 = "utf-8"

_BLOCK = 1 << 18
_NO_FILES = {"idna", "punycode", "raw-unicode-escape", "undefined", "unicode-escape"}  # nobody's files
_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",  # after utf-32, whose mark begins so
    codecs.BOM_UTF16_BE: "utf-16",
}


class UndecodableError(UserError):
    """The header line of a file is not in the encoding in which that is read."""


def encoding_problem(name: str) -> str:
    """Says why this is no encoding that Python can read a file in; empty if it is one."""
    try:
        known = codecs.lookup(name)
        if known._is_text_encoding and known.name not in _NO_FILES:
            return ""
    except (LookupError, ValueError):
        pass
    near = difflib.get_close_matches(name.lower().replace("-", "_"), [*aliases, *aliases.values()], n=1)
    advice = f"; did you mean {near[0]!r}?" if near else ", such as utf-8, utf-16, cp1252 or shift_jis"
    return f"received {name!r}, expected an encoding that Python knows{advice}"


def is_utf8(name: str) -> bool:
    """Whether a file in this encoding can be read as it is."""
    return codecs.lookup(name).name in ("utf-8", "utf-8-sig")


def check_utf8(file: str, line: bytes) -> None:
    """Checks that the first line of a file can be UTF-8 at all.

    Raises:
        UserError: if it is in another of Unicode's encodings, with or without a byte order mark.
    """
    other = next((name for mark, name in _MARKS.items() if line.startswith(mark)), "")
    if not other and len(line) >= 4:  # without a mark, the half of what is in Latin letters is 0
        halves = {"utf-16-be": line[:64:2], "utf-16-le": line[1:64:2]}
        other = next((name for name, half in halves.items() if not any(half)), "")
    if other:
        raise UserError(
            f"ingest: {file}: received {other.upper()}, expected UTF-8. {setting('encoding', other)}, or "
            f"convert the file."
        )


class Utf8Reader(io.RawIOBase):
    """A file in another encoding as bytes in UTF-8.

    What cannot be decoded becomes bytes that are no UTF-8, so that it spoils one record and not all.

    Args:
        file: the bytes as they are.
        encoding: the name of a codec.
    """

    def __init__(self, file: BinaryIO, encoding: str) -> None:
        self._file = file
        self._encoding = encoding
        self._decoder = codecs.getincrementaldecoder(encoding)(_MARK_UNDECODABLE)
        self._ready = b""
        self._ended = False

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        """Fills a buffer; returns how many bytes, 0 at the end.

        Raises:
            OSError: if the file is in another encoding from its start.
        """
        while not self._ready and not self._ended:
            block = self._file.read(_BLOCK)
            self._ended = not block
            try:
                text = self._decoder.decode(block, final=self._ended)
            except UnicodeError as error:  # such as UTF-16 without its mark
                raise OSError(f"it is not {self._encoding}: {error}") from error
            self._ready = text.encode(UTF8, "surrogatepass")
        count = min(len(buffer), len(self._ready))
        buffer[:count], self._ready = self._ready[:count], self._ready[count:]
        return count


_MARK_UNDECODABLE = "rnnpipe.mark_undecodable"
codecs.register_error(_MARK_UNDECODABLE, lambda error: ("\udcff", error.end))  # type: ignore[attr-defined]
