"""Directories of the launcher's machine that workers elsewhere need: carried to the root, and from there."""

from __future__ import annotations

import hashlib
import json
import shutil
import uuid
from pathlib import Path

from upath import UPath

from components import files
from components.artifacts.artifact import cache_folder
from components.errors import UserError

FOLDER = "carried"
"""Below the root."""
LIST = "files.json"
"""Written last: what is carried, by name its SHA-256."""


def carry(directory: Path, root: UPath) -> str:
    """Copies a directory to where workers see it, unless it is there; returns its address.

    Args:
        directory: on this machine.
        root: of the pipeline.
    """
    names = sorted(path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file())
    listed = {name: files.sha256(UPath(directory / name)) for name in names}
    data = json.dumps(listed, indent=1, ensure_ascii=False).encode()
    place = root / FOLDER / hashlib.sha256(data).hexdigest()[:24]
    if not files.exists(place / LIST):
        for name in names:
            files.upload(directory / name, place / name)
        files.write(place / LIST, data)
    return str(place)


def fetch(address: str) -> Path:
    """Returns a directory on this machine: the very one, or a checked copy of one that was carried.

    Args:
        address: a path of this machine, or what `carry` gave.

    Raises:
        UserError: if it is gone, or not what was carried.
    """
    place = files.resolve(address)
    if place.parent.name != FOLDER:
        return files.local(place)
    copy = cache_folder() / FOLDER / place.name
    if not copy.is_dir():
        aside = copy.with_name(f".{place.name}.{uuid.uuid4().hex}")
        try:
            for name, checksum in json.loads(files.read(place / LIST)).items():
                files.download(place / name, aside / name)
                if files.sha256(UPath(aside / name)) != checksum:
                    raise UserError(f"{place / name} is not what was carried there. Run again.")
            try:
                aside.rename(copy)
            except OSError:  # another process was quicker
                if not copy.is_dir():
                    raise
        except FileNotFoundError as error:
            raise UserError(f"{place} was removed while the run went on. Run again.") from error
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    return copy
