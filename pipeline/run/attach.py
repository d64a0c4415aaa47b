"""The job of an earlier command, which a later one with the same plan attaches to."""

from __future__ import annotations

from dataclasses import dataclass

from upath import UPath

from components.heartbeat import is_beating
from pipeline.engines.engine import Engine, Job
from pipeline.run.folder import RunFolder, run_folders

_RECENT = 50  # runs that are looked at


@dataclass(frozen=True)
class Attached:
    """A run that goes on, or has ended without a launcher.

    Args:
        folder: of the run.
        job: that does its work.
    """

    folder: RunFolder
    job: Job


def find_attachable(root: UPath, identity: str, engine: Engine, runner: str) -> Attached | None:
    """Finds the job that was submitted for a plan and whose end nobody has told yet.

    A run that the engine no longer knows the job of is ended, as failed.

    Args:
        root: of the pipeline.
        identity: of the plan.
        engine: that would run it now.
        runner: its type.

    Returns:
        None if there is none. Another launcher may be waiting for it, too.

    Raises:
        UserError: if the engine cannot be reached.
    """
    if not engine.detaches:
        return None
    for folder in reversed(run_folders(root)[-_RECENT:]):
        start = folder.begun()
        if start is None or start.get("plan") != identity or folder.ended() is not None:
            continue
        note = folder.job()
        if note is None or note.engine != runner:
            continue
        job = engine.find(note)
        if job is not None:
            return Attached(folder, job)
        if not is_beating(folder.heartbeat, unknown=True):
            folder.end("failed", f"the engine no longer knows its job {note.id}", {}, "")
    return None
