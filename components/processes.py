"""Processes that do not outlive the one that started them, whatever becomes of that."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from typing import IO

_GRACE = 20  # seconds that a process has to end by itself

# Waits for the end of its standard input, which is the end of the process that started it.
_GUARD = (
    'trap "" INT TERM HUP; cat > /dev/null; kill -s TERM -- "-$1" 2> /dev/null || exit 0; '
    f'sleep {_GRACE}; kill -s KILL -- "-$1" 2> /dev/null'
)


@contextlib.contextmanager
def owned_process(
    command: Sequence[str], environment: Mapping[str, str] | None = None, output: IO[bytes] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Starts a process, and ends it with all the processes that it has started.

    It is ended with the block, and also if this process is killed meanwhile.

    Args:
        command: what to start.
        environment: what it needs beside this process's environment.
        output: where it writes; by default where this process does.
    """
    process = subprocess.Popen(
        command,
        stdout=output,
        stderr=output,
        env={**os.environ, **(environment or {})},
        start_new_session=True,
    )
    try:
        guard = subprocess.Popen(
            ["/bin/sh", "-c", _GUARD, "sh", str(process.pid)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            # First: once the process has ended its number may be another's.
            guard.kill()
            guard.communicate()
    finally:
        end_group(process)


def end_group(process: subprocess.Popen[bytes]) -> None:
    """Ends a process that leads a session, with all the processes that it has started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(_GRACE)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
