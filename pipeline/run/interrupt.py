"""Ctrl-C: soon, and with everything finished kept."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

EXIT_CODE = 130
_GRACE = 1.5  # seconds for Python to hear of the interrupt before the process is ended
_LAST_WORDS = 10.0  # seconds to write them


@contextmanager
def interruptible(last_words: Callable[[], None]) -> Iterator[Callable[[], None]]:
    """Turns SIGINT in the block into KeyboardInterrupt, or ends the process if that is not heard in time.

    Python handles signals between bytecodes, and a long native call (learning a vocabulary, compiling a
    graph) has none; a thread that is woken by the C-level handler ends the process in that case. So it does
    where the exception is raised in a destructor, which drops it.

    Args:
        last_words: called before the process is ended by the thread.

    Yields:
        What to call once the interrupt has been heard: the thread then leaves the process alone.
    """
    waker, sleeper = socket.socketpair()
    waker.setblocking(False)
    sleeper.setblocking(True)  # even where a library has set a default timeout
    heard = threading.Event()

    def watch() -> None:
        while woken_by := sleeper.recv(1):
            if woken_by[0] == signal.SIGINT and not heard.wait(_GRACE):
                speaking = threading.Thread(target=last_words, daemon=True, name="last-words")
                speaking.start()
                speaking.join(_LAST_WORDS)  # a store that hangs must not keep the process alive
                os._exit(EXIT_CODE)

    def interrupt(number: int, frame: FrameType | None) -> None:
        # Beam rebuilds the exception from its one argument.
        raise KeyboardInterrupt("interrupted")

    report = sys.unraisablehook

    def report_others(unraisable: sys.UnraisableHookArgs) -> None:
        if not isinstance(unraisable.exc_value, KeyboardInterrupt):
            report(unraisable)

    sys.unraisablehook = report_others
    before = signal.signal(signal.SIGINT, interrupt)
    wakeup = signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
    thread = threading.Thread(target=watch, daemon=True, name="interrupt-watch")
    thread.start()
    try:
        yield heard.set
    finally:
        heard.set()
        signal.set_wakeup_fd(wakeup)
        signal.signal(signal.SIGINT, before)
        sys.unraisablehook = report
        waker.close()
        thread.join()
        sleeper.close()
