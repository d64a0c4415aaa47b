"""What all artifacts are: files under logical names, listed in a manifest that was created last.

reference = ...                       # handed on by the step that made it
artifact = Tokens.load(reference)     # reads the manifest
artifact.file("statistics.json")      # a checked path on this machine
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

from upath import UPath

from components import files, own_files
from components.errors import UserError

_checked: set[Path] = set()  # copies of remote files that this process has read


@dataclass(frozen=True, order=True)
class FileRef:
    """A file of an artifact.

    Args:
        name: what it is called in the artifact, with slashes.
        path: where it is below the root, under a name that is never used twice.
        size: in bytes.
        sha256: of its content, in hexadecimal.
        signature: of the file on a local disk when it was written; see `files.signature`.
    """

    name: str
    path: str
    size: int
    sha256: str
    signature: str = field(default="", compare=False)


@dataclass(frozen=True)
class Reference:
    """Which artifact is meant, and what it is: this is what stages hand to each other.

    Args:
        root: under which all artifacts are.
        stage: which one made it.
        key: what it should be; see pipeline/plan.
        inputs: the hash of the digests of what was really read.
        number: which artifact of this key; above 1 where one was rebuilt.
        digests: what its parts are, by name; empty where that is not known.
    """

    root: UPath
    stage: str
    key: str
    inputs: str
    number: int
    digests: Mapping[str, str] = field(compare=False)

    @property
    def manifest(self) -> UPath:
        """Where its manifest is."""
        return manifest_path(self.root, self.stage, self.key, self.inputs, self.number)


@dataclass(frozen=True)
class Manifest:
    """What is known of an artifact.

    Args:
        stage: which one made it.
        key: what it should be.
        inputs: the hash of the digests of what was really read.
        number: which artifact of this key.
        attempt: the id of the attempt that created the manifest.
        run: the id of the run that it was made in.
        made: when, ISO 8601 in UTC.
        seconds: how long the stage took.
        summary: counts and metrics, for people; JSON-able.
        ingredients: what the key is the hash of.
        read: the digests that `inputs` is the hash of, by "stage part".
        digests: what its parts are.
        files: by logical name.
    """

    stage: str
    key: str
    inputs: str
    number: int
    attempt: str
    run: str
    made: str
    seconds: float
    summary: dict[str, Any]
    ingredients: dict[str, Any]
    read: dict[str, str]
    digests: dict[str, str]
    files: dict[str, FileRef]

    def as_bytes(self) -> bytes:
        """As JSON, for a file."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False).encode()

    @classmethod
    def of(cls, data: bytes) -> Manifest:
        """Reads what `as_bytes` wrote.

        Raises:
            DamagedError: if it is something else.
        """
        return own_files.parse(data, cls)


class Artifact:
    """A finished artifact, read through its manifest.

    Args:
        root: under which all artifacts are.
        manifest: of this one.
    """

    stage: ClassVar[str] = ""
    parts: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """What is read and keyed separately: by name, how the logical names in it begin."""
    published: ClassVar[tuple[str, ...]] = ()
    """Logical names of the files that are kept with the run in MLflow, too; not all need be there."""
    lists: ClassVar[tuple[str, ...]] = ()
    """Logical names of the lists that people read; not all need be there, and they may be empty."""

    def __init__(self, root: UPath, manifest: Manifest) -> None:
        self.root = root
        self.manifest = manifest

    @classmethod
    def load(cls, reference: Reference) -> Any:
        """Reads the manifest that a reference means.

        Raises:
            UserError: if it has been removed or replaced, or cannot be read.
        """
        try:
            manifest = own_files.load(reference.manifest, Manifest)
        except FileNotFoundError as error:
            raise UserError(
                f"{reference.manifest} was removed while the run went on. Run again: it is rebuilt."
            ) from error
        except own_files.DamagedError as error:
            raise UserError(
                f"{reference.manifest} cannot be read: {error.problem}. Run again: what it lists is rebuilt."
            ) from error
        # A run may have slept for weeks, and its artifact was cleaned and made again, with other weights.
        if reference.digests and reference.digests != manifest.digests:
            raise UserError(
                f"{reference.manifest} was rebuilt with other files while the run went on. Run again."
            )
        return cls(reference.root, manifest)

    @property
    def reference(self) -> Reference:
        """What others call it by."""
        manifest = self.manifest
        return Reference(
            self.root, manifest.stage, manifest.key, manifest.inputs, manifest.number, manifest.digests
        )

    @property
    def summary(self) -> dict[str, Any]:
        """Counts and metrics, for people."""
        return self.manifest.summary

    def names(self, prefix: str = "") -> list[str]:
        """Returns the logical names that begin so, sorted."""
        return sorted(name for name in self.manifest.files if name.startswith(prefix))

    def has(self, name: str) -> bool:
        """Whether there is a file of this logical name."""
        return name in self.manifest.files

    def place(self, name: str) -> UPath:
        """Where a file is."""
        return self.root / self.manifest.files[name].path

    def listed(self) -> list[UPath]:
        """Returns where the lists are that people read and that have any lines."""
        return [self.place(name) for name in self.lists if self.has(name) and self.manifest.files[name].size]

    def file(self, name: str) -> Path:
        """Returns a file's path on this machine; what is remote is copied here once, and checked.

        Raises:
            UserError: if it is not there, or not what was made.
        """
        return local_file(self.root, self.manifest.files[name])

    def read(self, name: str) -> bytes:
        """Returns a file's content."""
        return self.file(name).read_bytes()

    def json(self, name: str) -> Any:
        """Returns what a JSON file holds."""
        return json.loads(self.read(name))

    def folder(self, prefix: str) -> Path:
        """Returns a local directory with all files whose names begin with `prefix/`, checked.

        Where they lie together on a disk of this machine it is that very directory: do not write there.
        """
        chosen = [self.manifest.files[name] for name in self.names(f"{prefix}/")]
        inside = [reference.name[len(prefix) + 1 :] for reference in chosen]
        if files.is_local(self.root):
            bases = {
                reference.path.removesuffix(f"/{name}")
                for reference, name in zip(chosen, inside, strict=True)
            }
            if len(bases) == 1 and len(chosen) == len(files.entries(self.root / next(iter(bases)))):
                for reference in chosen:
                    local_file(self.root, reference)
                return files.local(self.root / bases.pop())
        return _assembled(self.root, chosen, inside)

    @cached_property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(file.size for file in self.manifest.files.values())


def manifest_path(root: UPath, stage: str, key: str, inputs: str, number: int) -> UPath:
    """Where the manifest of an artifact is."""
    return artifact_folder(root, stage, key) / f"{inputs}-{number}.json"


def artifact_folder(root: UPath, stage: str, key: str) -> UPath:
    """Where the attempts and the manifests of a key are."""
    return root / "artifacts" / stage / key


def inputs_hash(read: Mapping[str, str]) -> str:
    """Returns the hash of what was really read.

    Args:
        read: by "stage part", such as "ingest train", the digest of that part.
    """
    return hashlib.sha256(json.dumps(dict(read), sort_keys=True).encode()).hexdigest()[:12]


def digest_of(references: Iterable[FileRef]) -> str:
    """Returns the SHA-256 over the logical names and checksums of files, in hexadecimal."""
    listed = sorted((reference.name, reference.sha256) for reference in references)
    return hashlib.sha256(json.dumps(listed).encode()).hexdigest()


def part_digests(kind: type[Artifact], references: Iterable[FileRef]) -> dict[str, str]:
    """Returns the digest of each part of an artifact that is made of these files."""
    listed = list(references)
    return {
        part: digest_of(reference for reference in listed if reference.name.startswith(starts))
        for part, starts in kind.parts.items()
    }


def local_file(root: UPath, reference: FileRef) -> Path:
    """Returns a file's path on this machine.

    Raises:
        UserError: if it is not there, or not what was made.
    """
    place = root / reference.path
    try:
        if files.is_local(place):
            size = files.local(place).stat().st_size
            if size != reference.size:
                raise UserError(_changed(place, f"has {size} bytes instead of {reference.size}"))
            return files.local(place)
        # With its suffix, by which Keras knows what a file is.
        suffix = PurePosixPath(reference.name).suffix
        copy = cache_folder() / reference.sha256[:2] / f"{reference.sha256}{suffix}"
        if not _is_whole(copy, reference):
            aside = copy.with_name(f".{copy.name}.{uuid.uuid4().hex}")
            files.download(place, aside)
            if files.sha256(aside) != reference.sha256:
                aside.unlink()
                with contextlib.suppress(OSError):  # a plan does not read what is remote
                    files.create(damage_mark(place), b"")
                raise UserError(_changed(place, "is not what was written"))
            os.replace(aside, copy)
        return copy
    except FileNotFoundError as error:
        raise UserError(_changed(place, "is missing")) from error


def damage_mark(place: UPath) -> UPath:
    """Where it is noted of a remote file that somebody found it damaged."""
    return place.with_name(f"{place.name}.damaged")


def _is_whole(copy: Path, reference: FileRef) -> bool:
    """Whether a copy on this machine is what was written; each process reads it once."""
    try:
        if copy.stat().st_size != reference.size:
            return False
        if copy not in _checked:
            if files.sha256(copy) != reference.sha256:
                return False
            _checked.add(copy)
        return True
    except FileNotFoundError:
        return False


def _changed(place: UPath, what: str) -> str:
    return f"{place} {what}. Run again: what is damaged is rebuilt."


def cache_folder() -> Path:
    """Where copies of remote files are kept on this machine, by their checksums."""
    given = os.environ.get("RNNPIPE_CACHE")
    return Path(given) if given else Path(tempfile.gettempdir()) / f"rnnpipe-{os.getuid()}"


def _assembled(root: UPath, chosen: list[FileRef], inside: list[str]) -> Path:
    """Makes a directory of files that lie apart, or elsewhere; the same files give the same directory."""
    digest = digest_of(
        FileRef(name, "", 0, reference.sha256) for reference, name in zip(chosen, inside, strict=True)
    )
    whole = cache_folder() / "folders" / digest
    if whole.is_dir():
        if all(_is_whole(whole / name, reference) for reference, name in zip(chosen, inside, strict=True)):
            return whole
        gone = whole.with_name(f".{uuid.uuid4().hex}")  # somebody has cleaned there
        with contextlib.suppress(OSError):
            whole.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)
    aside = whole.with_name(f".{uuid.uuid4().hex}")
    try:
        for reference, name in zip(chosen, inside, strict=True):
            (aside / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(local_file(root, reference), aside / name)
        try:
            aside.rename(whole)
        except OSError:
            if not whole.is_dir():  # otherwise somebody else was quicker
                raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return whole
