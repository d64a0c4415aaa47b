"""Standard output and standard error: a run must not fail because a line cannot be printed."""

from __future__ import annotations

import codecs
import contextlib
import io
import json
import logging
import os
import sys
from typing import IO, TextIO, cast

_ESCAPES = "rnnpipe-escapes"


def _escaped(error: UnicodeError) -> tuple[str, int]:
    """Replaces what cannot be encoded by escapes that JSON knows, too: predictions stay valid JSON."""
    assert isinstance(error, UnicodeEncodeError)
    return json.dumps(error.object[error.start : error.end])[1:-1], error.end


def prepare_output() -> None:
    r"""Has characters that a terminal's encoding lacks written as \uXXXX, and warnings as plain lines."""
    codecs.register_error(_ESCAPES, _escaped)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_ESCAPES)
    log = logging.getLogger("rnnpipe")
    if logging.lastResort is not None and not log.handlers:
        # Not the libraries' handlers, which add levels and names.
        log.addHandler(logging.lastResort)
        log.propagate = False


def drop_output() -> None:
    """Has all that is written to standard output from now on dropped, by Python's exit as well."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


class _Steady:
    """A stream that a run can do without: once it cannot be written, what follows is dropped."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError:  # `| head -1` has read enough, or the log is on a disk that is full
            drop_output()
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError:
            drop_output()

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)


def steady_output() -> IO[str]:
    """Returns standard output as a stream whose failures are no failures of who writes to it."""
    return cast(IO[str], _Steady(sys.stdout))
