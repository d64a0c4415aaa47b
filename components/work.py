"""A node at work: where its attempts put files, and what they report.

    with work.attempt("fit") as attempt:
        model.save(attempt.path("model.keras"))
        reference = attempt.add("model.keras")

An id is drawn for each attempt, so that a bundle which an engine runs twice never writes over what is there.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from upath import UPath

from components import files
from components.artifacts.artifact import FileRef, artifact_folder
from components.errors import NoSpaceError, UserError
from components.reports import reporting
from components.stores import StoreError

Result = TypeVar("Result")


@dataclass(frozen=True)
class Made:
    """What a stage's transform gives.

    Args:
        files: of its artifact.
        summary: what they hold, for people.
        seconds: that it took; None: since the node had all that it reads, which a stage whose nodes go
            `together` does not know.
    """

    files: tuple[FileRef, ...]
    summary: dict[str, Any]
    seconds: float | None = None


@dataclass(frozen=True)
class Failed:
    """What the transform of a trial gives that has failed, while others go on: the error, for people."""

    error: str


@dataclass(frozen=True)
class Work:
    """What the steps of a node need to know of it.

    Args:
        root: under which all artifacts are.
        stage: which stage's work it is.
        key: what the artifact should be.
        status: where attempts report; None where nobody wants to know.
        lineage: names a training without its last epoch; see components/artifacts/trained_model.py.
        number: which artifact of this key is made.
        node: its name in the run; the stage's by default.
    """

    root: UPath
    stage: str
    key: str
    status: UPath | None = None
    lineage: str = ""
    number: int = 1
    node: str = ""

    @contextmanager
    def attempt(self, step: str = "") -> Iterator[Attempt]:
        """Begins an attempt at a step; reports what happens in it.

        Args:
            step: what is done, in a word.
        """
        attempt = Attempt(self)
        try:
            with reporting(self.node or self.stage, self.status, attempt.id, step):
                try:
                    yield attempt
                except StoreError as error:
                    raise UserError(f"{self.node or self.stage}: {error}") from error
                except Exception as error:
                    if not is_full(error):
                        raise
                    raise NoSpaceError(
                        f"{self.stage}: no space is left on a disk ({error}). Make room under {self.root} or "
                        f"{tempfile.gettempdir()}, and run again: what is finished is kept."
                    ) from error
        finally:
            attempt.close()

    def reported(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """Calls a function as an attempt that makes no files."""
        with self.attempt():
            return function(*arguments)


@dataclass(frozen=True)
class PickedWork(Work):
    """The work of a node that is one of several, which is settled before its first attempt.

    Args:
        choices: by name.
        pick: returns the name.
    """

    choices: Mapping[str, Work] = field(default_factory=dict)
    pick: Callable[[], str] = str

    @contextmanager
    def attempt(self, step: str = "") -> Iterator[Attempt]:
        """Begins an attempt at a step of the one that is settled."""
        with self.choices[self.pick()].attempt(step) as attempt:
            yield attempt


def is_full(error: Exception) -> bool:
    """Whether an error says that a disk is full; TensorFlow has errors of its own for it."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    return os.strerror(errno.ENOSPC) in str(error) or os.strerror(errno.EDQUOT) in str(error)


class Attempt:
    """One attempt at a step of a node's work.

    Args:
        work: of the node.
    """

    def __init__(self, work: Work) -> None:
        self.id = uuid.uuid4().hex[:16]
        """Drawn for this attempt alone."""
        self._root = work.root
        self._folder = artifact_folder(work.root, work.stage, work.key) / self.id
        self._scratch: Path | None = None

    def path(self, name: str) -> Path:
        """Returns a local path to write a file of this logical name to, once; `add` hands it on.

        Args:
            name: with slashes; the folders are made.
        """
        path = self._base() / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def add(self, name: str) -> FileRef:
        """Puts what was written to `path(name)` where it belongs; it must not change any more."""
        path = self._base() / name
        place = self._folder / name
        checksum, size = files.sha256(path), path.stat().st_size
        signature = ""
        if files.is_local(place):
            files.sync(path)
            signature = files.signature(place)
        else:
            files.upload(path, place)
            path.unlink()
        return FileRef(name, str(place.relative_to(self._root)), size, checksum, signature)

    def add_folder(self, name: str) -> list[FileRef]:
        """Puts all files that were written below `path(name)` where they belong."""
        base = self._base()
        paths = sorted(path for path in (base / name).rglob("*") if path.is_file())
        return [self.add(path.relative_to(base).as_posix()) for path in paths]

    def put(self, name: str, data: bytes) -> FileRef:
        """Writes a file of this content."""
        self.path(name).write_bytes(data)
        return self.add(name)

    def scratch(self) -> Path:
        """Returns a local directory for this attempt alone, which is gone afterwards."""
        if self._scratch is None:
            self._scratch = Path(tempfile.mkdtemp(prefix="rnnpipe-"))
        return self._scratch

    def close(self) -> None:
        """Removes the scratch directory."""
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)

    def _base(self) -> Path:
        """Where files are written: in their place on a disk of this machine, otherwise aside."""
        return files.local(self._folder) if files.is_local(self._folder) else self.scratch() / "files"
