"""Hashes of the user's modules that a configuration names, for the keys of the stages that run them."""

from __future__ import annotations

import ast
import hashlib
import importlib.machinery
import importlib.util
import os
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from components.errors import UserError
from components.plugins import load, references

_COMPILED = (*importlib.machinery.BYTECODE_SUFFIXES, *importlib.machinery.EXTENSION_SUFFIXES)
_OURS = ("layers", "components", "pipeline")  # the stages' own fingerprints cover them


def plugin_sources(*sections: object) -> dict[str, str]:
    """Hashes the source of what sections of a configuration take from the user's modules.

    A module counts with everything of the user's that it imports, inside functions too: modules that are not
    installed, and those of its own package if it is. Nothing is run that reading the configuration did not.

    Args:
        sections: what the stage runs, such as `config.model` and `config.tokenize`.

    Returns:
        By reference (`my_module:MyEncoder`), a hex digest of 16 characters; empty where none is named.

    Raises:
        UserError: a module has no source file.
    """
    named = sorted({reference for section in sections for reference in references(section)})
    return {reference: _fingerprint(reference) for reference in named}


def module_files(reference: str) -> dict[str, Path]:
    """Finds a module of the user's with everything of the user's that it imports.

    Args:
        reference: what is taken from it, such as `my_module:MyEncoder`.

    Returns:
        By dotted name, the file of every module; those of folders without `__init__.py` have none.

    Raises:
        PluginError: as `load`.
        UserError: the module has no file.
    """
    module = reference.partition(":")[0]
    load(reference)
    origin = getattr(sys.modules[module], "__file__", None)
    if origin is None or not os.path.isfile(origin):
        raise UserError(
            f"'{reference}': the module {module} has no source file, which is part of the keys of the stages "
            f"that use it; expected a file {module.replace('.', '/')}.py"
        )
    found: dict[str, Path] = {}
    waiting, roots, top = [module], _own_roots(), module.partition(".")[0]
    above = Path(origin).parents[module.count(".") + (Path(origin).name == "__init__.py")]
    while waiting:
        name = waiting.pop()
        if name in found or name.partition(".")[0] in _OURS:
            continue
        # A folder without __init__.py may have modules in several places.
        path = _file(name, [str(above), *roots] if name.partition(".")[0] == top else roots)
        if path is None:
            continue
        found[name] = path
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        waiting += _imports(package, path.read_bytes()) if path.suffix == ".py" else []
    found.setdefault(module, Path(origin))  # a notebook's
    return found


def is_installed(path: str | os.PathLike[str]) -> bool:
    """Whether a path is among what is installed, Python itself included, and no work of the user's."""
    installed = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    return any(str(path) == place or str(path).startswith(place + os.sep) for place in installed) or bool(
        {"site-packages", "dist-packages"} & set(Path(path).parts)
    )


def _fingerprint(reference: str) -> str:
    sources = {name: path.read_bytes() for name, path in module_files(reference).items()}
    digest = hashlib.sha256()
    for name in sorted(sources):
        digest.update(f"{name} {len(sources[name])}\n".encode() + sources[name])
    return digest.hexdigest()[:16]


def _own_roots() -> list[str]:
    """Where the user's modules are: on Python's path, but not among what is installed."""
    return [root for root in sys.path if os.path.isdir(root) and not is_installed(root)]


def _file(name: str, roots: list[str]) -> Path | None:
    for root in roots:
        path = os.path.join(root, *name.split("."))
        # Compiled ones are found as well, for what they do is no less part of the stages.
        for candidate in (
            f"{path}.py",
            os.path.join(path, "__init__.py"),
            *(path + end for end in _COMPILED),
        ):
            if os.path.isfile(candidate):
                return Path(candidate)
    return None


def _imports(package: str, source: bytes) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from _with_parents(*(alias.name for alias in node.names))
        elif isinstance(node, ast.ImportFrom):
            base = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            yield from _with_parents(base, *(f"{base}.{alias.name}" for alias in node.names))


def _with_parents(*names: str) -> Iterator[str]:
    """An import of a.b runs a, too."""
    for name in names:
        parts = name.split(".")
        yield from (".".join(parts[:length]) for length in range(1, len(parts) + 1))
