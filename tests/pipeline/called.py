"""The command line in a process of its own, and what it imports."""

import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
HEAVY = {"tensorflow", "keras", "apache_beam", "mlflow", "numpy", "pyarrow", "matplotlib"}

_PROGRAM = """\
import atexit, sys
atexit.register(lambda: print("MODULES", *(name for name in sys.modules if "." not in name)))
from pipeline.cli import main
main()
"""


def call(*arguments):
    """Runs the command line; returns exit code, output, errors and the heavy packages that it imported."""
    code, out, errors, modules = call_in(REPOSITORY, 150, *arguments)
    return code, out, errors, sorted(HEAVY & modules)


def call_in(cwd, columns, *arguments):
    """Runs it in a folder, and a terminal so wide; returns the same with all packages that it imported."""
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "COLUMNS": str(columns), "NO_COLOR": "1"},
    )
    out, _, modules = done.stdout.rpartition("MODULES")
    return done.returncode, out, done.stderr, set(modules.split())
