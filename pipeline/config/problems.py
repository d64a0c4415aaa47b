"""How problems of a configuration are named and worded."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from components.errors import UserError

KeyPath = tuple[str | int, ...]

_LONGEST_SHOWN = 60


class ConfigError(UserError):
    """A configuration that cannot be run; the message holds one line for each problem."""

    exit_code = 2

    @property
    def problems(self) -> list[str]:
        """The lines of the message."""
        return str(self).splitlines()


class Problem(NamedTuple):
    """What is wrong with the value at `path`, a section's key after the other."""

    path: KeyPath
    message: str


def dotted(path: KeyPath) -> str:
    """Returns `path` as --set takes it, such as `train.optimizer.type`."""
    return ".".join(map(str, path))


def quoted(words: Iterable[str], last: str = "or") -> str:
    """Returns `'a', 'b' or 'c'`."""
    return joined([f"'{word}'" for word in words], last)


def joined(words: Sequence[str], last: str = "or") -> str:
    """Returns `a, b or c`."""
    return f" {last} ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def closest(word: str, known: Iterable[str]) -> str | None:
    """Returns the one of `known` that `word` was probably meant to be."""
    folded = {name.lower(): name for name in known}
    matches = difflib.get_close_matches(word.lower(), folded, n=1)
    return folded[matches[0]] if matches else None


def did_you_mean(word: object, known: Iterable[str]) -> str:
    """Returns `; did you mean 'x'?`, or nothing where no known word is close."""
    match = closest(word, known) if isinstance(word, str) else None
    return f"; did you mean '{match}'?" if match else ""


def cut(text: str, length: int = _LONGEST_SHOWN) -> str:
    """Returns `text`, or its first `length` characters where it is longer."""
    return text if len(text) <= length else f"{text[:length]}..."


def shown(value: Any) -> str:
    """Returns what was received, in the words and the notation of YAML, on one line."""
    match value:
        case None:
            return "nothing"
        case bool():
            return str(value).lower()
        case str():
            return repr(cut(value))
        case dict():
            return "a mapping"
        case list():
            return "a list" if value else "an empty list"
    return cut(str(value))
