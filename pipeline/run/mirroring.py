"""A run in MLflow while it goes on: begun, kept up to date, and waited for at the end."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pipeline.config.models import TrackingConfig
from pipeline.run.folder import RunFolder
from pipeline.run.observe import Observer
from pipeline.run.record import RunRecord

if TYPE_CHECKING:
    from pipeline.tracking.tracker import Tracker


class Mirroring:
    """Gives a run's records to its tracker, if it is to have one.

    Args:
        config: where runs are recorded.
        folder: of the run.
        observer: of the run.
        watch: whether the work is done on this machine, so that its load belongs to the run.
    """

    def __init__(self, config: TrackingConfig, folder: RunFolder, observer: Observer, watch: bool) -> None:
        self._config = config
        self._folder = folder
        self._observer = observer
        self._watch = watch
        self._tracker: Tracker | None = None
        self.latest: RunRecord | None = None
        """The newest record; None if the run never came to begin."""

    def start(self) -> None:
        """Begins the run in MLflow."""
        from pipeline.tracking.tracker import Tracker

        record = self._observer.record()
        if record is None:
            return
        if self._config.enabled:
            self._tracker = Tracker(self._config.uri, self._folder, self._watch)
        self.update(record)

    def update(self, record: RunRecord) -> None:
        """Has what is new sent, without waiting for it."""
        self.latest = record
        if self._tracker:
            self._tracker.update(record, self._observer.artifact)

    def close(self) -> None:
        """Sends no more than what is there, without waiting for it."""
        if self._tracker:
            self._tracker.leave()

    def finish(self, record: RunRecord | None, timeout: float, heard: Callable[[], None]) -> list[str]:
        """Waits until everything has been sent.

        Args:
            record: the last one; None where it cannot be had.
            timeout: seconds to wait.
            heard: called when an interrupt ends the waiting.

        Returns:
            What did not arrive, and what to do, for people.
        """
        if self._tracker is None:
            return []
        try:
            if record is not None:
                self.update(record)
            return self._tracker.finish(timeout)
        except KeyboardInterrupt:
            heard()
        return ["interrupted while MLflow was waited for: `rnnpipe track` sends the rest."]
