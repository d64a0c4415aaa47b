"""Publishes a SavedModel as the next version under the directory that TF Serving watches."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock

from components.checksum import sha256
from components.errors import UserError

_STALE_SECONDS = 3600.0
_STAGING = re.compile(r"\.[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# TF Serving passes over assets.extra/, so what is noted there travels with the version.
_NOTE = Path("assets.extra", "rnnpipe.json")
_GRAPH = "saved_model.pb"
_ADVICE = (
    "What is served stays as it was. Make room there, allow this user to write there, or set "
    "export.directory to another directory; then run again."
)


class Note(NamedTuple):
    """What is noted beside a version.

    Args:
        key: identifies the artifact it was made from.
        model: identifies the model, however it was evaluated and exported.
        tracking: where MLflow is to have it in its registry; empty if nowhere.
        registered: whether MLflow has it there.
        bless: the rules by which it was found good enough, as JSON.
        content: digest of its files, which may differ under the same key; empty in older notes.
        weights: digest of the train artifact, which may differ for the same model; empty in older notes.
        rolled_back: models, or weights where only one make of a model is meant, that gave way to earlier
            ones; they are not pushed again.
    """

    key: str
    model: str = ""
    tracking: str = ""
    registered: bool = False
    bless: str = ""
    content: str = ""
    weights: str = ""
    rolled_back: tuple[str, ...] = ()

    @property
    def identity(self) -> str:
        """The model, or of versions that an older rnnpipe pushed, the artifact."""
        return self.model or self.key


@contextlib.contextmanager
def pushing(base_directory: str | os.PathLike[str]) -> Iterator[None]:
    """Keeps others from pushing or rolling back the same model until the block ends.

    Args:
        base_directory: The served model's directory; the lock is a hidden file beside it.

    Raises:
        UserError: If nothing can be written there.
    """
    base = Path(base_directory)
    lock = FileLock(str(base.parent / f".{base.name}.lock"), mode=0o666)
    try:
        base.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except OSError as error:
        raise UserError(f"could not push to {base}: {error}. {_ADVICE}") from error
    try:
        yield
    finally:
        lock.release()


def push(
    model_directory: str | os.PathLike[str],
    base_directory: str | os.PathLike[str],
    note: Note,
    keep: int | None = None,
) -> int:
    """Copies a SavedModel to `<base_directory>/<next version>`.

    It is copied under a name that TF Serving does not see, compared with what was to be copied, and renamed:
    a version is there whole or not at all. Pushes at the same time get different versions. What pushes
    that were killed left behind is removed once nothing in it has changed for an hour.

    Args:
        model_directory: The SavedModel.
        base_directory: The served model's directory; created if need be.
        note: Travels with the version; `read_note` returns it.
        keep: How many versions stay, this one among them; the oldest ones are removed. None: all of them.

    Returns:
        The version.

    Raises:
        UserError: If it is no SavedModel, or could not be copied whole; what is served stays as it was.
    """
    source, base = Path(model_directory), Path(base_directory)
    if not (source / _GRAPH).is_file():
        raise UserError(f"{source} holds no {_GRAPH}; expected a SavedModel to push.")
    staging = base / f".{uuid.uuid4()}"
    try:
        base.mkdir(parents=True, exist_ok=True)
        _remove_stale(base)
        files = sorted(path.relative_to(source) for path in source.rglob("*") if path.is_file())
        for name in sorted(files, key=lambda name: name == Path(_GRAPH)):  # last: without it, no model
            _copy(source / name, staging / name)
        _write_note(staging, note)
        version = _publish(staging, base)
    except OSError as error:
        raise UserError(f"could not push {source} to {base}: {error}. {_ADVICE}") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    if keep is not None:
        _remove_oldest(base, keep)
    return version


def amend_note(base_directory: str | os.PathLike[str], version: int, **changes: Any) -> None:
    """Changes what is noted of a version.

    Args:
        base_directory: The served model's directory.
        version: Which one; put there by `push`.
        **changes: Fields of Note.

    Raises:
        UserError: If it cannot be written.
    """
    note = read_note(base_directory, version)
    if note is not None and note._replace(**changes) != note:
        try:
            _write_note(versions(base_directory)[version], note._replace(**changes))
        except OSError as error:
            raise UserError(f"could not note in {base_directory}: {error}. {_ADVICE}") from error


def latest_version(base_directory: str | os.PathLike[str]) -> int | None:
    """The newest version under a served model's directory; None if there is none."""
    return max(versions(base_directory), default=None)


def versions(base_directory: str | os.PathLike[str]) -> dict[int, Path]:
    """The directory of each version under a served model's directory."""
    return {
        version: path
        for version, path in _numbered(Path(base_directory)).items()
        if (path / _GRAPH).is_file()
    }


def read_note(base_directory: str | os.PathLike[str], version: int | None) -> Note | None:
    """What was noted of a version; None if there is no such version, or it was not put there by `push`.

    Raises:
        UserError: If the note is there, but is none.
    """
    directory = versions(base_directory).get(version) if version is not None else None
    if directory is None or not (directory / _NOTE).is_file():
        return None
    try:
        noted = json.loads((directory / _NOTE).read_text(encoding="utf-8"))
        known = {name: value for name, value in noted.items() if name in Note._fields}
        return Note(**{**known, "rolled_back": tuple(noted.get("rolled_back", ()))})
    except (ValueError, TypeError, AttributeError) as error:
        raise UserError(
            f"{directory / _NOTE} cannot be read: {error}; expected what was noted of this version when it "
            "was pushed. Remove the file, and the version counts as pushed by somebody else."
        ) from error


def _write_note(directory: Path, note: Note) -> None:
    path = directory / _NOTE
    path.parent.mkdir(exist_ok=True)
    temporary = path.with_name(f".{uuid.uuid4()}")
    with temporary.open("w", encoding="utf-8") as file:
        json.dump(note._asdict(), file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def _numbered(base: Path) -> dict[int, Path]:
    """Whatever has a number for its name."""
    if not base.is_dir():
        return {}
    return {int(path.name): path for path in base.iterdir() if re.fullmatch(r"[0-9]+", path.name)}


def _publish(staging: Path, base: Path) -> int:
    while True:
        version = max(_numbered(base), default=0) + 1
        try:
            staging.rename(base / str(version))
        except OSError:
            if not (base / str(version)).exists():
                raise
            continue  # another push took the number
        return version


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    with target.open("rb+") as file:
        os.fsync(file.fileno())  # a rename can reach the disk before what was written earlier
    if sha256(source) != sha256(target):
        raise OSError(f"the copy of {source} differs from it")


def _remove_oldest(base: Path, keep: int) -> None:
    """Removes all but the newest versions, each under a name that TF Serving does not see."""
    for _, directory in sorted(versions(base).items())[:-keep]:
        hidden = base / f".{uuid.uuid4()}"
        with contextlib.suppress(OSError):  # another push may be at it; what must be there is there
            directory.rename(hidden)
            shutil.rmtree(hidden, ignore_errors=True)


def _remove_stale(base: Path) -> None:
    oldest = time.time() - _STALE_SECONDS
    for path in base.iterdir():
        if _STAGING.fullmatch(path.name) and _last_change(path) < oldest:
            shutil.rmtree(path, ignore_errors=True)


def _last_change(directory: Path) -> float:
    """When anything in a directory was last written, so that a long push is not taken for a dead one."""
    try:
        return max(path.stat().st_mtime for path in (directory, *directory.rglob("*")))
    except FileNotFoundError:  # published or removed meanwhile
        return time.time()
