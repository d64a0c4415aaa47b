"""The first step of a job on workers that are elsewhere: do they see and know what the launcher does?

All other steps wait for it. It puts out nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module

import apache_beam as beam
from upath import UPath

from components import files
from components.artifacts.artifact import Reference
from components.errors import UserError
from components.ingest.sources import Source
from components.reports import reporting
from pipeline.config import PipelineConfig
from pipeline.config.places import Places
from pipeline.config.vector_checks import vector_names
from pipeline.engines.environment import Environment
from pipeline.engines.user_modules import installed_modules
from pipeline.run.folder import PREFLIGHT, RunFolder

_HEAD = 1 << 16  # bytes of a file that are compared


@dataclass(frozen=True)
class Seen:
    """A file, as the launcher sees it.

    Args:
        place: where it is.
        size: in bytes.
        digest: SHA-256 of its beginning.
    """

    place: UPath
    size: int
    digest: str

    @classmethod
    def now(cls, place: UPath) -> Seen:
        """Looks at a file.

        Raises:
            OSError: if it cannot be read.
        """
        with files.open_to_read(place) as file:
            head = file.read(_HEAD)
            return cls(place, file.seek(0, os.SEEK_END), hashlib.sha256(head).hexdigest())


class Preflight(beam.PTransform):
    """Compares a worker with the launcher; puts out nothing, of the type that steps put out.

    Args:
        check: what the worker does.
    """

    def __init__(self, check: Check) -> None:
        super().__init__()
        self._check = check

    def expand(self, nothing: beam.PBegin) -> beam.PCollection:
        """Adds one element, and the look at it."""
        return nothing | "once" >> beam.Create([None]) | "look" >> beam.ParDo(self._check)


def preflight(config: PipelineConfig, places: Places, folder: RunFolder) -> Preflight:
    """Puts the token of a run where its workers must see it; returns the first step of its job.

    Args:
        config: of the run.
        places: where its things are.
        folder: of the run, whose end removes the token.
    """
    files.write(folder.token, uuid.uuid4().hex.encode())
    data = [Seen.now(place) for place in _to_be_seen(places.sources)]
    data += [Seen.now(files.resolve(name)) for name in vector_names(config)]
    modules = installed_modules(config)
    return Preflight(Check(folder, Seen.now(folder.token), data, Environment.here(), modules))


def _to_be_seen(sources: Sequence[Source]) -> list[UPath]:
    """All files on disks, and of folders in object stores the first, as access to one means access to all."""
    chosen: dict[str, UPath] = {}
    for source in sources:
        for place in source.files.values():
            chosen.setdefault(str(place if files.is_local(place) else place.parent), place)
    return list(chosen.values())


class Check(beam.DoFn):
    """Looks around on a worker.

    Args:
        folder: of the run, whose token is there.
        token: the token, as the launcher sees it.
        data: files of the user's, as the launcher sees them.
        environment: the launcher's.
        modules: what the configuration takes from modules that are installed.
    """

    def __init__(
        self,
        folder: RunFolder,
        token: Seen,
        data: Sequence[Seen],
        environment: Environment,
        modules: Sequence[str],
    ) -> None:
        self._folder = folder
        self._token = token
        self._data = data
        self._environment = environment
        self._modules = modules

    def process(self, nothing: None) -> Iterator[tuple[str, Reference]]:
        """Looks around on a worker.

        Raises:
            UserError: if something is not as it is for the launcher.
        """
        _look_at(self._token, "the root")  # without it nobody would see a report
        with reporting(PREFLIGHT, self._folder.status(PREFLIGHT), uuid.uuid4().hex[:16], "look"):
            self._compare()
            self._write()
            for seen in self._data:
                _look_at(seen, "the data")
            self._import()
        yield from ()

    def _compare(self) -> None:
        here = Environment.here()
        if different := self._environment.differences(here, "for the launcher", "there"):
            raise UserError(
                f"{_worker()} has another environment than the launcher: {'; '.join(different)}. Expected "
                "the same. Have its start program install what the job brings, or give it an image that is "
                "built from docker/worker/Dockerfile of this version, or install the same there: "
                "docs/runners.md, What travels."
            )

    def _write(self) -> None:
        place = self._folder.token.with_name(f"{self._folder.id}-{uuid.uuid4().hex}")
        try:
            files.write(place, b"")
            files.delete([place])
        except OSError as error:
            raise UserError(
                f"{_worker()} cannot write below {self._folder.root}, where artifacts belong: "
                f"{_reason(error)}. Give it the right to, or name another root."
            ) from error

    def _import(self) -> None:
        for reference in self._modules:
            module = reference.partition(":")[0]
            try:
                import_module(module)
            except ImportError as error:
                raise UserError(
                    f"{_worker()} cannot import {module}, which `{reference}` in the configuration needs: "
                    f"{error}. It is installed where the command was given, so it does not travel: install "
                    "it on the workers, by Beam's option requirements_file, or in their image."
                ) from error


def _look_at(expected: Seen, what: str) -> None:
    """Compares a file with what the launcher saw."""
    place = expected.place
    problem = ""
    try:
        if Seen.now(place) != expected:
            problem = "holds something else there"
    except Exception as error:  # stores have errors of their own for what may not be read
        problem = f"cannot be read there: {_reason(error)}"
    if not problem:
        return
    remedy = (
        "Mount it there under the same path, or put it into an object store. `runner: {shared_files: true}` "
        "says that every worker sees the launcher's files"
        if files.is_local(place)
        else "Give the worker the right to read it, and the means: docs/runners.md, What travels"
    )
    raise UserError(f"{_worker()} does not see {what} as the launcher does: {place} {problem}. {remedy}.")


def _reason(error: Exception) -> str:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return text or type(error).__name__


def _worker() -> str:
    """Names this process, for somebody who has to find it."""
    user = ""
    with contextlib.suppress(Exception):  # containers have users without names
        import getpass

        user = f" (user {getpass.getuser()})"
    return f"a worker on {socket.gethostname()}{user}"
