"""Things sent in the background, in order, to something that may be away for a while."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass

_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0  # seconds between two tries


@dataclass
class _Item:
    """Something to send, with a name for people."""

    label: str
    send: Callable[[], None]
    sent: bool = False


class Delivery:
    """One thread that calls what is put, one after the other, and again where that may help.

    What comes first is what all the rest depends on: if it cannot be sent, nothing else is tried.

    Args:
        passing: tells for an error whether the same call may succeed later.
    """

    def __init__(self, passing: Callable[[Exception], bool]) -> None:
        self.error: Exception | None = None
        """The most recent failure."""
        self._passing = passing
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
        """Waits until all is sent; from now on the first call that fails is the last.

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
            if not self._given_up:
                self._send(item)

    def _send(self, item: _Item) -> None:
        pause = _FIRST_PAUSE
        while not item.sent:
            last_try = self._closing.is_set()
            try:
                item.send()
                item.sent = True
            except Exception as error:  # whatever goes wrong here must not reach the run
                self.error = error
                hopeless = not self._passing(error)
                if hopeless or last_try:
                    self._given_up = not hopeless or item is self._items[0]
                    return
                self._closing.wait(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
