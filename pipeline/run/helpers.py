"""Processes that this one has started to help it, and that must not outlive a run."""

from __future__ import annotations

import sys


def end_trials() -> None:
    """Ends the processes in which trials of a sweep are trained, if there are any."""
    children = sys.modules.get("components.train.children")
    if children is not None:
        children.end_children()


def end_helpers() -> None:
    """Ends them, and the servers on which models are tried."""
    from components.export.server_check import end_servers

    end_servers()
    end_trials()
