"""Trials of a sweep in child processes: what one does to its process is no other one's affair.

Children are started by name and not forked, so that they hold nothing of their worker; they are used again,
as TensorFlow takes seconds to load. A child ends with its worker, however that ends.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from multiprocessing.connection import Connection
from typing import IO, Any

from components.artifacts.artifact import Reference
from components.errors import UserError
from components.memory import free_memory
from components.reports import report_death
from components.train.transform import Trial
from components.work import Made

_lock = threading.Lock()
_pool: Pool | None = None


def pool_of(parallel: int) -> Pool:
    """Returns this process's children, of which so many work at the same time."""
    global _pool
    with _lock:
        if _pool is not None and _pool.parallel != parallel:
            _pool.end()
            _pool = None
        _pool = _pool or Pool(parallel)
        return _pool


def end_children() -> None:
    """Ends this process's children, whatever they are at."""
    global _pool
    with _lock:
        if _pool is not None:
            _pool.end()
            _pool = None


class Pool:
    """Trains trials in child processes.

    Args:
        parallel: how many at the same time, at most.
    """

    def __init__(self, parallel: int) -> None:
        self.parallel = parallel
        self._waiting: queue.SimpleQueue[tuple[Future[Made], Any] | None] = queue.SimpleQueue()
        self._memory = _Memory()
        self._children: set[_Child] = set()
        self._ended = False
        for _ in range(parallel):
            threading.Thread(target=self._work, name="trials", daemon=True).start()

    def submit(self, trial: Trial, inputs: Mapping[str, Reference], summary: Any) -> Future[Made]:
        """Has a trial trained as soon as a child is free.

        Args:
            trial: what is trained.
            inputs: what the stage reads.
            summary: what the encoder has to know of the train split; None if nothing.

        Returns:
            What it made, or why it failed. As long as no child has begun with it, it can be cancelled.
        """
        future: Future[Made] = Future()
        self._waiting.put((future, (trial, dict(inputs), summary)))
        return future

    def end(self) -> None:
        """Ends the children; what waits is never done."""
        self._ended = True
        for child in list(self._children):
            child.kill()
        for _ in range(self.parallel):
            self._waiting.put(None)

    def _work(self) -> None:
        child: _Child | None = None
        while (waiting := self._waiting.get()) is not None and not self._ended:
            future, work = waiting
            if not future.set_running_or_notify_cancel():
                continue
            try:
                if child is None:
                    child = _Child(max(_cores() // self.parallel, 1))
                    self._children.add(child)
                future.set_result(child.train(work, self._memory))
            except _DiedError as error:
                assert child is not None
                self._children.discard(child)
                if not self._ended:
                    trial: Trial = work[0]
                    report_death(trial.work.status, child.pid, str(error))
                child = None
                future.set_exception(UserError(str(error)))
            except BaseException as error:
                future.set_exception(error)


class _DiedError(Exception):
    """A child has ended in the middle of its work."""


class _Memory:
    """Admits trainings as long as the memory suffices for all of them; a single one always."""

    def __init__(self) -> None:
        self._free = free_memory()
        self._held: dict[int, int] = {}
        self._changed = threading.Condition()

    def take(self, child: int, needed: int) -> None:
        """Waits until there is so much."""
        with self._changed:
            self._changed.wait_for(lambda: not self._held or sum(self._held.values()) + needed <= self._free)
            self._held[child] = needed

    def give_back(self, child: int) -> None:
        """Ends what `take` has begun."""
        with self._changed:
            self._held.pop(child, None)
            self._changed.notify_all()


class _Child:
    """One child process.

    Args:
        threads: that TensorFlow may use in it.
    """

    def __init__(self, threads: int) -> None:
        ours, its = socket.socketpair()
        for end in (ours, its):
            end.setblocking(
                True
            )  # even where a library has set a default timeout, as Beam's Dataflow client does
        lifeline, self._lifeline = os.pipe()
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (it lives as long as the child)
        with its:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "components.train.child", str(its.fileno()), str(lifeline)],
                pass_fds=(its.fileno(), lifeline),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._errors,
                env={**os.environ, **_environment(threads)},
                start_new_session=True,  # Ctrl-C is for the worker, which ends it
            )
        os.close(lifeline)
        self._connection = Connection(ours.detach())
        self.pid = self._process.pid
        """Its process."""

    def train(self, work: Any, memory: _Memory) -> Made:
        """Trains a trial.

        Args:
            work: (trial, inputs, summary).
            memory: that it shares with the others.

        Raises:
            _DiedError: if the process has ended.
            Exception: what the training raised.
        """
        try:
            self._connection.send(work)
            while (answer := self._connection.recv())[0] == "needs":
                memory.take(self.pid, answer[1])
                self._connection.send(None)
        except (EOFError, OSError) as error:
            raise _DiedError(self._obituary()) from error
        finally:
            memory.give_back(self.pid)
        done, result = answer
        if done:
            made: Made = result
            return made
        raise result

    def kill(self) -> None:
        """Ends it at once."""
        with contextlib.suppress(OSError):
            os.close(self._lifeline)
        self._process.kill()

    def _obituary(self) -> str:
        """Why it has ended, for people."""
        code = self._process.wait()
        if code < 0:
            name = signal.Signals(-code).name
            perhaps = ", perhaps for lack of memory" if -code == signal.SIGKILL else ""
            return f"the process of the trial was killed by {name}{perhaps}; the next run tries it again"
        self._errors.seek(0)
        lines = [line for line in self._errors.read().decode("utf-8", "replace").splitlines() if line.strip()]
        last = f": {lines[-1].strip()}" if lines else ""
        return f"the process of the trial ended with exit code {code}{last}; the next run tries it again"


def _environment(threads: int) -> dict[str, str]:
    """What must be set before TensorFlow is loaded."""
    return {
        "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path),
        "OMP_NUM_THREADS": str(threads),
        "TF_NUM_INTRAOP_THREADS": str(threads),
        "TF_NUM_INTEROP_THREADS": str(threads),
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",  # several share a device
    }


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
