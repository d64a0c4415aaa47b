"""Keeps the mirror up to date while a run goes on, without ever holding the run up.

One background thread takes the newest record and has it mirrored; while MLflow fails it tries again. What
has not arrived when the run is over is named, and can be sent later: see track.py.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Sequence
from dataclasses import replace

from components.redaction import without_password
from pipeline.run.folder import RunFolder
from pipeline.run.record import RunRecord
from pipeline.tracking.mirror import Mirror
from pipeline.tracking.mlflow_client import Failure, failure_of, one_line, quiet_mlflow
from pipeline.tracking.part import Point
from pipeline.tracking.stage_parts import Artifacts
from pipeline.tracking.system_metrics import INTERVAL, SystemMetrics

_NAMED = 8  # of what did not arrive
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0  # seconds between two syncs, and at most while MLflow fails


class Tracker:
    """A run in MLflow, while it goes on or afterwards.

    Args:
        uri: where MLflow keeps its runs, as Mirror takes it.
        folder: of the run.
        watch: whether metrics of this machine are sent, too; those that MLflow cannot take at once are lost.
    """

    def __init__(self, uri: str, folder: RunFolder, watch: bool = True) -> None:
        # Not in the thread: two threads that import large packages at once may meet half-made modules.
        quiet_mlflow()
        self._mirror = Mirror(uri, folder)
        self._run = folder.id
        self._newest: tuple[RunRecord, Artifacts] | None = None
        self._machine = SystemMetrics() if watch else None
        self._wake, self._closing = threading.Event(), threading.Event()
        # A daemon, for a call that hangs must not keep the process from ending.
        self._thread = threading.Thread(target=self._work, name="tracker", daemon=True)

    def update(self, record: RunRecord, artifacts: Artifacts) -> None:
        """Has a record mirrored; returns at once, and may be called as often as one likes.

        Args:
            record: the run's, as it is now.
            artifacts: gives those of its nodes.
        """
        if record.goes_on:  # what changes all the time is not mirrored
            nodes = {name: replace(node, progress=None) for name, node in record.nodes.items()}
            record = replace(record, seconds=0.0, nodes=nodes)
        before, self._newest = self._newest, (record, artifacts)
        if before is None:
            self._thread.start()
        if before is None or before[0] != record:
            self._wake.set()

    def leave(self) -> None:
        """Has it end after the newest record, without waiting for that."""
        self._closing.set()
        self._wake.set()

    def finish(self, timeout: float = 30.0) -> list[str]:
        """Waits until all of the newest record has arrived; from now on no failure is waited for.

        Args:
            timeout: seconds to wait at most.

        Returns:
            What the user should know: nothing, or one sentence that names what did not arrive.
        """
        if self._newest is None:
            return []
        self.leave()
        self._thread.join(timeout)
        missing: tuple[str, ...] = ("the run",)
        with contextlib.suppress(Exception):  # of the store
            missing = self._mirror.missing(*self._newest)
        if not missing:
            return []
        error = self._mirror.error
        reason = one_line(error) or f"no answer in {timeout:g} s"
        lasting = error is not None and failure_of(error) is Failure.PERMANENT
        later = f"`rnnpipe track {self._run}` sends it {'once that is put right' if lasting else 'later'}"
        if without_password(self._mirror.uri) != self._mirror.uri:
            later += ", with the whole address in MLFLOW_TRACKING_URI, for records hold no password"
        return [
            f"MLflow at {without_password(self._mirror.uri)} did not get {_listed(missing)}: {reason}. "
            f"The artifacts are complete: {later}."
        ]

    def _work(self) -> None:
        pause, last = _FIRST_PAUSE, False
        while not last:
            self._wake.wait(INTERVAL if self._machine else None)
            self._wake.clear()
            last = self._closing.is_set()
            assert self._newest is not None
            again = self._mirror.sync(*self._newest)
            if again:
                self._wake.set()
            elif self._machine:
                self._send_sample(self._machine)
            self._closing.wait(pause)
            pause = min(2 * pause, _LONGEST_PAUSE) if again else _FIRST_PAUSE

    def _send_sample(self, machine: SystemMetrics) -> None:
        with contextlib.suppress(Exception):
            sample, now = machine.sample(), round(1000 * time.time())
            self._mirror.log_sample([Point(name, value, now, machine.step) for name, value in sample.items()])


def _listed(missing: Sequence[str]) -> str:
    """What did not arrive, in a line also where a sweep has many trials."""
    more = len(missing) - _NAMED
    return ", ".join(missing[:_NAMED]) + (f" and {more} more" if more > 0 else "")
