"""Files on a disk of this machine, whole under their names or not there. Behind components/files.py."""

from __future__ import annotations

import contextlib
import os
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from upath import UPath

ASIDE = re.compile(r"\.[0-9a-f]{32}")
"""What a file is called until it is whole."""
_TRIES = 5


class Entry(NamedTuple):
    """A file that was listed.

    Args:
        path: where it is.
        size: in bytes.
        modified: when it was last written, by the clock of the store, in seconds since 1970.
        version: another content, another version: as a remote store says it, or the inode of a disk.
    """

    path: UPath
    size: int
    modified: float
    version: str = ""


def written_aside(path: Path, data: bytes, private: bool = False) -> Path:
    """Writes a file beside its place, from where it can be moved or linked there at once.

    Args:
        path: its place.
        data: its content.
        private: whether nobody but its owner may read it.
    """
    for attempt in range(_TRIES):
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(f".{uuid.uuid4().hex}")
        try:
            with aside.open("xb") as file:
                if private:
                    os.fchmod(file.fileno(), 0o600)
                file.write(data)
                flush(file.fileno())
            return aside
        except FileNotFoundError:  # the folder was deleted meanwhile, for it was empty
            if attempt == _TRIES - 1:
                raise
        except BaseException:
            aside.unlink(missing_ok=True)
            raise
    raise AssertionError("unreachable")


def flush(descriptor: int) -> None:
    """Waits until an open file is on the disk."""
    os.fsync(descriptor)  # a name can reach the disk before what was written under it


def sync_folder(folder: Path) -> None:
    """Waits until the names in a folder are on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def entries(folder: Path) -> Iterator[Entry]:
    """Yields the files below a folder that are whole."""
    try:
        with os.scandir(folder) as listed:
            for entry in listed:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    yield from entries(Path(entry.path))
                    continue
                with contextlib.suppress(FileNotFoundError):  # deleted meanwhile
                    stat = entry.stat()
                    yield Entry(UPath(entry.path), stat.st_size, stat.st_mtime, str(stat.st_ino))
    except (FileNotFoundError, NotADirectoryError):
        return


def unfinished(folder: Path) -> Iterator[Entry]:
    """Yields the files below a folder that were never finished."""
    for path in folder.rglob(".*"):
        if ASIDE.fullmatch(path.name):
            with contextlib.suppress(FileNotFoundError):  # it is finished now
                stat = path.stat()
                yield Entry(UPath(path), stat.st_size, stat.st_mtime)
