"""What the files of served versions hold, without reading them twice."""

from __future__ import annotations

import contextlib
import json

from upath import UPath

from components import files, own_files
from components.artifacts.artifact import cache_folder

_REMEMBERED = 100  # versions whose checksums are remembered


class Checksums:
    """SHA-256 of a served version's files, remembered on this machine with their signatures.

    Args:
        place: the version's directory.
    """

    def __init__(self, place: UPath) -> None:
        self._place = place
        self._known = self._all().get(str(place), {})
        self._changed = False

    def of(self, name: str) -> str:
        """Returns that of a file; a small one is read whenever asked."""
        signature = files.signature(self._place / name)
        if files.is_local(self._place) and files.is_small(signature):
            return files.sha256(self._place / name)
        known = self._known.get(name)
        if known is None or known[0] != signature:
            known = self._known[name] = (signature, files.sha256(self._place / name))
            self._changed = True
        return known[1]

    def save(self) -> None:
        """Remembers what was read."""
        if self._changed:
            others = {place: known for place, known in self._all().items() if place != str(self._place)}
            kept = dict([*others.items(), (str(self._place), self._known)][-_REMEMBERED:])
            with contextlib.suppress(OSError):  # it costs time only
                files.write(self._cache, json.dumps(kept).encode())

    @property
    def _cache(self) -> UPath:
        return UPath(cache_folder()) / "served.json"

    def _all(self) -> dict[str, dict[str, tuple[str, str]]]:
        with contextlib.suppress(OSError):
            return own_files.salvage(self._cache, dict[str, dict[str, tuple[str, str]]]) or {}
        return {}
