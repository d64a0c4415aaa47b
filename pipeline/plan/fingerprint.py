"""Fingerprints of what goes into a stage beside its configuration: data, source code, libraries."""

from __future__ import annotations

import ast
import contextlib
import hashlib
import importlib.util
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from upath import UPath

from components import files, own_files
from components.ingest.sources import Source
from pipeline.plan.remembered import remembered

PACKAGES = ("components", "layers")


class FileFingerprints:
    """SHA-256 of files, remembered with their signatures so that big files are read once; small ones always.

    Args:
        cache: JSON file on this machine to remember them in; it may be lost at any time. None: they are not.
    """

    def __init__(self, cache: Path | None) -> None:
        self._cache = cache
        self._known: dict[str, tuple[str, str]] | None = None  # until it is asked for
        self._changed = False

    def of(self, path: UPath) -> str:
        """Returns the hex digest of a local file's content, or what a remote store says of its own.

        Raises:
            FileNotFoundError: if there is no such file.
        """
        signature = files.signature(path)
        if not files.is_local(path):
            return signature
        if files.is_small(signature):
            return files.sha256(path)
        if self._known is None:
            self._known = self._read()
        known = self._known.get(str(path))
        if known is None or known[0] != signature:
            known = (signature, files.sha256(path))
            self._known[str(path)] = known
            self._changed = True
        return known[1]

    def save(self) -> None:
        """Writes what is new to the cache file; that it cannot be written costs time only."""
        if self._changed and self._cache is not None:
            with contextlib.suppress(OSError):
                files.write(files.resolve(self._cache), json.dumps(self._known).encode())
            self._changed = False

    def _read(self) -> dict[str, tuple[str, str]]:
        if self._cache is not None:
            with contextlib.suppress(OSError):
                return own_files.salvage(files.resolve(self._cache), dict[str, tuple[str, str]]) or {}
        return {}


@dataclass(frozen=True)
class DataState:
    """What the user's files hold, and how to see cheaply that they have not changed since.

    Args:
        fingerprints: by split, the hash of the files' contents and of how each is read.
        signatures: by file, its signature.
    """

    fingerprints: dict[str, str]
    signatures: dict[str, str]

    @classmethod
    def of(cls, sources: Sequence[Source], known: FileFingerprints) -> DataState:
        """Looks at the files."""
        read: dict[str, list[Any]] = {}
        signatures = _signatures(path for source in sources for path in source.files.values())
        for source in sources:
            paths = [files.resolve(path) for path in source.files.values()]
            contents: list[Any] = [
                (known.of(path) if files.is_local(path) else signatures[str(path)], str(path).endswith(".gz"))
                for path in paths
            ]
            read.setdefault(source.split, []).append([source.format, contents])
        known.save()
        fingerprints = {
            split: hashlib.sha256(json.dumps(contents).encode()).hexdigest()
            for split, contents in read.items()
        }
        return cls(fingerprints, signatures)

    def unchanged(self, sources: Sequence[Source]) -> bool:
        """Whether the files still hold the same; those with another signature are read again."""
        try:
            if _signatures(self.signatures) == self.signatures:
                return True
            return DataState.of(sources, FileFingerprints(None)).fingerprints == self.fingerprints
        except FileNotFoundError:
            return False


def _signatures(paths: Iterable[str | UPath]) -> dict[str, str]:
    return files.signatures(files.resolve(path) for path in paths)


@remembered
def source_fingerprint(module: str, without: tuple[str, ...] = ()) -> str:
    """Hashes a module's source and that of everything it imports from components, layers and its own package.

    Imports are found in the syntax tree, inside functions too, without running anything.

    Args:
        module: dotted name, such as components.ingest.transform; it may be outside of this package.
        without: packages whose code does not count, nor what only they import.

    Returns:
        Hex digest, 16 characters.
    """
    files: dict[str, bytes] = {}
    root, waiting = str(Path(__file__).parents[2]), [module]
    packages = {*PACKAGES, module.partition(".")[0]}
    while waiting:
        name = waiting.pop()
        top = name.partition(".")[0]
        home = root if top in PACKAGES else _home(top) if top in packages else ""
        path = _source(home, name) if home else None
        if path is None or name in files or name.startswith(without):
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
    names = []
    for node in _statements(ast.parse(source).body):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            names += [base, *(f"{base}.{alias.name}" for alias in node.names)]
    return names


def _statements(body: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """The statements and those within them; to walk through all expressions takes ten times as long."""
    for statement in body:
        yield statement
        for inner in ("body", "orelse", "finalbody", "handlers", "cases"):
            yield from _statements(getattr(statement, inner, ()))


@cache
def _home(package: str) -> str:
    """The folder from which a package or module of the user's is imported; empty if it is in no file."""
    try:
        spec = importlib.util.find_spec(package)
    except ValueError:  # a notebook
        spec = None
    places = [*(spec.submodule_search_locations or ()), spec.origin or ""] if spec else [""]
    return os.path.dirname(places[0])


@cache
def _source(root: str, name: str) -> Path | None:
    path = os.path.join(root, *name.split("."))
    for candidate in (f"{path}.py", os.path.join(path, "__init__.py")):
        if os.path.isfile(candidate):
            return Path(candidate)
    return None


@remembered
def library_versions(names: tuple[str, ...]) -> dict[str, str]:
    """Returns the installed version of each distribution."""
    return {name: version(name) for name in names}
