"""Remote files that are read in pieces. Behind components/files.py."""

from __future__ import annotations

import io
from typing import Any

from upath import UPath

from components import stores


class RemoteReader(io.RawIOBase):
    """A remote file, read in pieces with patience.

    Args:
        place: where it is.

    Raises:
        FileNotFoundError: if there is none.
        StoreError: as of `stores.ask`.
    """

    def __init__(self, place: UPath) -> None:
        super().__init__()
        self._place = place
        self._file = stores.patiently(place, "open", lambda: stores.prepared(place).open(place.path, "rb"))

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Goes to a position."""
        return int(self._file.seek(offset, whence))

    def tell(self) -> int:
        """Says where it is."""
        return int(self._file.tell())

    def readinto(self, buffer: Any) -> int:
        """Reads the next piece; one that was cut is read again from its beginning."""
        start = self._file.tell()

        def read() -> bytes:
            self._file.seek(start)
            return bytes(self._file.read(len(buffer)))

        data = stores.patiently(self._place, "read", read)
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """Closes it."""
        if not self.closed:
            self._file.close()
        super().close()
