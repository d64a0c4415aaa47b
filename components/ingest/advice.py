"""Words for messages: settings that can be pasted into a configuration, and quotations of bearable length."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NOT_PLAIN = {"null", "true", "false", "yes", "no", "on", "off", "y", "n"}  # in YAML 1.1 or 1.2
_ESCAPES = {'"': r"\"", "\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"}

_SHOWN_CHARACTERS = 60
_SHOWN_NAMES = 20

Value = str | int | bool


def setting(key: str, value: Value | Mapping[str, Value]) -> str:
    """Advises to set a key of `ingest`; what stands in backticks is valid YAML below that section."""
    return f"Under `ingest`, set `{key}: {yaml_value(value)}`"


def shorten(text: str, characters: int = _SHOWN_CHARACTERS) -> str:
    """Returns a text as it is quoted in a message, cut where it is too long."""
    return text if len(text) <= characters else text[: characters - 1] + "…"


def shorten_names(names: Iterable[str]) -> str:
    """Returns names as they are quoted in a message: 20 at most."""
    quoted = [repr(shorten(name)) for name in names]
    left_out = len(quoted) - _SHOWN_NAMES
    return ", ".join(quoted[:_SHOWN_NAMES]) + (f" and {left_out:,} more" if left_out > 0 else "")


def yaml_value(value: Value | Mapping[str, Value]) -> str:
    """Returns a value as YAML on one line."""
    if isinstance(value, Mapping):
        return (
            "{" + ", ".join(f"{yaml_value(name)}: {yaml_value(item)}" for name, item in value.items()) + "}"
        )
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) or (_PLAIN.fullmatch(value) and value.lower() not in _NOT_PLAIN):
        return str(value)
    return '"' + "".join(map(_escape, value)) + '"'


def _escape(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    return character if character.isprintable() else f"\\U{ord(character):08X}"
