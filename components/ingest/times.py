"""Reads times of many kinds as numbers of 64 bits that are in the order of the times."""

from __future__ import annotations

import math
import re
import struct
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

# What kinds of times there are; one says nothing about the order of another.
DATES = 1 << 63
NUMBERS = DATES + 1

Time = tuple[int, int]  # its kind, and what it is ordered by

_ISO = re.compile(
    r"(\d{4})-(\d\d)(?:-(\d\d)(?:[Tt ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)? ?"
    r"(?:[Zz]|([+-])(\d\d)(?::?(\d\d))?)?)?)?",
    re.ASCII,
)
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_DAY = 86_400 * 10**6  # microseconds
_SIGN = 1 << 63
_ALL = (1 << 64) - 1


def to_time(value: Any) -> Time | None:
    """Reads a time; None if it is none.

    Args:
        value: as read: text or bytes, a number, a date or a date with time. Without an offset it is UTC.
            Finer parts than microseconds are cut off.
    """
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    if isinstance(value, str):
        text = value.strip()
        return _date(text) or (_number(text) if _NUMBER.fullmatch(text) else None)
    if isinstance(value, datetime):
        offset = value.utcoffset() or timedelta()
        clock = timedelta(
            hours=value.hour, minutes=value.minute, seconds=value.second, microseconds=value.microsecond
        )
        return DATES, value.toordinal() * _DAY + (clock - offset) // timedelta(microseconds=1)
    if isinstance(value, date):
        return DATES, value.toordinal() * _DAY
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        return _number(value)
    return None


def shown_time(time: Time) -> str:
    """Returns a time as people read it: ISO 8601 in UTC, or a number."""
    kind, key = time
    if kind == NUMBERS:
        bits = key ^ _SIGN if key & _SIGN else key ^ _ALL
        (number,) = struct.unpack("<d", struct.pack("<Q", bits))
        return f"{number:.0f}" if number.is_integer() and abs(number) < 2**53 else repr(number)
    days, rest = divmod(key, _DAY)
    if not 1 <= days <= date.max.toordinal():  # an offset has moved it out of what a calendar holds
        return f"{key} µs"
    when = datetime.fromordinal(days) + timedelta(microseconds=rest)
    return when.isoformat() if rest else when.date().isoformat()


def _date(text: str) -> Time | None:
    match = _ISO.fullmatch(text)
    if not match:
        return None
    year, month, day, hour, minute, second, fraction, sign, hours, minutes = match.groups(default="")
    try:
        when = datetime(
            int(year), int(month), int(day or 1), int(hour or 0), int(minute or 0), int(second or 0)
        )
    except ValueError:
        return None
    if int(hours or 0) > 23 or int(minutes or 0) > 59:
        return None
    offset = (int(hours or 0) * 60 + int(minutes or 0)) * (-1 if sign == "-" else 1)
    seconds = (when.hour * 60 + when.minute - offset) * 60 + when.second
    return DATES, when.toordinal() * _DAY + seconds * 10**6 + int(f"{fraction:0<6}"[:6])


def _number(value: str | float | Decimal) -> Time | None:
    try:
        number = float(value) + 0.0  # -0.0 becomes 0.0
    except (OverflowError, ValueError):
        return None
    if not math.isfinite(number):
        return None
    (bits,) = struct.unpack("<Q", struct.pack("<d", number))
    return NUMBERS, bits ^ (_ALL if bits & _SIGN else _SIGN)
