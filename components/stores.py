"""Object stores, as fsspec's libraries reach them. Behind components/files.py."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any, TypeVar

from upath import UPath

Result = TypeVar("Result")

_TRIES = 5
# Two writers of one name at the same moment: the store asks both to come again.
_CONFLICTS = ("ConditionalRequestConflict", "OperationAborted", "SlowDown")


def patiently(place: UPath, call: Callable[[], Result]) -> Result:
    """Asks a remote store, and again what it has refused only because somebody else was writing there.

    Raises:
        OSError: whatever the library of the store raises when it cannot be asked.
    """
    for attempt in range(_TRIES):
        try:
            return call()
        except (FileExistsError, FileNotFoundError):
            raise
        except OSError as error:
            conflict = error.errno == errno.EBUSY or any(word in str(error) for word in _CONFLICTS)
            if not conflict or attempt == _TRIES - 1:
                raise
            time.sleep(0.2 * 2**attempt)
        except Exception as error:
            raise OSError(f"{place}: {error}. Check the address, your access and the network.") from error
    raise AssertionError("unreachable")


def modified(info: dict[str, Any]) -> float:
    """Returns when a file was last written, in seconds since 1970, by what fsspec knows of it; else 0."""
    for name in ("LastModified", "mtime", "updated", "created", "timeCreated"):
        value = info.get(name)
        if isinstance(value, str):
            value = datetime.fromisoformat(value.replace("Z", "+00:00"))
        if isinstance(value, datetime):
            return (value if value.tzinfo else value.replace(tzinfo=timezone.utc)).timestamp()
        if value is not None:
            return float(value)
    return 0.0
