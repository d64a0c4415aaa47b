"""Signs of life: a small object that is written again every few seconds for as long as somebody works.

It only saves work: where it cannot be written or read, all goes on as if there were none.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import uuid
from types import TracebackType

from upath import UPath

from components import files, stores


class Heartbeat:
    """Beats for as long as the block lasts.

        with Heartbeat(folder / "heartbeat"):
            work()

    Args:
        place: of the object.
        seconds: between two beats.
        name: whose heartbeat it is; drawn if nothing is said.
    """

    def __init__(self, place: UPath, seconds: float = 5.0, name: str = "") -> None:
        self.name = name or uuid.uuid4().hex[:16]
        self._place = place
        self._seconds = seconds
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._go_on, name="heartbeat", daemon=True)

    def __enter__(self) -> Heartbeat:
        self._beat()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join(self._seconds)
        with contextlib.suppress(Exception), stores.patience(self._seconds):
            if json.loads(files.read(self._place))["name"] == self.name:
                files.delete([self._place])

    def _go_on(self) -> None:
        while not self._ended.wait(self._seconds):
            self._beat()

    def _beat(self) -> None:
        said = {"name": self.name, "host": socket.gethostname(), "pid": os.getpid()}
        with contextlib.suppress(Exception), stores.patience(self._seconds):
            files.write(self._place, json.dumps(said).encode())


def is_beating(place: UPath, others_than: str = "", stale: float = 20.0, unknown: bool = False) -> bool:
    """Whether somebody works there.

    Args:
        place: of the object.
        others_than: a name that does not count.
        stale: seconds without a beat, by the clock of the store, after which nobody does.

        unknown: what is returned where that cannot be known.
    """
    try:
        said = json.loads(files.read(place))
        if said["name"] == others_than or _has_ended(said):
            return False
        beaten = [entry for entry in files.entries(place.parent) if str(entry.path) == str(place)]
        return bool(beaten) and files.clock(place.parent) - beaten[0].modified < stale
    except FileNotFoundError:
        return False
    except Exception:
        return unknown


def _has_ended(said: dict[str, object]) -> bool:
    """Whether the process was one of this machine, and is gone."""
    if said["host"] != socket.gethostname() or not isinstance(said["pid"], int):
        return False
    try:
        os.kill(said["pid"], 0)
    except ProcessLookupError:
        return True
    except OSError:  # it is somebody else's
        return False
    return False
