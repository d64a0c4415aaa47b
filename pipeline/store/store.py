"""The artifacts under one root, by what object stores have: get, put, create exclusively, list.

A manifest is created last and exclusively; it lists files whose names are never used twice. So the first
whole attempt wins, whatever is tried twice, at once or too late. Nothing has to be renamed, locked or
deleted.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from functools import cached_property
from typing import NamedTuple

from upath import UPath

from components import files, own_files
from components.artifacts.artifact import (
    Artifact,
    Manifest,
    Reference,
    artifact_folder,
    cache_folder,
    damage_mark,
    manifest_path,
)
from pipeline.plan.fingerprint import FileFingerprints

MANIFEST = re.compile(r"([^-/]+)-([0-9]+)\.json")
"""What a manifest is called: the hash of what was read, and a number."""
_RECENT = 50  # manifests that are read to say what has changed


class Made(NamedTuple):
    """An artifact of a key, as the name of its manifest says."""

    inputs: str
    number: int


class Store:
    """The artifacts under one root.

    Args:
        root: a resolved place; made when something is first written.
    """

    def __init__(self, root: UPath) -> None:
        self.root = root

    @cached_property
    def fingerprints(self) -> FileFingerprints:
        """What is known of files on this machine."""
        folder = files.local(self.root) if files.is_local(self.root) else cache_folder()
        return FileFingerprints(folder / "fingerprints.json")

    def made(self, stage: str, key: str) -> list[Made]:
        """Lists the artifacts of a key, damaged ones included."""
        listed = []
        for name in files.names(artifact_folder(self.root, stage, key)):
            if match := MANIFEST.fullmatch(name):
                listed.append(Made(match[1], int(match[2])))
        return listed

    def find(self, kind: type[Artifact], key: str, inputs: str, number: int) -> Artifact | None:
        """Returns an artifact; None if there is none.

        Raises:
            DamagedError: if its manifest is there but cannot be read.
        """
        place = manifest_path(self.root, kind.stage, key, inputs, number)
        try:
            manifest = own_files.load(place, Manifest)
        except FileNotFoundError:
            return None
        if missing := sorted(kind.parts.keys() - manifest.digests.keys()):
            raise own_files.DamagedError(place, f"it has no digest of {', '.join(missing)}")
        return kind(self.root, manifest)

    def commit(self, kind: type[Artifact], manifest: Manifest, part_keys: Mapping[str, str]) -> Artifact:
        """Makes an artifact of what an attempt has written, unless another one was quicker.

        Args:
            kind: of the artifact.
            manifest: what is to be created.
            part_keys: by part, what it should be; that this is what it is will be known when planning.

        Returns:
            The artifact that is there now: this one or the other one.

        Raises:
            UserError: if there is a manifest that cannot be read.
        """
        for part, key in part_keys.items():
            self._note_digest(kind.stage, key, manifest.digests[part])
        place = manifest_path(self.root, manifest.stage, manifest.key, manifest.inputs, manifest.number)
        try:
            files.create(place, manifest.as_bytes())
        except FileExistsError:
            pass
        except OSError:
            # An answer may be lost on its way: what is there decides.
            if not files.exists(place):
                raise
        artifact: Artifact = kind.load(
            Reference(self.root, manifest.stage, manifest.key, manifest.inputs, manifest.number, digests={})
        )
        return artifact

    def known_digest(self, stage: str, part_key: str) -> str | None:
        """Returns what a part of this key was whenever it was made; None if it never was, or differed."""
        digests = files.names(self._digests(stage, part_key))
        return digests[0] if len(digests) == 1 else None

    def damage(self, artifact: Artifact, thorough: bool = False) -> str:
        """Says what has become of the first file that is not as it was made; empty if all are.

        Big local files are read again only where their signature has changed, remote ones when they are
        opened.

        Args:
            artifact: one that was found.
            thorough: whether to read all files.
        """
        listed = artifact.manifest.files.values()
        if not files.is_local(self.root):
            return self._remote_damage(artifact)
        for entry in listed:
            place = self.root / entry.path
            try:
                signature = files.signature(place)
                size = int(signature.partition("|")[0])
                if size != entry.size:
                    return f"{entry.name} has {size} bytes instead of {entry.size}"
                if thorough:
                    same = files.sha256(place) == entry.sha256
                else:
                    unchanged = signature == entry.signature and not files.is_small(signature)
                    same = unchanged or self.fingerprints.of(place) == entry.sha256
                if not same:
                    return f"{entry.name} was changed after it was made"
            except (FileNotFoundError, NotADirectoryError):
                return f"{entry.name} is missing"
            except OSError as error:
                return f"{entry.name} cannot be read: {error.strerror}"
        self.fingerprints.save()
        return ""

    def trouble(self, kind: type[Artifact], key: str, made: Made) -> str:
        """Says why an artifact that was listed cannot be used; empty if it can."""
        try:
            artifact = self.find(kind, key, *made)
        except own_files.DamagedError as error:
            return f"its manifest cannot be read: {error}"
        return self.damage(artifact) if artifact is not None else "its manifest is missing"

    def recent(self, kind: type[Artifact]) -> list[Artifact]:
        """Returns the most recent artifacts of a stage, the newest first; unreadable ones are left out."""
        folder = self.root / "artifacts" / kind.stage
        manifests = [
            entry
            for entry in files.entries(folder)
            if MANIFEST.fullmatch(entry.path.name) and len(entry.path.relative_to(folder).parts) == 2
        ]
        artifacts = []
        for entry in sorted(manifests, key=lambda entry: entry.modified, reverse=True)[:_RECENT]:
            if manifest := own_files.salvage(entry.path, Manifest):
                artifacts.append(kind(self.root, manifest))
        return sorted(artifacts, key=lambda artifact: artifact.manifest.made, reverse=True)

    def _remote_damage(self, artifact: Artifact) -> str:
        """One listing says which files are there; what they hold is checked when they are opened."""
        folder = artifact_folder(self.root, artifact.manifest.stage, artifact.manifest.key)
        sizes = {entry.path.path: entry.size for entry in files.entries(folder)}
        for file in artifact.manifest.files.values():
            place = self.root / file.path
            if damage_mark(place).path in sizes:
                return f"{file.name} is not what was written"
            if place.path not in sizes:
                if not files.exists(place):
                    return f"{file.name} is missing"
            elif sizes[place.path] != file.size:
                return f"{file.name} has {sizes[place.path]} bytes instead of {file.size}"
        return ""

    def _digests(self, stage: str, part_key: str) -> UPath:
        return self.root / "artifacts" / stage / "digests" / part_key

    def _note_digest(self, stage: str, part_key: str, digest: str) -> None:
        with contextlib.suppress(OSError):  # without it a plan only knows less
            files.create(self._digests(stage, part_key) / digest, b"")
