"""Temporary files of a command, in a folder of its own that a later one removes if this one is killed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from components.artifacts.artifact import cache_folder

_PREFIX = "rnnpipe-command-"
_LOCK = "lock"  # held for as long as the command lives, by no note of a number that may be another's


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """Has all temporary files of this process and of its children in a folder of its own.

    Those of the libraries are among them. What killed commands of this user have left is removed first.
    """
    base = Path(tempfile.gettempdir())
    remove_abandoned()
    aside = Path(tempfile.mkdtemp(prefix=f".{_PREFIX}"))
    folder = base / aside.name.removeprefix(".")
    with contextlib.ExitStack() as stack:
        lock = stack.enter_context((aside / _LOCK).open("w"))
        fcntl.flock(lock, fcntl.LOCK_EX)
        aside.rename(folder)  # where it is seen by others, who cannot get the lock
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        stack.enter_context(_set("RNNPIPE_CACHE", str(cache_folder())))  # which is to be found again
        stack.enter_context(_set("TMPDIR", str(folder)))
        before, tempfile.tempdir = tempfile.tempdir, str(folder)
        try:
            yield folder
        finally:
            tempfile.tempdir = before


def remove_abandoned() -> int:
    """Removes the folders of commands of this user that have been killed; returns how many."""
    removed = 0
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            if folder.is_symlink() or folder.stat().st_uid != os.getuid():
                continue
            with (folder / _LOCK).open("r+") as lock:
                if _is_free(lock):
                    shutil.rmtree(folder)
                    removed += 1
    return removed


def _is_free(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextlib.contextmanager
def _set(name: str, value: str) -> Iterator[None]:
    """Sets a variable of the environment for the length of a block."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
