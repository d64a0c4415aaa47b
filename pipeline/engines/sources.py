"""The files of rnnpipe itself, wherever it runs: in a checkout, from a wheel, or on a worker."""

from __future__ import annotations

import hashlib
from pathlib import Path

HOME = Path(__file__).resolve().parents[2]
"""The folder in which layers, components and pipeline are."""
OWN = ("layers", "components", "pipeline")
"""The packages."""
_PACKAGED = {".py", ".typed", ".json", ".html"}  # what a wheel holds, too


def own_sources() -> dict[str, bytes]:
    """Returns the files of the three packages by their names, such as pipeline/cli.py, in order."""
    paths = (path for package in OWN for path in (HOME / package).rglob("*"))
    named = {
        path.relative_to(HOME).as_posix(): path
        for path in paths
        if path.suffix in _PACKAGED and not path.name.startswith(".") and path.is_file()
    }
    return {name: named[name].read_bytes() for name in sorted(named)}


def source_digest() -> str:
    """Returns a hash of the files of the three packages: hexadecimal, 16 characters."""
    digest = hashlib.sha256()
    for name, content in own_sources().items():
        digest.update(f"{name} {len(content)}\n".encode() + content)
    return digest.hexdigest()[:16]
