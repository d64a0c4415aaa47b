"""The versions that are installed here, as requirements: workers get the same."""

from __future__ import annotations

import sys
from collections.abc import Collection
from importlib.metadata import Distribution, PackageNotFoundError, distribution

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

_TOOLS = {
    "pip",
    "setuptools",
    "wheel",
}  # nothing that is computed depends on them, and workers have their own


def pins(required_by: Distribution, extras: Collection[str] = ()) -> list[str]:
    """Returns all that a distribution requires, in turn, as requirements of the versions installed here.

    They hold for this version of Python alone: with another one pip may choose, so that the environments can
    be compared where it would else find no version at all.

    Args:
        required_by: the distribution.
        extras: of its extras, those that count.
    """
    pinned: dict[str, str] = {}
    waiting = [(required_by, extra) for extra in ("", *extras)]
    done: set[tuple[str, str]] = set()
    for found, extra in waiting:  # grows meanwhile
        for text in found.requires or ():
            requirement = Requirement(text)
            if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
                continue
            name = canonicalize_name(requirement.name)
            try:
                needed = distribution(requirement.name)
            except PackageNotFoundError:  # nothing here needs it
                continue
            pinned[name] = Version(needed.version).public
            new = {(name, wanted) for wanted in ("", *requirement.extras)} - done
            waiting += [(needed, wanted) for _, wanted in sorted(new)]
            done |= new
    ours = {canonicalize_name(required_by.metadata["Name"]), *_TOOLS}
    here = f'python_version == "{sys.version_info.major}.{sys.version_info.minor}"'
    return [f"{name}=={version} ; {here}" for name, version in sorted(pinned.items()) if name not in ours]
