"""What happens while a run goes on, told to whoever listens in this process.

Stages call `emit`; the console, the tracker and the run record listen. On a remote worker nobody listens
and nothing is lost: everything an event says is also in the stage's artifact.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class StageStarted:
    """A stage begins its work, in a directory that becomes its artifact unless it fails."""

    stage: str
    directory: str = ""


@dataclass(frozen=True)
class StageProgress:
    """How far a stage is: `done` of `total` units (total None: not known), with a word for people."""

    stage: str
    done: int
    total: int | None = None
    message: str = ""


@dataclass(frozen=True)
class EpochFinished:
    """One epoch of training is over; `epoch` counts from 1, `metrics` as in history.json."""

    epoch: int
    epochs: int
    metrics: dict[str, float]
    seconds: float


@dataclass(frozen=True)
class StageFinished:
    """A stage's artifact is complete in `directory`; `summary` is what its manifest keeps."""

    stage: str
    directory: str
    seconds: float
    summary: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Warned:
    """Something the user should know, that does not stop the run."""

    stage: str
    message: str


Event = StageStarted | StageProgress | EpochFinished | StageFinished | Warned
Listener = Callable[[Event], None]

_listeners: list[Listener] = []


def emit(event: Event) -> None:
    """Tells every listener of this process."""
    for listener in _listeners:
        listener(event)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Has `listener` called for every event until the block ends."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)
