"""What the run knows of an engine: it is given a pipeline, and gives a job that may outlive its launcher."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from components.errors import UserError

if TYPE_CHECKING:
    import apache_beam as beam

Build = Callable[["beam.Pipeline"], None]
"""Adds the steps of a job to a pipeline."""


class JobFailedError(Exception):
    """A job did not come to its end.

    Args:
        message: what the engine says of it.
        lost_worker: whether that is the loss of a worker, and not an error in one.
    """

    def __init__(self, message: str, lost_worker: bool = False) -> None:
        super().__init__(message)
        self.lost_worker = lost_worker


class JobEndedError(Exception):
    """A job was cancelled, drained or updated where somebody else works with the engine; says which."""


class JobUnreachableError(UserError):
    """An engine whose jobs need no launcher gives no answer: the job may go on, to be attached to later."""


@dataclass(frozen=True)
class JobNote:
    """A job as the run's record holds it, so that a later command finds it again.

    Args:
        engine: the runner's type.
        id: by which the engine knows it.
        name: which follows from the plan, with an ending that was drawn where engines use ids twice.
        page: where people can look at it; empty if the engine has no such page.
        detached: whether it was meant to outlive its launcher.
    """

    engine: str
    id: str
    name: str
    page: str = ""
    detached: bool = False


class Job(ABC):
    """A job of an engine."""

    @property
    @abstractmethod
    def note(self) -> JobNote | None:
        """How it is found again; None if it ends with this process."""

    @abstractmethod
    def wait(self) -> None:
        """Waits for the end, which may have been long ago.

        Raises:
            JobFailedError: if it failed.
            JobEndedError: if somebody has ended it.
            JobUnreachableError: if it may go on, and nobody can say.
        """

    @abstractmethod
    def cancel(self) -> None:
        """Has the engine stop it; what it has finished is kept.

        Raises:
            UserError: if it could not be told to stop, and goes on without its launcher.
        """


class Engine(ABC):
    """What runs a Beam pipeline."""

    elsewhere: ClassVar[bool] = False
    """Whether its workers may be on other machines, in other folders, without this package."""
    detaches: ClassVar[bool] = False
    """Whether its jobs go on without the process that has submitted them."""

    @abstractmethod
    def submit(self, build: Build, name: str, packages: Sequence[Path] = ()) -> Job:
        """Has a pipeline run.

        Args:
            build: adds its steps.
            name: of the job; it follows from the plan.
            packages: source distributions that workers install first; only for those that are elsewhere.

        Raises:
            UserError: if the engine cannot be reached, or does not take the job.
        """

    def find(self, note: JobNote) -> Job | None:
        """Finds a job that was submitted before.

        Returns:
            None if the engine does not know it (any more).

        Raises:
            UserError: if the engine cannot be reached.
        """
        return None
