"""Why a run did not come to its end, and what is kept of it."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator
from typing import NamedTuple

from upath import UPath

from components import files
from components.errors import UserError
from pipeline.run.folder import RunFolder
from pipeline.run.record import DONE, RunRecord


class Failure(NamedTuple):
    """What went wrong.

    Args:
        message: for people.
        expected: whether it was meant for them.
        trace: the traceback.
    """

    message: str
    expected: bool
    trace: str

    def text(self, verbose: bool) -> str:
        """Returns the message, and how to learn more if it says little."""
        if self.expected or verbose:
            return self.message
        return f"{self.message.partition(chr(10))[0]}\n--verbose shows the traceback."


def failure_of(error: Exception, record: RunRecord | None, folder: RunFolder) -> Failure:
    """Finds what went wrong: as the worker reported it, wherever that was.

    Args:
        error: what arrived where the command was given.
        record: of the run; None if it never came to begin.
        folder: of the run.
    """
    if record is not None and (place := removed(record, folder)):
        message = (
            f"{place} was removed while the run went on; expected what the run works with to stay until its "
            "end. Run again: what is gone is rebuilt."
        )
        return Failure(message, True, traceback.format_exc())
    node = record.at_work if record else None
    if node is not None and node.error:
        return Failure(node.error, not node.unexpected, node.traceback)
    # Beam's local runner appends the step, whose name says nothing to the user.
    message = re.sub(r"\s*\[while running '[^']*'\]", "", str(error)).strip()
    expected = isinstance(error, UserError)
    return Failure(
        message if expected else f"{type(error).__name__}: {message}", expected, traceback.format_exc()
    )


def removed(record: RunRecord, folder: RunFolder) -> UPath | None:
    """Returns what somebody has removed of a run since it began; None if all is there, or nobody knows."""
    if folder.is_gone():
        return folder.place
    for node in record.nodes.values():
        if node.reference is not None and not _is_there(node.reference.manifest):
            return node.reference.manifest
    return None


def kept(record: RunRecord | None, folder: RunFolder) -> Iterator[str]:
    """Yields what a run that goes on later need not do again.

    Args:
        record: of the run; None if it never came to begin.
        folder: of the run.
    """
    nodes = record.nodes.values() if record else ()
    for node in nodes:
        if node.state in DONE and node.reference is not None and _is_there(node.reference.manifest):
            yield node.name
    for node in nodes:
        if node.state not in DONE and node.epochs and _has_checkpoints(folder.root):
            yield f"{node.name} up to epoch {node.epochs}"


def _is_there(place: UPath) -> bool:
    try:
        return files.exists(place)
    except OSError:  # a store that cannot be asked has lost nothing
        return True


def _has_checkpoints(root: UPath) -> bool:
    try:
        return bool(files.entries(root / "artifacts" / "train" / "checkpoints"))
    except OSError:
        return True
