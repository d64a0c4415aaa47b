"""Worker processes on this machine: what they import first, what they log, and what happens when one dies."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import tempfile
import threading
from collections.abc import Iterator
from types import FrameType

from components.errors import UserError

OPTIONS = ["--direct_running_mode=multi_processing", "--direct_num_workers=0"]  # as many as there are cores

_WORKER = "pipeline.run.worker"  # what worker processes import first


@contextlib.contextmanager
def worker_processes() -> Iterator[None]:
    """Prepares this process for a job in worker processes, as `OPTIONS` have Beam run it."""
    with _quiet_workers(), _watched_workers():
        yield


@contextlib.contextmanager
def _watched_workers() -> Iterator[None]:
    """Has the death of a worker process end the job, which would wait for it for ever.

    Raises:
        UserError: in the block, when one has died.
    """
    main = threading.current_thread()
    before = threading.excepthook

    def notice(arguments: threading.ExceptHookArgs) -> None:
        if "Worker subprocess exited" in str(arguments.exc_value):
            signal.pthread_kill(main.ident or 0, signal.SIGUSR1)
        else:
            before(arguments)

    def end(number: int, frame: FrameType | None) -> None:
        raise UserError(
            "a worker process was killed, perhaps for lack of memory. What is finished is kept: run again, "
            "or with `runner: {type: local}` in one process."
        )

    if main is not threading.main_thread():
        yield
        return
    handler = signal.signal(signal.SIGUSR1, end)
    threading.excepthook = notice
    try:
        yield
    finally:
        threading.excepthook = before
        signal.signal(signal.SIGUSR1, handler)


@contextlib.contextmanager
def _quiet_workers() -> Iterator[None]:
    """Has worker processes log nothing: what goes wrong there is in their status objects."""
    options = {"default_sdk_harness_log_level": "CRITICAL", "beam_plugins": [_WORKER]}
    # Beam hands none of its options to the processes that it starts on this machine.
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(options, file)
        file.flush()
        os.environ["PIPELINE_OPTIONS_FILE"] = file.name
        try:
            yield
        finally:
            del os.environ["PIPELINE_OPTIONS_FILE"]
