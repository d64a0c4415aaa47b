"""The only door to files, wherever they are: on a disk, in an object store, or in memory.

Everything above needs what object stores have: get, put, create exclusively, list, delete. A place is
a `UPath`; `resolve` makes one where a command is given, and workers only see resolved places.
"""

from __future__ import annotations

import contextlib
import glob as local_glob
import hashlib
import importlib.util
import io
import os
import shutil
import threading
import time
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

from upath import UPath

from components import disks, store_objects, stores
from components.addresses import file_path
from components.disks import Entry as Entry
from components.errors import UserError
from components.patterns import with_literal_folder
from components.remote_reader import RemoteReader

# What is listed must be what is there now, not what was there a moment ago.
_OPTIONS: dict[str, dict[str, Any]] = {
    "s3": {"use_listings_cache": False},
    "gs": {"use_listings_cache": False},
    "memory": {},
}
_NEEDS = {"s3": ("s3fs", "s3"), "gs": ("gcsfs", "gcs")}
_BLOCK = 1 << 20
_SMALL = 1 << 18  # bytes that are read as quickly as it is found out whether they need to be
_memory = threading.Lock()


def resolve(place: str | os.PathLike[str] | UPath) -> UPath:
    """Makes a place absolute: relative paths start in the working directory of this moment, `~` at home.

    Args:
        place: a local path, or an address that begins with s3://, gs://, memory:// or file://.

    Raises:
        UserError: for another kind of address, or where the library for it is not installed.
    """
    if isinstance(place, UPath) and place.protocol:
        return place
    text = str(place)
    scheme, separator, rest = text.partition("://")
    if separator and "::" in rest:
        raise UserError(
            f"received {text!r}, expected an address without ::, which means something else here."
        )
    if not separator:
        return UPath(os.path.abspath(os.path.expanduser(text)))
    if scheme == "file" and (path := file_path(text)):
        if not path.is_absolute():
            raise UserError(f"received {text!r}, expected an absolute path after file://.")
        return UPath(os.path.abspath(path))
    if scheme not in _OPTIONS:
        known = ", ".join(f"{name}://" for name in _OPTIONS)
        raise UserError(f"received {text!r}, expected a local path, or an address that begins with {known}.")
    module, extra = _NEEDS.get(scheme, ("", ""))
    if module and importlib.util.find_spec(module) is None:
        raise UserError(
            f"received {text!r}, but {module}, which reads and writes {scheme}://, is not installed; "
            f"install it: pip install 'rnnpipe[{extra}]'."
        )
    return UPath(text, **_OPTIONS[scheme])


def is_local(path: UPath) -> bool:
    """Whether a place is on a disk of this machine."""
    return not path.protocol


def relative(path: UPath) -> str:
    """A place as the user would write it: a local one from the working directory, if it is below it."""
    here = Path.cwd()
    if is_local(path) and local(path).is_relative_to(here):
        return str(local(path).relative_to(here))
    return str(path)


def local(path: UPath) -> Path:
    """The path of a place on a disk of this machine, for what only knows such paths."""
    return Path(str(path))


def read(path: UPath) -> bytes:
    """Returns the content of a file.

    Raises:
        FileNotFoundError: if there is none.
    """
    if is_local(path):
        return local(path).read_bytes()
    # s3fs would first ask how long the file is, to read long ones in pieces at the same time.
    options = {"max_concurrency": 1} if path.protocol == "s3" else {}
    return bytes(stores.ask(path, "cat_file", **options))


def open_to_read(path: UPath) -> BinaryIO:
    """Opens a file; what is remote is read in pieces, not as a whole, and a piece that was cut again."""
    if is_local(path):
        return local(path).open("rb")
    return io.BufferedReader(RemoteReader(path), _BLOCK)


def write(path: UPath, data: bytes) -> None:
    """Puts a whole file in place of whatever was there; a reader sees the old one or the new one."""
    if is_local(path):
        aside = disks.written_aside(local(path), data)
        try:
            os.replace(aside, local(path))
        except BaseException:
            aside.unlink(missing_ok=True)
            raise
    else:
        stores.ask(path, "pipe_file", data)


def create(path: UPath, data: bytes, private: bool = False) -> None:
    """Puts a whole file where none has ever been; of many that try at the same time one succeeds.

    Where a store has lost the answer and is asked again, it is known whose file is there. Where it then stays
    silent, the file may be there although this fails: look whose it is.

    Args:
        path: where.
        data: its content.
        private: whether other users of this machine must not read it; a remote store has its own rules.

    Raises:
        FileExistsError: if there is one.
    """
    if not is_local(path):
        # In memory, looking and writing are two steps.
        with _memory if path.protocol == "memory" else contextlib.nullcontext():
            store_objects.create(path, data)
        return
    aside = disks.written_aside(local(path), data, private)
    try:
        os.link(aside, local(path))
        disks.sync_folder(local(path).parent)
    finally:
        aside.unlink(missing_ok=True)


def upload(source: Path, target: UPath) -> None:
    """Copies a local file to a name that was never used."""
    if not is_local(target):
        store_objects.upload(source, target)
        return
    local(target).parent.mkdir(parents=True, exist_ok=True)
    with source.open("rb") as origin, local(target).open("wb") as copy:
        shutil.copyfileobj(origin, copy, _BLOCK)
        disks.flush(copy.fileno())


def download(source: UPath, target: Path) -> None:
    """Copies a file to this machine, whole or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    try:
        if is_local(source):
            shutil.copyfile(local(source), aside)
        else:
            stores.ask(source, "get_file", str(aside))
        os.replace(aside, target)
    finally:
        aside.unlink(missing_ok=True)


def delete(paths: Iterable[UPath]) -> None:
    """Deletes files; those that are not there are passed over."""
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            if is_local(path):
                local(path).unlink()
            else:
                stores.ask(path, "rm_file")


def delete_empty_folders(folder: UPath) -> None:
    """Deletes the empty folders below a local one, and itself if it is; object stores have no folders."""
    if is_local(folder):
        for path, _, _ in os.walk(local(folder), topdown=False):
            with contextlib.suppress(OSError):  # it is not empty
                os.rmdir(path)


def exists(path: UPath) -> bool:
    """Whether there is a file of this name.

    Raises:
        OSError: if that cannot be found out.
    """
    if is_local(path):
        return local(path).is_file()
    try:
        return bool(stores.ask(path, "info")["type"] == "file")
    except FileNotFoundError:
        return False


def entries(folder: UPath) -> list[Entry]:
    """Lists the files below a folder, at any depth, by name; none if there is no such folder."""
    if is_local(folder):
        return sorted(disks.entries(local(folder)))
    try:
        listed = stores.ask(folder, "find", detail=True)
    except FileNotFoundError:
        return []
    listed = [
        Entry(
            _beside(folder, name),
            int(info["size"] or 0),
            store_objects.modified(info),
            store_objects.version(info),
        )
        for name, info in listed.items()
        if info["type"] == "file" and name.rstrip("/") != folder.path.rstrip("/")
    ]
    return sorted(listed)


def left_aside(folder: UPath) -> list[Entry]:
    """Lists what was never finished below a local folder: its writers were killed, or are still at it."""
    if not is_local(folder):
        return []
    return sorted(disks.unfinished(local(folder)))


def end_uploads(folder: UPath, before: float) -> int:
    """Ends what killed writers have begun to put below a remote folder, before a time; returns how many."""
    return 0 if is_local(folder) else store_objects.end_uploads(folder, before)


def names(folder: UPath) -> list[str]:
    """Returns the names directly below a folder, of files and of folders, sorted."""
    if is_local(folder):
        try:
            return sorted(name for name in os.listdir(local(folder)) if not name.startswith("."))
        except (FileNotFoundError, NotADirectoryError):
            return []
    try:
        listed = stores.ask(folder, "ls", detail=False)
    except (FileNotFoundError, NotADirectoryError):
        return []
    base = folder.path.rstrip("/")
    inside = {name.rstrip("/")[len(base) :].lstrip("/") for name in listed if name.rstrip("/") != base}
    return sorted(name for name in inside if name)


def find(pattern: str) -> list[UPath]:
    """Returns the files of a path or glob, sorted.

    A file or folder of exactly this name comes before any glob: below a folder `[v1]`, `[v1]/*.tsv` is found.

    Args:
        pattern: as the user wrote it; relative paths start in the working directory of this moment.

    Raises:
        UserError: as `resolve`.
        OSError: if the place cannot be looked at.
    """
    place = resolve(pattern)
    if exists(place):
        return [place]
    if is_local(place):
        text = str(place) if "://" in pattern else os.path.expanduser(pattern)
        paths = local_glob.glob(with_literal_folder(text, os.path.isdir), recursive=True)
        return sorted(resolve(path) for path in paths if os.path.isfile(path))
    listed = stores.patiently(
        place, "glob", lambda: place.fs.glob(with_literal_folder(place.path, place.fs.isdir), detail=True)
    )
    return sorted(_beside(place, name) for name, info in listed.items() if info["type"] == "file")


def signature(path: UPath) -> str:
    """Tells cheaply whether a file may have changed: another signature, perhaps another content.

    Of a local file its size, times and inode, of a remote one what the store says of its content.

    Raises:
        FileNotFoundError: if there is none.
    """
    if is_local(path):
        stat = local(path).stat()
        return f"{stat.st_size}|{stat.st_mtime_ns}|{stat.st_ctime_ns}|{stat.st_ino}"
    return store_objects.signature(stores.ask(path, "info"))


def signatures(paths: Iterable[UPath]) -> dict[str, str]:
    """Returns the signatures of many files, by their paths; what is remote and lies together is listed.

    Raises:
        FileNotFoundError: if one is not there.
    """
    asked = list(paths)
    listed = store_objects.signatures(path for path in asked if not is_local(path))
    return {str(path): listed.get(str(path)) or signature(path) for path in asked}


def is_small(signature: str) -> bool:
    """Whether reading a file costs so little that its signature need not be believed."""
    return int(signature.partition("|")[0]) <= _SMALL


def sha256(path: UPath | Path) -> str:
    """Returns the SHA-256 of a file's content in hexadecimal, read piece by piece."""
    digest = hashlib.sha256()
    with open_to_read(path if isinstance(path, UPath) else UPath(path)) as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def clock(folder: UPath) -> float:
    """Asks the store what time it is, in seconds since 1970, by writing a small file into a folder."""
    if is_local(folder):
        return time.time()
    probe = folder / f"clock-{uuid.uuid4().hex}"
    write(probe, b"")
    try:
        return store_objects.modified(stores.ask(probe, "info"))
    finally:
        delete([probe])


def sync(path: Path) -> None:
    """Waits until a local file is on the disk."""
    with path.open("rb") as file:
        disks.flush(file.fileno())


def _beside(place: UPath, name: str) -> UPath:
    """The place of a name as the file system itself spells it."""
    return resolve(f"{place.protocol}://{name.lstrip('/')}")
