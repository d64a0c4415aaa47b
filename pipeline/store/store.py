"""Artifacts: a directory and its artifact.json, which is written last. No manifest, no artifact."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from types import MappingProxyType
from typing import Any

from filelock import FileLock, Timeout

from components.checksum import sha256
from components.errors import UserError

MANIFEST = "artifact.json"
SHORT = 12  # characters of a key in a path: 48 bits, no clash within one root
_STALE = 24 * 3600.0  # seconds that what a dead run left behind is kept, for someone to look at


@dataclass(frozen=True)
class Artifact:
    """A finished stage's output.

    Args:
        stage: which stage made it.
        key: the hash of everything that shaped it.
        directory: where it is.
        ingredients: what the key is the hash of, by name.
        summary: counts and metrics, as the stage returned them.
        seconds: how long the stage took.
        made: when, ISO 8601 in UTC.
        files: size in bytes and SHA-256 of each file, by relative path.
        written: when the manifest was, which is the last of its files, in nanoseconds.
        upstream: digests of the artifacts it was made from, by stage; none in those of an older rnnpipe.
    """

    stage: str
    key: str
    directory: Path
    ingredients: dict[str, str]
    summary: dict[str, Any]
    seconds: float
    made: str
    files: dict[str, dict[str, Any]]
    written: int = field(compare=False)
    upstream: dict[str, str] = field(default_factory=dict)

    def damage(self, thorough: bool = False) -> str | None:
        """Returns what has become of the first file that is not as it was made; None if all are.

        Args:
            thorough: whether to read all files, and not only those that have changed since by their time.
        """
        for name, file in self.files.items():
            path = self.directory / name
            if not path.is_file():
                return f"{name} is missing"
            stat = path.stat()
            if stat.st_size != file["size"]:
                return f"{name} has {stat.st_size} bytes instead of {file['size']}"
            suspicious = thorough or stat.st_ctime_ns >= self.written
            if suspicious and sha256(path) != file["sha256"]:
                return f"{name} was changed after it was made"
        return None

    def digest(self, folder: str = "") -> str:
        """Returns the SHA-256 over the names and checksums of its files, or of those in a folder."""
        start = f"{folder}/" if folder else ""
        inside = {name: file["sha256"] for name, file in self.files.items() if name.startswith(start)}
        return hashlib.sha256(json.dumps(inside, sort_keys=True).encode()).hexdigest()

    def made_from(self, stage: str, other: Artifact) -> bool:
        """Whether it was made from these very files, and not from others of the same key."""
        return self.upstream.get(stage) in (None, other.digest())


class Store:
    """The artifacts under one root.

    Args:
        root: made when something is first written.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def find(self, stage: str, key: str) -> Artifact | None:
        """Returns the artifact of that key, if there is one."""
        return _read(self.root / "artifacts" / stage / key[:SHORT])

    def digest(self, directory: str) -> str:
        """Returns the digest of the artifact in a directory.

        Raises:
            UserError: if it has been removed.
        """
        artifact = _read(Path(directory))
        if artifact is None:
            raise UserError(f"{directory} was removed while the run went on. Run again: it is made anew.")
        return artifact.digest()

    def newest(self, stage: str) -> Artifact | None:
        """Returns the stage's most recent artifact, whatever its key."""
        return max(self.all(stage), key=lambda artifact: artifact.made, default=None)

    def staging(self, stage: str) -> Path:
        """Makes an empty directory for an attempt at a stage."""
        directory = self.root / "staging" / f"{stage}-{os.getpid()}-{uuid.uuid4().hex[:SHORT]}"
        directory.mkdir(parents=True)
        return directory

    def scratch(self, stage: str, key: str) -> Path:
        """Names the directory that all attempts at one key share, and that outlives a killed run."""
        return self.root / "scratch" / stage / key[:SHORT]

    def commit(
        self,
        staging: Path,
        stage: str,
        key: str,
        ingredients: dict[str, str],
        summary: dict[str, Any],
        seconds: float,
        replaces: Artifact | None = None,
        upstream: Mapping[str, str] = MappingProxyType({}),
    ) -> Artifact:
        """Turns a staging directory into the artifact of its key.

        The manifest is written into the staging directory, which is then renamed; whoever looks sees a whole
        artifact or none. If another run was quicker its artifact stays, for others may be reading it.

        Args:
            staging: as `staging` made it, filled.
            stage: which stage.
            key: its key.
            ingredients: what the key is the hash of.
            summary: JSON-able.
            seconds: how long the stage took.
            replaces: the artifact of the same key (a damaged one, or one made anew by force) that gives way,
                unless another run has replaced it meanwhile.
            upstream: digests of what it was made from, by stage.

        Returns:
            The artifact now in place.
        """
        manifest = {
            "type": stage,
            "key": key,
            "made": datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
            "seconds": round(seconds, 3),
            "summary": summary,
            "ingredients": ingredients,
            "upstream": dict(upstream),
            "files": {
                str(path.relative_to(staging)): {"size": path.stat().st_size, "sha256": sha256(path)}
                for path in sorted(staging.rglob("*"))
                if path.is_file()
            },
        }
        (staging / MANIFEST).write_text(json.dumps(manifest, indent=1, ensure_ascii=False), encoding="utf-8")
        final = self.root / "artifacts" / stage / key[:SHORT]
        final.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(str(self.root / "artifacts" / "lock")):
            existing = _read(final)
            if final.exists() and (existing is None or existing.damage() or existing == replaces):
                retired = self.staging("retired")
                os.rename(final, retired / "artifact")
                os.rename(staging, final)
                shutil.rmtree(retired)
            elif final.exists():
                shutil.rmtree(staging)
            else:
                os.rename(staging, final)
            artifact = _read(final)
        assert artifact is not None
        return artifact

    def sweep(self) -> None:
        """Removes what no run needs: old staging directories, and the scratch of finished artifacts."""
        for directory in _directories(self.root / "staging"):
            owner = directory.name.split("-")[1]
            if time.time() - directory.stat().st_mtime > _STALE and not is_alive(int(owner)):
                shutil.rmtree(directory, ignore_errors=True)
        for stage in _directories(self.root / "scratch"):
            for scratch in _directories(stage):
                artifact = _read(self.root / "artifacts" / stage.name / scratch.name)
                # A newer scratch belongs to an attempt at making the artifact anew.
                if artifact and scratch.stat().st_mtime < datetime.fromisoformat(artifact.made).timestamp():
                    with contextlib.suppress(Timeout), FileLock(str(scratch / "lock"), timeout=0):
                        shutil.rmtree(scratch, ignore_errors=True)

    def all(self, stage: str) -> Iterator[Artifact]:
        """Yields every artifact of a stage."""
        for directory in _directories(self.root / "artifacts" / stage):
            artifact = _read(directory)
            if artifact:
                yield artifact


def is_alive(pid: int) -> bool:
    """Whether a process of this machine is running."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _directories(parent: Path) -> list[Path]:
    return [path for path in parent.iterdir() if path.is_dir()] if parent.is_dir() else []


def _read(directory: Path) -> Artifact | None:
    path = directory / MANIFEST
    try:
        manifest, written = json.loads(path.read_text(encoding="utf-8")), path.stat().st_ctime_ns
    except FileNotFoundError:
        return None
    return Artifact(
        stage=manifest["type"],
        key=manifest["key"],
        directory=directory,
        ingredients=manifest["ingredients"],
        summary=manifest["summary"],
        seconds=manifest["seconds"],
        made=manifest["made"],
        files=manifest["files"],
        written=written,
        upstream=manifest.get("upstream", {}),
    )
