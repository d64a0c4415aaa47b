"""A process that trains one trial after the other for the worker that started it.

It shares nothing with the worker but a connection: what it receives is (trial, inputs, summary), what it
answers is ("needs", bytes), to wait until there is so much memory, and then (True, Made) or (False, error).
"""

from __future__ import annotations

import os
import sys
import threading
import warnings
from collections.abc import Mapping
from multiprocessing.connection import Connection
from typing import Any

from components.artifacts.artifact import Reference
from components.train.transform import Trial, train_here
from components.work import Made


def main(connection: Connection, lifeline: int) -> None:
    """Works until the connection is closed.

    Args:
        connection: to the worker.
        lifeline: a pipe that is closed when the worker ends, however it does.
    """
    threading.Thread(target=_end_with, args=(lifeline,), daemon=True).start()
    warnings.filterwarnings("ignore")
    while True:
        try:
            trial, inputs, summary = connection.recv()
        except EOFError:
            return
        connection.send(_answer(connection, trial, inputs, summary))


def _answer(
    connection: Connection, trial: Trial, inputs: Mapping[str, Reference], summary: Any
) -> tuple[bool, Made | Exception]:
    import keras

    def admit(needed: int) -> None:
        connection.send(("needs", needed))
        connection.recv()

    keras.utils.clear_session()
    try:
        return True, train_here(trial, dict(inputs), summary, admit)
    except Exception as error:
        return False, error


def _end_with(lifeline: int) -> None:
    os.read(lifeline, 1)
    os._exit(1)


if __name__ == "__main__":
    main(Connection(int(sys.argv[1])), int(sys.argv[2]))
