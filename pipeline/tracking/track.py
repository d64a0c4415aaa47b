"""Sends MLflow what it did not get while a run went on, from the run's record and its artifacts."""

from __future__ import annotations

from components import files
from components.errors import UserError
from components.heartbeat import is_beating
from pipeline.report.facts import RunFacts
from pipeline.report.pages import card_page
from pipeline.run.folder import RunFolder
from pipeline.tracking.mlflow_client import database_path
from pipeline.tracking.tracker import Tracker


def track(run: RunFacts, timeout: float = 600.0) -> list[str]:
    """Mirrors a run once more: what MLflow has is not sent again.

    Args:
        run: one that is over.
        timeout: seconds to wait at most for all of it to arrive.

    Returns:
        The problems that are left, as the tracker words them.

    Raises:
        UserError: if the run is not over, or is not tracked.
    """
    record = run.record
    folder = RunFolder(run.store.root, record.id)
    settings = record.config["tracking"]
    if record.status == "running" or is_beating(folder.heartbeat):
        raise UserError(f"{record.id} is still running; it sends by itself what is missing.")
    if record.goes_on and record.job:
        raise UserError(
            f"{record.id} was left to its engine, as the job {record.job.name}; give the command that "
            "started it again: it attaches, and sends what is missing."
        )
    if not settings["enabled"]:
        raise UserError(f"{record.id} has tracking.enabled: false in its configuration; nothing to send.")
    if not files.exists(folder.card):  # its launcher was killed
        files.write(folder.card, card_page(run).encode())
    # The launcher knew from where a relative path of a database is meant; a server's address has no password
    # where it was noted.
    noted = record.tracking.get("uri", "")
    tracker = Tracker(noted if database_path(noted) else settings["uri"], folder, watch=False)
    tracker.update(record, run.artifacts.get)
    return tracker.finish(timeout)
