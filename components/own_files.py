"""JSON that rnnpipe wrote itself, and that may have been damaged since: by a crash, a full disk, an editor.

What such a file should hold is given as a type, so nobody has to ask for every key whether it is there.
"""

from __future__ import annotations

import errno
import functools
import logging
import os
from collections.abc import Hashable
from typing import TYPE_CHECKING, Any, TypeVar, cast

from upath import UPath

from components import files

if TYPE_CHECKING:
    from pydantic import TypeAdapter

Shape = TypeVar("Shape")

_UNREADABLE = (errno.EISDIR, errno.EACCES, errno.EPERM, errno.EIO, errno.ELOOP)
_log = logging.getLogger("rnnpipe")
_log.setLevel(logging.WARNING)  # the libraries' level, which may be higher, does not count
_named: set[str] = set()  # files that this process has warned of


class DamagedError(ValueError):
    """A file is there, and is not what was written; the message names it.

    Args:
        place: the file; empty where it is not known.
        problem: what is wrong with it.
    """

    def __init__(self, place: UPath | str, problem: str) -> None:
        super().__init__(f"{place}: {problem}" if str(place) else problem)
        self.problem = problem


def load(place: UPath, shape: type[Shape]) -> Shape:
    """Reads a file.

    Args:
        place: of the file.
        shape: what it should hold: a dataclass, a TypedDict, or a container of such.

    Raises:
        FileNotFoundError: if there is none.
        DamagedError: if there is one that cannot be read, or that holds something else.
        OSError: if a remote store cannot be asked.
    """
    try:
        data = files.read(place)
    except NotADirectoryError as error:
        raise FileNotFoundError(error.errno, os.strerror(errno.ENOENT), str(place)) from error
    except OSError as error:
        if isinstance(error, IsADirectoryError) or (files.is_local(place) and error.errno in _UNREADABLE):
            raise DamagedError(place, error.strerror or str(error)) from error
        raise
    return parse(data, shape, place)


def parse(data: bytes, shape: type[Shape], place: UPath | str = "") -> Shape:
    """Reads what a file holds.

    Args:
        data: its content.
        shape: as of `load`.
        place: where it was read from, for the message.

    Raises:
        DamagedError: if it holds something else.
    """
    from pydantic import ValidationError

    if not data:
        raise DamagedError(place, "it is empty")
    try:
        read: Shape = _reader(cast(Hashable, shape)).validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise DamagedError(place, f"`{where}`: {first['msg']}" if where else first["msg"]) from error
    return read


def salvage(place: UPath, shape: type[Shape]) -> Shape | None:
    """Reads a file that others can do without; one that is damaged is named on standard error, once.

    Args:
        place: of the file.
        shape: as of `load`.

    Returns:
        None if it is not there, or is damaged.

    Raises:
        OSError: if a remote store cannot be asked.
    """
    try:
        return load(place, shape)
    except FileNotFoundError:
        return None
    except DamagedError as error:
        name(error)
        return None


def name(damage: DamagedError) -> None:
    """Warns of a damaged file that is passed over, unless this process has done so."""
    if str(damage) not in _named:
        _named.add(str(damage))
        _log.warning("passed over a damaged file: %s", damage)


@functools.cache
def _reader(shape: Hashable) -> TypeAdapter[Any]:
    from pydantic import TypeAdapter  # takes as long as all else that a command imports to ask a model

    return TypeAdapter(cast(Any, shape))
