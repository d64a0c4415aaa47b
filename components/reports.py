"""What workers report of themselves: one status object for each process and node, beside the run's record.

Stages call `emit`, wherever they run. What is emitted goes into the status object, which is put whole: what
matters at once, the rest every two seconds, of long work every thirty. In the process that shows a progress
bar, listeners hear of it too, which only makes the bar smoother.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any

from typing_extensions import TypedDict
from upath import UPath

from components import files, stores
from components.errors import UserError

_SECONDS = 2.0  # between two puts of the same status, unless something must be known at once
# Of work that takes longer than so many seconds less often, in proportion, at most by this factor:
# every put of every worker is paid for.
_LONG, _RARER = 100.0, 15.0
_PATIENCE, _HURRY = 5.0, 1.0  # seconds that a store is waited for, which is told more of it soon
_PROCESS = uuid.uuid4().hex[:12]


@dataclass(frozen=True)
class Progress:
    """How far a stage is: `done` of `total` units (total None: not known), with a word for people."""

    stage: str
    done: int
    total: int | None = None
    message: str = ""


@dataclass(frozen=True)
class EpochFinished:
    """One epoch of training is over; `epoch` counts from 1, `metrics` as in history.json."""

    stage: str
    epoch: int
    epochs: int
    metrics: dict[str, float]
    seconds: float


@dataclass(frozen=True)
class Warned:
    """Something the user should know, that does not stop the run."""

    stage: str
    message: str


class Status(TypedDict):
    """What a process reports of a node: a status object.

    `worker` names the machine and the process, `state` is running or idle, `began` and the epochs' `at` are
    in seconds since 1970, `epochs` is how many there are to be, `history` holds their metrics, `unexpected`
    says that `error` was not meant for the user.
    """

    node: str
    state: str
    began: float
    step: str
    worker: str
    attempts: int
    progress: ProgressMade | None
    epochs: int
    history: list[dict[str, float]]
    warnings: list[str]
    error: str
    unexpected: bool
    traceback: str


class ProgressMade(TypedDict):
    """How far a node is, as in `Progress`."""

    done: int
    total: int | None
    message: str


Event = Progress | EpochFinished | Warned
Listener = Callable[[Event], None]

_listeners: list[Listener] = []
_reporters: dict[str, _Reporter] = {}
_lock = threading.RLock()
_at_work: ContextVar[_Reporter | None] = ContextVar("at work", default=None)


def emit(event: Event) -> None:
    """Reports an event of the attempt at work, and tells every listener of this process."""
    reporter = _at_work.get()
    if reporter is not None:
        reporter.note(event)
        event = replace(event, stage=reporter.node)
    for listener in tuple(_listeners):
        listener(event)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Has `listener` called for every event of this process until the block ends."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


@contextmanager
def reporting(node: str, place: UPath | None, attempt: str, step: str = "") -> Iterator[None]:
    """Reports an attempt: that it is at work, what is emitted in the block, and how it ends.

    Args:
        node: whose work it is.
        place: the folder of the node's status objects; None: nothing is written.
        attempt: its id.
        step: what is done, in a word.
    """
    before = _at_work.get()
    if place is None:
        _at_work.set(None)  # what is emitted here is not of the attempt around it
        try:
            yield
        finally:
            _at_work.set(before)
        return
    with _lock:
        # One writer for as long as the process lives: engines start small bundles by the thousand.
        reporter = _reporters.setdefault(str(place), _Reporter(node, place))
    reporter.begin(attempt, step)
    _at_work.set(reporter)
    try:
        yield
    except BaseException as error:
        reporter.end(attempt, error)
        raise
    else:
        reporter.end(attempt, None)
    finally:
        _at_work.set(before)


def report_death(place: UPath | None, pid: int, error: str) -> None:
    """Reports for a process of this machine that it has died at work.

    Args:
        place: the folder of the node's status objects; None: nothing is written.
        pid: of the process, which has begun to report, or has not.
        error: for people.
    """
    if place is None:
        return
    with contextlib.suppress(Exception):  # a failure to report is no failure of the run
        names = [entry.path for entry in files.entries(place) if entry.path.name.endswith(f"-{pid}.json")]
        path = names[-1] if names else place / f"{_PROCESS}-{pid}.json"
        said = json.loads(files.read(path)) if names else _Reporter(place.name, place).status
        files.write(path, json.dumps({**said, "state": "idle", "error": error, "unexpected": False}).encode())


class _Reporter:
    """Keeps the status object of one process and node."""

    def __init__(self, node: str, place: UPath) -> None:
        self.node = node
        self.at_work: set[str] = set()
        """Attempts that have begun and not ended."""
        self._path = place / f"{_PROCESS}-{os.getpid()}.json"
        self._lock = threading.Lock()
        self._written = 0.0
        self._lost = False
        self.status: Status = {
            "node": node,
            "state": "running",
            "began": time.time(),
            "step": "",
            "worker": f"{socket.gethostname()} (process {os.getpid()})",
            "attempts": 0,
            "progress": None,
            "epochs": 0,
            "history": [],
            "warnings": [],
            "error": "",
            "unexpected": False,
            "traceback": "",
        }

    def begin(self, attempt: str, step: str) -> None:
        with self._lock:
            self.at_work.add(attempt)
            first = not self.status["attempts"]
            self.status["attempts"] += 1
            self._set(state="running", step=step)
            self._put(at_once=first)

    def end(self, attempt: str, error: BaseException | None) -> None:
        with self._lock:
            self.at_work.discard(attempt)
            if isinstance(error, Exception):
                expected = isinstance(error, UserError)
                self._set(
                    error=str(error) if expected else f"{type(error).__name__}: {error}",
                    unexpected=not expected,
                    traceback="".join(traceback.format_exception(error)),
                )
            if not self.at_work:
                self._set(state="idle")
            # What went wrong is worth waiting for; who interrupts does not wait.
            patience = None if isinstance(error, Exception) else _PATIENCE if error is None else _HURRY
            self._put(at_once=error is not None or self._lost, patience=patience)

    def note(self, event: Event) -> None:
        with self._lock:
            if isinstance(event, Progress):
                self._set(progress={"done": event.done, "total": event.total, "message": event.message})
                self._put()
                return
            if isinstance(event, EpochFinished):
                epoch = {"epoch": event.epoch, **event.metrics, "seconds": event.seconds}
                history = [*self.status["history"], {**epoch, "at": time.time()}]
                self._set(epochs=event.epochs, history=history)
            elif event.message not in self.status["warnings"]:
                self._set(warnings=[*self.status["warnings"], event.message])
            self._put(at_once=True)

    def _set(self, **changes: Any) -> None:
        self.status.update(changes)  # type: ignore[typeddict-item]

    def _put(self, at_once: bool = False, patience: float | None = _PATIENCE) -> None:
        now = time.time()
        pause = _SECONDS * min(max((now - self.status["began"]) / _LONG, 1.0), _RARER)
        if not at_once and now - self._written < pause:
            return
        self._written = now
        try:
            with contextlib.nullcontext() if patience is None else stores.patience(patience):
                files.write(self._path, json.dumps(self.status, ensure_ascii=False, default=str).encode())
            self._lost = False
        except Exception:  # a failure to report is no failure of the run
            self._lost = True
