"""The user's modules, as they travel to workers."""

from __future__ import annotations

import os
import sys
import sysconfig
from pathlib import Path

from components.errors import UserError
from components.plugin_sources import is_installed, module_files
from components.plugins import references
from pipeline.config import PipelineConfig


def user_modules(config: PipelineConfig) -> dict[str, bytes]:
    """Collects the modules that a configuration names, with all of the user's that they import.

    Those that are installed here do not travel: they have to be installed where workers are.

    Args:
        config: of the run.

    Returns:
        Their sources by names such as my_package/my_module.py; empty if there are none.

    Raises:
        UserError: if one is compiled, or is named like one that Python would find first on a worker.
    """
    travelling: dict[str, Path] = {}
    for reference in sorted(set(references(config))):
        for name, path in sorted(module_files(reference).items()):
            if is_installed(path):
                continue
            _check(reference, name, path)
            end = "/__init__.py" if path.name == "__init__.py" else ".py"
            travelling[name.replace(".", "/") + end] = path
    return {place: path.read_bytes() for place, path in sorted(travelling.items())}


def installed_modules(config: PipelineConfig) -> list[str]:
    """Returns what a configuration takes from installed modules, which do not travel."""
    return [
        reference
        for reference in sorted(set(references(config)))
        if is_installed(module_files(reference)[reference.partition(":")[0]])
    ]


def _check(reference: str, name: str, path: Path) -> None:
    """Refuses what would be another module on a worker, or none."""
    if path.suffix != ".py":
        _refuse(
            reference,
            f"{path} is compiled, and runs on machines like this one only",
            "give its source, or install it here and where workers are",
        )
    top = name.partition(".")[0]
    if top in sys.stdlib_module_names:
        _refuse(reference, f"{path} is named like Python's own module {top}", "rename it")
    for installed in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
        for place in (os.path.join(installed, top), os.path.join(installed, f"{top}.py")):
            if os.path.exists(place):
                _refuse(reference, f"{path} is named like {place}, which is installed", "rename it")


def _refuse(reference: str, problem: str, remedy: str) -> None:
    raise UserError(f"'{reference}' cannot travel to workers: {problem}; {remedy}.")
