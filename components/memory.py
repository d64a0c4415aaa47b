"""How much memory this process may use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil

_OWN_GROUPS = Path("/proc/self/cgroup")
_GROUPS = Path("/sys/fs/cgroup")
_LIMITS = {"": (_GROUPS, "memory.max"), "memory": (_GROUPS / "memory", "memory.limit_in_bytes")}
"""Where the limit of a control group is, by the controller: that of version 2 has no name."""


def memory_limit() -> int:
    """Returns the bytes that all of this process may take: the machine's, or those of its control group."""
    return min(psutil.virtual_memory().total, *_group_limits())


def free_memory() -> int:
    """Returns the bytes that this process may take beside those that it has, as far as can be told."""
    own = psutil.Process().memory_info().rss
    return max(min(psutil.virtual_memory().available, memory_limit() - own), 0)


def _group_limits() -> Iterator[int]:
    """Yields the limits of this process's control groups and of those around them."""
    yield psutil.virtual_memory().total
    try:
        lines = _OWN_GROUPS.read_text().splitlines()
    except OSError:  # not on Linux
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        for controller, (root, name) in _LIMITS.items():
            if controller in controllers.split(","):
                # Within a container the path may be that of the machine; the root is the container's then.
                group = root / path.strip("/")
                for place in (group, *group.parents):
                    if place == root or root in place.parents:
                        yield from _limit(place / name)


def _limit(file: Path) -> Iterator[int]:
    try:
        text = file.read_text().strip()
    except OSError:
        return
    if text.isdecimal():  # and not `max`
        yield int(text)
