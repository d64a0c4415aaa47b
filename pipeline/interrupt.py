"""Ctrl-C: soon, and with everything finished kept."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

EXIT_CODE = 130
_GRACE = 2.0  # seconds for Python to hear of the interrupt before the process is ended


@contextmanager
def interruptible(last_words: Callable[[], None]) -> Iterator[None]:
    """Turns SIGINT in the block into KeyboardInterrupt, or ends the process if that is not heard in time.

    Python handles signals between bytecodes, and a long native call (learning a vocabulary, compiling a
    graph) has none; a thread that is woken by the C-level handler ends the process in that case.

    Args:
        last_words: called before the process is ended by the thread.
    """
    waker, sleeper = socket.socketpair()
    waker.setblocking(False)
    over = threading.Event()

    def watch() -> None:
        if sleeper.recv(1) == bytes([signal.SIGINT]) and not over.wait(_GRACE):
            last_words()
            os._exit(EXIT_CODE)

    def interrupt(number: int, frame: FrameType | None) -> None:
        # Beam builds the exception anew from its one argument.
        raise KeyboardInterrupt("interrupted")

    before = signal.signal(signal.SIGINT, interrupt)
    wakeup = signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
    threading.Thread(target=watch, daemon=True, name="interrupt-watch").start()
    try:
        yield
    finally:
        over.set()
        signal.set_wakeup_fd(wakeup)
        signal.signal(signal.SIGINT, before)
        waker.close()
