"""Records as the readers find them, and what makes one fit to be an example."""

from __future__ import annotations

import functools
import json
import math
from dataclasses import dataclass
from datetime import date, time, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from components.ingest.encodings import UTF8, is_utf8
from components.text import NOT_UTF8, normal, to_label

CUT = b"\xff" * 8  # ends what was too long to be read as a whole; in no encoding of Unicode text
EMPTY_LINE = "empty line"

_EXACT = 2**53  # whole numbers below are exact as floats
_SHOWN = 1_000  # characters kept of a rejected record

_label = functools.lru_cache(maxsize=4096)(to_label)  # most labels are met again and again


class Record(NamedTuple):
    """One record of a source.

    Args:
        line: where it starts, from 1; the row in Parquet.
        raw: the record as it stands in the file; the cells in Parquet.
        values: one a field, as read; empty if `reason` is given.
        reason: why it cannot be read.
        field: the field at fault, if it has a file of its own.
        readable: if `reason` is given, the values that can be read in spite of it, None for the others; or
            empty.
    """

    line: int
    raw: bytes | tuple[Any, ...]
    values: tuple[Any, ...] = ()
    reason: str = ""
    field: str = ""
    readable: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Unreadable:
    """Stands for a value that cannot be read; `problem` says what it is and why."""

    problem: str

    def __str__(self) -> str:
        return self.problem


def to_text(field: str, value: Any, max_characters: int) -> tuple[str, str]:
    """Checks one value.

    A label is spelled as `to_label` has it; texts stay as they are.

    Args:
        field: what the value is to be.
        value: as read.
        max_characters: the greatest length, in Unicode code points.

    Returns:
        The text, and why it is rejected (empty: it is not).
    """
    if isinstance(value, bytes):
        try:
            value = value.decode()
        except UnicodeDecodeError:
            return "", undecodable(value)
    if not isinstance(value, str):
        if value is None:
            return "", f"{field} is null"
        if isinstance(value, Unreadable):
            return "", f"{field} is a {value.problem}"
        if field != "label" or not isinstance(value, int):
            return "", f"{field} is of type {type(value).__name__}, not a string"
        value = json.dumps(value)
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:  # JSON can spell half a character
            return "", "not valid Unicode"
    if not value.strip():
        return "", f"empty {field}"
    if len(value) > max_characters:
        return "", f"{field} longer than {max_characters} characters"
    return _label(value) if field == "label" else (value, "")


def to_kept(name: str, value: Any, max_characters: int) -> tuple[str, str]:
    """Checks one value of a column that is kept beside the fields; it may be missing, and of any simple type.

    Args:
        name: what it is kept as.
        value: as read.
        max_characters: the greatest length, in Unicode code points.

    Returns:
        The text in NFC without white space around it, and why there is none although there is a value.
    """
    if value is None or (isinstance(value, str | bytes) and not value.strip()):
        return "", ""
    if isinstance(value, float) and not math.isfinite(value):
        return "", ""  # what pandas has where nothing is
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT:
        value = int(value)  # a column of whole numbers with gaps is one of floats to pandas
    if isinstance(value, bool | int | float):
        return json.dumps(value), ""
    if isinstance(value, date | time):
        return value.isoformat(), ""
    if isinstance(value, Decimal | timedelta):
        return str(value), ""
    text, reason = to_text(name, value, max_characters)
    return normal(text.strip()), reason


def size_of(record: Record, values: int) -> int:
    """Returns the bytes that a record takes in its file; where it has no bytes of its own, about as many.

    Args:
        record: any.
        values: how many of its values are asked for, whatever else is kept.
    """
    if isinstance(record.raw, bytes):
        return len(record.raw)
    return sum(len(value) if isinstance(value, bytes | str) else 8 for value in record.values[:values])


def undecodable(raw: bytes, encoding: str = UTF8) -> str:
    """Why these bytes are no text in an encoding."""
    if raw.endswith(CUT):
        return "line too long to be read"
    return NOT_UTF8 if is_utf8(encoding) else f"not {encoding}"


def shown(raw: bytes | tuple[Any, ...]) -> str:
    """The raw record as text for people, without its line end, cut to 1,000 characters."""
    if isinstance(raw, bytes):
        text = raw[: 4 * _SHOWN + 8].decode(errors="replace").rstrip("\r\n")
    else:
        limit = 4 * _SHOWN + 8
        cells = [cell[:limit].decode(errors="replace") if isinstance(cell, bytes) else cell for cell in raw]
        text = json.dumps(cells, ensure_ascii=False, default=str)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
