"""A file of the user's that a stage reads beside the artifacts."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

from upath import UPath

from components import files
from components.errors import UserError

_BLOCK = 1 << 20


@dataclass(frozen=True)
class UserFile:
    """Where a file is, and what it held when the run was planned.

    Args:
        name: what people call it: as they wrote it.
        place: resolved where the command was given.
        fingerprint: of a local file the SHA-256 of its content, of a remote one its signature; empty: it is
            not checked.
    """

    name: str
    place: UPath
    fingerprint: str = ""

    @contextmanager
    def opened(self) -> Iterator[BinaryIO]:
        """Opens it, and makes sure in the end that all of it was what the run was planned with.

        Raises:
            UserError: if it changed since then, or is not there.
        """
        try:
            remote = not files.is_local(self.place)
            if remote and self.fingerprint and files.signature(self.place) != self.fingerprint:
                raise self._changed()
            with _Hashed(files.open_to_read(self.place)) as hashed:
                yield cast(BinaryIO, io.BufferedReader(hashed, _BLOCK))
                if not remote and self.fingerprint and hashed.sha256() != self.fingerprint:
                    raise self._changed()
        except FileNotFoundError as error:
            raise UserError(f"{self.name}: there is no such file any more; put it back.") from error

    def _changed(self) -> UserError:
        return UserError(f"{self.name} changed since the run was planned; expected it to stay. Run again.")


class _Hashed(io.RawIOBase):
    """A file whose content is hashed while it is read."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__()
        self._file = file
        self._digest = hashlib.sha256()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = self._file.readinto(buffer)  # type: ignore[attr-defined]
        self._digest.update(memoryview(buffer)[:count])
        return int(count)

    def sha256(self) -> str:
        """Reads what is left, and returns the hash of all."""
        while block := self._file.read(_BLOCK):
            self._digest.update(block)
        return self._digest.hexdigest()

    def close(self) -> None:
        self._file.close()
        super().close()
