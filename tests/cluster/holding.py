"""What a worker imports where a test is to meet it in a stage: it waits there until the test lets it go.

The test writes the stage's name to ~/hold. The worker that has written a file of that stage, or finished an
epoch of training, and has not committed it, writes its process id to ~/held.
"""

import os
import time
from pathlib import Path

from components.reports import EpochFinished, _Reporter
from components.work import Attempt

_HOLD, _HELD = Path.home() / "hold", Path.home() / "held"
_add, _note = Attempt.add, _Reporter.note


def _wait_in(stage):
    try:
        if _HOLD.read_text() != stage:
            return
    except FileNotFoundError:
        return
    aside = _HELD.with_suffix(".part")
    aside.write_text(str(os.getpid()))
    aside.rename(_HELD)
    while _HOLD.exists():
        time.sleep(0.05)


def _add_and_wait(self, name):
    added = _add(self, name)
    _wait_in(self._folder.parent.parent.name)
    return added


def _note_and_wait(self, event):
    _note(self, event)
    if isinstance(event, EpochFinished):
        _wait_in(self.node)


Attempt.add, _Reporter.note = _add_and_wait, _note_and_wait
