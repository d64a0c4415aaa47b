"""Fingerprints of what goes into a stage beside its configuration: data, source code, libraries."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import json
import os
from functools import cache
from importlib.metadata import version
from pathlib import Path

from components.checksum import sha256

PACKAGES = ("components", "layers")


class FileFingerprints:
    """SHA-256 of files, remembered by path, size and time of change so that big files are read once.

    Args:
        cache: JSON file to remember them in.
    """

    def __init__(self, cache: Path) -> None:
        self._cache = cache
        try:
            self._known: dict[str, str] = json.loads(cache.read_text(encoding="utf-8"))
        except (FileNotFoundError, json.JSONDecodeError):
            self._known = {}
        self._before = dict(self._known)

    def of(self, path: str) -> str:
        """Returns the hex digest of a local file's content, or what a remote store says of its own."""
        if "://" in path:
            from apache_beam.io.filesystems import FileSystems

            return str(FileSystems.checksum(path))
        stat = os.stat(path)
        name = f"{os.path.abspath(path)}|{stat.st_size}|{stat.st_mtime_ns}"
        if name not in self._known:
            self._known[name] = sha256(path)
        return self._known[name]

    def save(self) -> None:
        """Writes what is new to the cache file."""
        if self._known == self._before:
            return
        self._cache.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._cache.with_name(f"{self._cache.name}.{os.getpid()}")
        temporary.write_text(json.dumps(self._known), encoding="utf-8")
        os.replace(temporary, self._cache)


def source_fingerprint(module: str) -> str:
    """Hashes a module's source and that of everything it imports from components and layers.

    Imports are found in the syntax tree, inside functions too, without running anything.

    Args:
        module: dotted name, such as components.ingest.transform.

    Returns:
        Hex digest, 16 characters.
    """
    files: dict[str, bytes] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        path = _source(name)
        if path is None or name in files:
            continue
        files[name] = path.read_bytes()
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        waiting += _imports(package, files[name])
    digest = hashlib.sha256()
    for name in sorted(files):
        digest.update(f"{name} {len(files[name])}\n".encode() + files[name])
    return digest.hexdigest()[:16]


@cache
def _imports(package: str, source: bytes) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            found += [base, *(f"{base}.{alias.name}" for alias in node.names)]
    return [name for name in found if name.split(".")[0] in PACKAGES]


def _source(name: str) -> Path | None:
    path = Path(__file__).parents[2].joinpath(*name.split("."))
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


def library_versions(names: tuple[str, ...]) -> dict[str, str]:
    """Returns the installed version of each distribution."""
    return {name: version(name) for name in names}
