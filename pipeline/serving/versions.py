"""The versions of a served model: which there are, what is in them, and how they are copied whole.

A version is a directory with a number for its name. It is there for TensorFlow Serving as soon as it holds
saved_model.pb; so that file comes last and goes first, and on a disk the whole directory is renamed.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from upath import UPath

from components import files, own_files
from components.artifacts.artifact import cache_folder
from components.artifacts.exported_model import ExportedModel, ModelId, model_digest
from components.errors import UserError
from pipeline.serving.checksums import Checksums

GRAPH = "saved_model.pb"
# TensorFlow Serving passes over assets.extra/, so what is noted there travels with the version.
_NOTE = "assets.extra/rnnpipe.json"
_ASIDE = re.compile(r"\.[0-9a-f]{32}")
_STALE_SECONDS = 3600.0


class TakenError(Exception):
    """A version's place holds something else."""


@dataclass(frozen=True)
class Content:
    """What the files of a served model are.

    Args:
        model: which model it is; None where nobody has noted it.
        digest: of the files, as in the manifest of the export artifact.
        files: size in bytes and SHA-256, by the name in the SavedModel's directory.
    """

    model: ModelId | None
    digest: str
    files: Mapping[str, tuple[int, str]]

    def __post_init__(self) -> None:
        """Refuses names that no SavedModel has."""
        for name in self.files:
            if name.startswith("/") or ".." in name.split("/"):
                raise ValueError(f"{name!r} leads out of the version's directory")

    @classmethod
    def of_export(cls, exported: ExportedModel) -> Content:
        """What an export artifact says of its SavedModel."""
        listed = {name: (file.size, file.sha256) for name, file in exported.model_files().items()}
        return cls(exported.model_id, exported.manifest.digests["model"], listed)

    @classmethod
    def of_files(cls, place: UPath) -> Content:
        """Reads the files of a version that nothing was noted of."""
        listed = {
            entry.path.relative_to(place).as_posix(): (entry.size, files.sha256(entry.path))
            for entry in files.entries(place)
        }
        listed.pop(_NOTE, None)
        digest = model_digest({name: sha256 for name, (_, sha256) in listed.items()})
        return cls(None, digest, listed)

    def as_json(self) -> dict[str, Any]:
        """As data that JSON can hold."""
        return {"model": self.model, "digest": self.digest, "files": self.files}


@dataclass(frozen=True)
class Note:
    """What is noted in a version, so that a copy of it can be recognised.

    Args:
        number: which version it was pushed as.
        claim: the id of the claim that it was pushed by.
        content: what its files are.
        given_up: as in the claim, in case that is damaged one day.
    """

    number: int
    claim: str
    content: Content
    given_up: tuple[ModelId, ...] = ()

    def as_bytes(self) -> bytes:
        """As JSON, for a file."""
        values = {**vars(self), **self.content.as_json()}
        values.pop("content")
        return json.dumps(values, indent=1).encode()


@dataclass(frozen=True)
class _NoteFile(Content):
    """What `Note.as_bytes` gives."""

    number: int
    claim: str
    given_up: tuple[ModelId, ...] = ()


def versions(base: UPath) -> dict[int, UPath]:
    """The directory of each version under a served model's directory, as TensorFlow Serving sees them."""
    return {number: place for number, place in numbered(base).items() if files.exists(place / GRAPH)}


def numbered(base: UPath) -> dict[int, UPath]:
    """Whatever has a number for its name."""
    return {int(name): base / name for name in files.names(base) if re.fullmatch(r"[0-9]+", name)}


def read_note(place: UPath) -> Note | None:
    """What was noted in a version; None if it was not pushed by rnnpipe, or the note is damaged."""
    try:
        return load_note(place)
    except own_files.DamagedError as error:
        own_files.name(error)
        return None


def load_note(place: UPath) -> Note | None:
    """What was noted in a version; None if it was not pushed by rnnpipe.

    Raises:
        DamagedError: if the note is there, but is none.
    """
    try:
        noted = own_files.load(place / _NOTE, _NoteFile)
    except FileNotFoundError:
        return None
    content = Content(noted.model, noted.digest, noted.files)
    return Note(noted.number, noted.claim, content, noted.given_up)


def damage(place: UPath, content: Content) -> str:
    """Says which file of a version is not what was pushed; empty if all are.

    Big files are read again only if their signature has changed since they were last read on this machine.
    """
    checksums = Checksums(place)
    try:
        for name, (_, sha256) in content.files.items():
            if checksums.of(name) != sha256:
                return f"{name} was changed after it was pushed"
    except FileNotFoundError:
        return f"{name} is missing"
    checksums.save()
    return ""


def publish(source: Path, place: UPath, note: Note, wanted: Callable[[], bool]) -> None:
    """Copies a SavedModel to where it is served, whole or not at all; what is there whole is left alone.

    Args:
        source: its directory.
        place: of the version.
        note: travels with it, and says what its files are.
        wanted: asked before the version becomes visible, whether it still should.

    Raises:
        TakenError: if there is something else.
        OSError: if it cannot be copied.
    """
    if not damage(place, note.content):
        return
    names = sorted(note.content.files, key=lambda name: name == GRAPH)
    if not files.is_local(place):
        _check_free(place, note.content)
        for name in names:
            if name == GRAPH:
                files.write(place / _NOTE, note.as_bytes())
                if not wanted():
                    return
            _copy(source / name, place / name, note.content.files[name][1])
        return
    with _aside(files.local(place.parent)) as aside:
        for name in names:
            _copy(source / name, UPath(aside) / name, note.content.files[name][1])
        files.write(UPath(aside) / _NOTE, note.as_bytes())
        if wanted():
            _rename(aside, files.local(place), note.content)


def local_copy(place: UPath) -> Path:
    """Returns a version's directory on this machine, checked; what is remote is copied into the cache.

    Raises:
        UserError: if a file of it is missing, or not what was pushed.
    """
    note = read_note(place)
    if files.is_local(place):
        if note is not None and (problem := damage(place, note.content)):
            raise UserError(
                f"{place} is damaged: {problem}. `rnnpipe run` pushes its model again, `rnnpipe rollback "
                f"{place.parent} --version ...` an earlier one."
            )
        return files.local(place)
    content = note.content if note else Content.of_files(place)
    copy = cache_folder() / "served" / content.digest
    if copy.is_dir() and damage(UPath(copy), content):  # somebody has cleaned there
        remove(UPath(copy))
    if not copy.is_dir():
        with _aside(copy.parent) as aside:
            download(place, aside, content)
            _rename(aside, copy, None)
    return copy


def download(place: UPath, folder: Path, content: Content) -> None:
    """Copies a version's files into a local directory.

    Raises:
        UserError: if a file of it is missing, or not what was pushed.
    """
    for name, (_, sha256) in content.files.items():
        try:
            files.download(place / name, folder / name)
        except FileNotFoundError as error:
            raise UserError(f"{place} is damaged: {name} is missing") from error
        files.sync(folder / name)
        if files.sha256(folder / name) != sha256:
            raise UserError(f"{place} is damaged: {name} is not what was pushed")


def mirror(place: UPath, target: Path, note: Note) -> None:
    """Copies a version to a disk, whole or not at all, in place of a damaged one.

    Raises:
        UserError: if a file of it is missing, or not what was pushed.
    """
    with _aside(target.parent) as aside:
        download(place, aside, note.content)
        files.write(UPath(aside) / _NOTE, note.as_bytes())
        if target.exists():
            remove(UPath(target))
        _rename(aside, target, None)


def remove(place: UPath) -> None:
    """Removes a version; a server sees it whole or not at all."""
    if files.is_local(place):
        hidden = files.local(place).with_name(f".{uuid.uuid4().hex}")
        with contextlib.suppress(OSError):  # somebody else may be removing it
            files.local(place).rename(hidden)
            shutil.rmtree(hidden, ignore_errors=True)
        return
    listed = [entry.path for entry in files.entries(place)]
    files.delete(sorted(listed, key=lambda path: path != place / GRAPH))


def remove_stale(base: UPath) -> None:
    """Removes what killed copies have left on a disk, once nothing in it has changed for an hour."""
    if files.is_local(base) and files.local(base).is_dir():
        oldest = time.time() - _STALE_SECONDS
        for path in files.local(base).iterdir():
            if _ASIDE.fullmatch(path.name) and _last_change(path) < oldest:
                shutil.rmtree(path, ignore_errors=True)


def _check_free(place: UPath, content: Content) -> None:
    """Refuses to write between the files of somebody else."""
    sizes = {entry.path.relative_to(place).as_posix(): entry.size for entry in files.entries(place)}
    sizes.pop(_NOTE, None)
    expected = {name: content.files.get(name, (None,))[0] for name in sizes}
    # The graph is the last one: with it the version should be whole.
    if sizes != expected or (GRAPH in sizes and damage(place, content)):
        raise TakenError


def _copy(source: Path, target: UPath, sha256: str) -> None:
    files.upload(source, target)
    if files.sha256(target) != sha256:
        raise OSError(f"the copy of {source} differs from it")


@contextlib.contextmanager
def _aside(folder: Path) -> Iterator[Path]:
    """A new directory, under a name that TensorFlow Serving does not see."""
    aside = folder / f".{uuid.uuid4().hex}"
    aside.mkdir(parents=True)
    try:
        yield aside
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _rename(aside: Path, target: Path, content: Content | None) -> None:
    """Renames a directory, unless the same is there already."""
    try:
        aside.rename(target)
    except OSError as error:
        if not target.is_dir():
            raise
        if content is not None and damage(UPath(target), content):
            raise TakenError from error
        return
    descriptor = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _last_change(directory: Path) -> float:
    """When anything in a directory was last written, so that a long copy is not taken for a dead one."""
    try:
        return max(path.stat().st_mtime for path in (directory, *directory.rglob("*")))
    except FileNotFoundError:  # published or removed meanwhile
        return time.time()
