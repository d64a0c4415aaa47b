"""Worker processes on this machine: what they import first, what they log, and what happens when one dies."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from types import FrameType
from typing import TYPE_CHECKING, ClassVar

from components.errors import UserError
from pipeline.engines.local import LocalEngine

if TYPE_CHECKING:
    from apache_beam.runners.portability.fn_api_runner import FnApiRunner

WORKER = "pipeline.engines.worker"
"""What a worker imports first, as a plugin of Beam."""


class ProcessesEngine(LocalEngine):
    """Worker processes on this machine, as many as there are cores unless `direct_num_workers` says more."""

    ours: ClassVar = {"direct_num_workers": 0}

    def runner(self) -> FnApiRunner:
        """Returns Beam's runner with workers of ours, which print nothing."""
        from apache_beam.runners.portability.fn_api_runner import FnApiRunner
        from apache_beam.transforms.environments import SubprocessSDKEnvironment

        command = f"{shlex.quote(sys.executable)} -m pipeline.engines.quiet_worker"
        return FnApiRunner(SubprocessSDKEnvironment.from_command_string(command))

    @contextlib.contextmanager
    def prepared(self) -> Iterator[None]:
        """Has workers start quietly, and their death end the job."""
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
    options = {"default_sdk_harness_log_level": "CRITICAL", "beam_plugins": [WORKER]}
    # Beam hands none of its options to the processes that it starts on this machine.
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(options, file)
        file.flush()
        os.environ["PIPELINE_OPTIONS_FILE"] = file.name
        try:
            yield
        finally:
            del os.environ["PIPELINE_OPTIONS_FILE"]
