"""Watches a run from a thread of its own: observes it again and again, and hands the record on."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from types import TracebackType

from components import files, stores
from pipeline.run.observe import Observer
from pipeline.run.record import RunRecord

_LOCAL_SECONDS, _REMOTE_SECONDS = 0.5, 3.0  # between two looks

Listener = Callable[[RunRecord], None]


class Watcher:
    """Has listeners called with the run's record; a context manager.

    Args:
        observer: of the run.
        listeners: what fails in one of them does not fail the run.
    """

    def __init__(self, observer: Observer, listeners: list[Listener]) -> None:
        self._observer = observer
        self._listeners = listeners
        self._seconds = _LOCAL_SECONDS if files.is_local(observer.place) else _REMOTE_SECONDS
        self._looking = threading.Lock()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name="watcher", daemon=True)

    def __enter__(self) -> Watcher:
        """Starts the thread."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stops it, and looks once more."""
        self._stopped.set()
        if kind is KeyboardInterrupt:  # a look that hangs must not keep the user waiting
            return
        self._thread.join()
        with contextlib.suppress(Exception):
            self.look()

    def look(self) -> RunRecord | None:
        """Observes the run now."""
        with self._looking:
            record = self._observer.record()
            if record is not None:
                for listener in self._listeners:
                    with contextlib.suppress(Exception):
                        listener(record)
            return record

    def _work(self) -> None:
        while not self._stopped.wait(self._seconds):
            # A store that cannot be reached for a while is looked at again.
            with contextlib.suppress(Exception), stores.patience(self._seconds):
                self.look()
