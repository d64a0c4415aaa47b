"""Things sent in the background to something that may be unreachable for a while."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0  # seconds between two tries
_TRIES = 4  # after so many temporary failures the rest goes first


class Failure(Enum):
    """What an error says of the next try."""

    UNREACHABLE = "nobody answers: nothing else can be sent now either"
    TEMPORARY = "this was answered, but cannot be taken now"
    PERMANENT = "this can never be sent"


@dataclass
class _Item:
    """Something to send, with a name for people."""

    label: str
    send: Callable[[], None]
    sent: bool = False
    impossible: bool = False


class Delivery:
    """One thread that calls what is put, one after the other, and again where that may help.

    What fails temporarily a few times lets the others pass, and is tried again at the end. All the
    rest depends on what comes first: if that cannot be sent, nothing else is tried.

    Args:
        failure_of: says what kind of failure an error is.
    """

    def __init__(self, failure_of: Callable[[Exception], Failure]) -> None:
        self.error: Exception | None = None
        """The most recent failure."""
        self._judge = failure_of
        self._items: list[_Item] = []
        self._queue: queue.SimpleQueue[_Item | None] = queue.SimpleQueue()
        self._closing = threading.Event()
        self._given_up = False
        # A daemon, for a call that hangs must not keep the process from ending.
        self._thread = threading.Thread(target=self._work, name="delivery", daemon=True)

    def put(self, label: str, send: Callable[[], None]) -> None:
        """Has `send` called later; returns at once.

        Args:
            label: what is sent, for people.
            send: sends it; may be called again after it raised.
        """
        item = _Item(label, send)
        self._items.append(item)
        self._queue.put(item)
        if self._thread.ident is None:
            self._thread.start()

    def close(self, timeout: float) -> list[str]:
        """Waits until all is sent; from now on nothing is waited for, and it ends where nobody answers.

        Args:
            timeout: seconds to wait at most.

        Returns:
            The labels of what was not sent.
        """
        self._queue.put(None)
        self._closing.set()
        if self._thread.ident is not None:
            self._thread.join(timeout)
        return [item.label for item in self._items if not item.sent]

    def _work(self) -> None:
        while (item := self._queue.get()) is not None:
            self._send(item)
        for item in self._items:
            if not (item.sent or item.impossible):
                self._send(item)

    def _send(self, item: _Item) -> None:
        pause, tries = _FIRST_PAUSE, 0
        while not (item.sent or self._given_up):
            last_try = self._closing.is_set()
            try:
                item.send()
                item.sent = True
            except Exception as error:  # whatever goes wrong here must not reach the run
                self.error = error
                failure, tries = self._judge(error), tries + 1
                first = item is self._items[0]
                item.impossible = failure is Failure.PERMANENT
                if item.impossible or last_try:
                    self._given_up = first or failure is Failure.UNREACHABLE
                    return
                if failure is Failure.TEMPORARY and tries == _TRIES and not first:
                    return  # it is tried again at the end
                self._closing.wait(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
