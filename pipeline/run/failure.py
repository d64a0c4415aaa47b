"""Why a run did not come to its end, and what is kept of it."""

from __future__ import annotations

import contextlib
import re
import traceback
from collections.abc import Iterator
from typing import NamedTuple

from upath import UPath

from components import files
from components.errors import UserError
from components.stores import StoreError
from pipeline.engines.engine import JobEndedError, JobFailedError
from pipeline.engines.unstarted import why_unstarted
from pipeline.run.folder import PREFLIGHT, RunFolder
from pipeline.run.record import DONE, NodeRecord, RunRecord

_LONG = 240  # characters of an engine's words: some tell of all that they know


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
    if record is not None and (failure := _before_all_nodes(error, record, folder)):
        return failure
    if isinstance(error, JobFailedError | JobEndedError):
        return _failure_of_job(error, node)
    message, step = _without_step(str(error))
    expected = isinstance(error, UserError | StoreError)
    if not expected:
        message = f"{type(error).__name__}: {message}"
    if node is None and record is not None and step in record.nodes:  # its store has let nobody know
        message = f"{step}: {message}"
    return Failure(message, expected, traceback.format_exc())


def _without_step(words: str) -> tuple[str, str]:
    """Takes off the step that Beam's local runner appends; returns the node that it is a part of beside."""
    steps = re.findall(r"\[while running '([^'/]*)", words)
    return re.sub(r"\s*\[while running '[^']*'\]", "", words).strip(), steps[-1] if steps else ""


def _before_all_nodes(error: Exception, record: RunRecord, folder: RunFolder) -> Failure | None:
    """Finds why a job has come to none of its nodes: on a worker that the launcher does not know."""
    if any(node.began is not None for node in record.nodes.values()):
        return None
    with contextlib.suppress(OSError):  # a store that does not answer knows nothing of it either
        for report in folder.reports(PREFLIGHT):
            if report["error"]:
                return Failure(report["error"], not report["unexpected"], report["traceback"])
    message = why_unstarted(str(error))
    return Failure(message, True, traceback.format_exc()) if message else None


def _failure_of_job(error: JobFailedError | JobEndedError, node: NodeRecord | None) -> Failure:
    """What an engine says of its job, with the worker that was at work, whose name no engine knows."""
    worker = node.worker if node else ""
    words, whole = _gist(str(error))
    if isinstance(error, JobFailedError) and error.lost_worker:
        lost = f"the worker {worker}" if worker else "a worker that had not begun any stage"
        message = (
            f"the engine lost {lost}: it was killed, perhaps for lack of memory, or its machine is gone. Run "
            "again; where that happens again, give workers more memory or lower train.batch_size. The engine "
            f"says: {words}"
        )
        return Failure(message, True, traceback.format_exc())
    at_work = f" The last worker at work was {worker}." if worker else ""
    return Failure(f"{words.removesuffix('.')}.{at_work}", whole, traceback.format_exc())


def _gist(words: str) -> tuple[str, bool]:
    """The line that says most, of Python's tracebacks the last one, and whether it is all there is."""
    lines = words.strip().splitlines() or [""]
    line = lines[-1 if "Traceback (most recent call last)" in words else 0].strip()
    short = line if len(line) <= _LONG else f"{line[:_LONG]}…"
    return short, [short] == lines


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
