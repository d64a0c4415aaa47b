"""The command line, killed as by kill -9 once a stage has written its first file, before it has committed.

python killing.py STAGE run pipeline.yaml
"""

import os
import signal
import sys

from components.work import Attempt
from pipeline.cli import main

_STAGE = sys.argv.pop(1)
_add = Attempt.add


def _add_and_die(self, name):
    added = _add(self, name)
    if f"/{_STAGE}/" in str(self._folder):
        os.kill(os.getpid(), signal.SIGKILL)
    return added


Attempt.add = _add_and_die
main()
