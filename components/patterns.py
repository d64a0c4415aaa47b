"""Where paths become globs: [, * and ? are a part of some names."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable

_SHOWN = 5  # names


def with_literal_folder(pattern: str, is_folder: Callable[[str], bool]) -> str:
    """Escapes what a glob begins with, as far as there are folders of exactly this name.

    Args:
        pattern: a path or glob.
        is_folder: whether there is a folder of a name.
    """
    folder = _literal_folder(pattern, is_folder)
    return glob.escape(folder) + pattern[len(folder) :]


def why_unmatched(pattern: str) -> str:
    """Says what of a local glob matches nothing, to be put behind a sentence; empty for any other pattern."""
    if not glob.has_magic(pattern) or "://" in pattern:
        return ""
    begun = whole = os.path.expanduser(pattern)
    if folder := _literal_folder(begun, os.path.isdir):
        rest = begun[len(folder) :].lstrip("/")
        return (
            f"; {folder!r} was read as the name of the folder, which holds {_holds(folder)}, but no {rest!r}"
        )
    while (folder := os.path.dirname(begun)) not in ("", begun) and not glob.glob(folder):
        begun = folder
    if "[" in begun:
        brackets = "in which [...] stands for one of the characters inside, and [[] for a bracket"
        return f"; nothing matches {begun!r}, {brackets}"
    return f"; nothing matches {begun!r}" if begun != whole else ""


def _holds(folder: str) -> str:
    names = sorted(os.listdir(folder))
    return ", ".join(map(repr, names[:_SHOWN])) + (" and others" if names[_SHOWN:] else "") or "nothing"


def _literal_folder(pattern: str, is_folder: Callable[[str], bool]) -> str:
    """The longest beginning of a glob that has its signs and is the name of a folder; empty if none is."""
    folder = os.path.dirname(pattern)
    while glob.has_magic(folder):
        if is_folder(folder):
            return folder
        folder = os.path.dirname(folder)
    return ""
