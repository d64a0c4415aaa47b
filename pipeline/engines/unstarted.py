"""Why no step of a job began, where only the engine can say: no worker came, or it could not report.

Workers that do not see the root write no status objects, and those without rnnpipe run none of its code.
"""

from __future__ import annotations

import re

from pipeline.engines.sources import OWN

_RAISED = re.compile(r"components\.errors\.UserError: (.*?)(?=\s*\[while running|\n\n|\nTraceback|\Z)", re.S)
_MISSING = re.compile(r"ModuleNotFoundError: No module named '(\w+)")
_NOBODY = re.compile(r"didn't get control connection to \S+ after (\S+)")  # Prism's words

_REMEDY = (
    "Start workers by Beam's own start program (a worker pool with --container_executable, or Beam's "
    "images), or give them an image that is built from docker/worker/Dockerfile: docs/runners.md, What "
    "travels."
)


def why_unstarted(text: str) -> str:
    """Makes a sentence of an engine's words.

    Args:
        text: what the engine says of a job of which no node has begun.

    Returns:
        Empty if it means nothing that is known here.
    """
    if raised := _RAISED.findall(text):
        return str(raised[-1]).strip()
    if missing := _MISSING.search(text):
        return _without(missing[1])
    if nobody := _NOBODY.search(text):
        return (
            f"no worker was ready within {nobody[1]}, as long as the engine waits: none was started, or its "
            "start program could not install the package that the job brings, or was not done with it. Its "
            "log says which; workers that have the libraries need some seconds. " + _REMEDY
        )
    return ""


def _without(module: str) -> str:
    """What to do for workers that lack a module."""
    if module in OWN:
        return (
            f"a worker cannot import {module}: rnnpipe is not installed where it runs, and nothing has "
            "installed the package that the job brings. " + _REMEDY
        )
    return (
        f"a worker cannot import {module}, which is no part of rnnpipe nor of the modules that travel with a "
        "configuration: install it on the workers, by Beam's option requirements_file, or in their image."
    )
