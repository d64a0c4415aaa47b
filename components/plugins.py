"""Classes and objects from the user's own modules, named in a configuration as `my_module:MyClass`."""

from __future__ import annotations

import difflib
import importlib
import os
import re
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import BaseModel

from components.strict import Strict

PATTERN = r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$"
"""What a reference looks like: a module as in an import statement, a colon, a name in it."""

_OWN = "own_references"


class Pluggable(Strict):
    """A section whose `type` names one of the built-in types, or a class of the user's as `module:Class`."""

    type: str


class PluginError(ValueError):
    """A reference that leads to nothing that can be used; the message continues "received 'a:b', "."""


def is_reference(name: object) -> bool:
    """Whether a name of a type or a metric means something in a module of the user's."""
    return isinstance(name, str) and ":" in name


def load(reference: str) -> Any:
    """Imports the module of a reference, and returns what is named in it.

    Modules are searched for in the working directory, then as `import` does. The working directory stays on
    the path, so that what the module imports later, or unpickles, is found as well.

    Args:
        reference: `module:name`.

    Raises:
        PluginError: there is no such module or no such name, or the module cannot be imported.
    """
    if not re.match(PATTERN, reference):
        raise PluginError("expected a module and a name in it, such as my_module:MyClass")
    module_name, _, name = reference.partition(":")
    module = _import(module_name)
    try:
        return getattr(module, name)
    except AttributeError:
        close = difflib.get_close_matches(name, vars(module), n=1)
        hint = f"; did you mean '{module_name}:{close[0]}'?" if close else ""
        raise PluginError(f"but {module_name} ({place_of(module)}) has no {name}{hint}") from None


def kind_of(value: object) -> str:
    """Says what a reference leads to, for messages."""
    return "a class" if isinstance(value, type) else f"of the type {type(value).__name__}"


def place_of(module: ModuleType) -> str:
    """Returns the file of a module, for messages."""
    return getattr(module, "__file__", None) or "which has no file"


def references(section: object) -> Iterator[str]:
    """Yields what a configuration, or a section of one, takes from the user's modules.

    Args:
        section: a section, or a list or mapping of sections; a section may name more in `own_references`.
    """
    if isinstance(section, Pluggable) and is_reference(section.type):
        yield section.type
    if isinstance(section, BaseModel):
        if hasattr(type(section), _OWN):
            yield from getattr(section, _OWN)
        section = vars(section)
    if isinstance(section, dict):
        section = list(section.values())
    if isinstance(section, list | tuple):
        for value in section:
            if isinstance(value, BaseModel | dict | list | tuple):
                yield from references(value)


def _import(name: str) -> ModuleType:
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    importlib.invalidate_caches()  # a file may have been written a moment ago
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise PluginError(_not_found(name, error.name, here)) from None
        raise PluginError(_broken(name, error)) from error
    except Exception as error:
        raise PluginError(_broken(name, error)) from error


def _not_found(name: str, missing: str, here: str) -> str:
    files = [path.stem for path in Path(here).glob("*.py")]
    close = difflib.get_close_matches(missing, files, n=1)
    hint = f"did you mean '{close[0]}'?" if close else f"expected {name.replace('.', '/')}.py there"
    more = "" if close else ", or a package that is installed in this environment"
    return f"but there is no module {missing} in {here} or on Python's path; {hint}{more}"


def _broken(name: str, error: Exception) -> str:
    """Says where in the user's file an import failed, and with what."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "importlib" not in frame.filename and frame.filename != __file__]
    where = f" in {own[-1].filename}, line {own[-1].lineno}" if own else ""
    if isinstance(error, SyntaxError) and error.filename:
        where = f" in {error.filename}, line {error.lineno}"
    text = error.msg if isinstance(error, SyntaxError) else " ".join(str(error).split())
    return f"but importing {name} failed{where}: {type(error).__name__}: {text}"
