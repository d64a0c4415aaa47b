"""Hashes of the user's modules that a configuration names, for the keys of the stages that run them."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import os
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from components.errors import UserError
from components.plugins import load, references

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


def _fingerprint(reference: str) -> str:
    module = reference.partition(":")[0]
    load(reference)
    origin = getattr(sys.modules[module], "__file__", None)
    if origin is None or not os.path.isfile(origin):
        raise UserError(
            f"'{reference}': the module {module} has no source file, which is part of the keys of the stages "
            f"that use it; expected a file {module.replace('.', '/')}.py"
        )
    sources: dict[str, bytes] = {}
    waiting, roots, top = [module], _own_roots(), module.partition(".")[0]
    above = Path(origin).parents[module.count(".") + (Path(origin).name == "__init__.py")]
    while waiting:
        name = waiting.pop()
        if name in sources or name.partition(".")[0] in _OURS:
            continue
        path = _file(name, [str(above)]) if name.partition(".")[0] == top else _file(name, roots)
        if path is None:
            continue
        sources[name] = path.read_bytes()
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        waiting += _imports(package, sources[name]) if path.suffix == ".py" else []
    if module not in sources:  # compiled, or a notebook's
        sources[module] = Path(origin).read_bytes()
    digest = hashlib.sha256()
    for name in sorted(sources):
        digest.update(f"{name} {len(sources[name])}\n".encode() + sources[name])
    return digest.hexdigest()[:16]


def _own_roots() -> list[str]:
    """Where the user's modules are: on Python's path, but not among what is installed."""
    installed = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    return [
        root
        for root in sys.path
        if os.path.isdir(root)
        and not any(root == path or root.startswith(path + os.sep) for path in installed)
        and not {"site-packages", "dist-packages"} & set(Path(root).parts)
    ]


def _file(name: str, roots: list[str]) -> Path | None:
    for root in roots:
        path = os.path.join(root, *name.split("."))
        for candidate in (f"{path}.py", os.path.join(path, "__init__.py")):
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
