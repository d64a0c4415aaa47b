"""Sends MLflow what it did not get while a run went on, from the run's record and its artifacts."""

from __future__ import annotations

from datetime import datetime

from upath import UPath

from components import files
from components.artifacts.exported_model import ExportedModel
from components.errors import UserError
from components.heartbeat import is_beating
from pipeline.report.facts import RunFacts
from pipeline.report.pages import card_page
from pipeline.run.folder import THE_END, RunFolder
from pipeline.tracking.mlflow_run import start_tracker
from pipeline.tracking.sender import Status
from pipeline.tracking.tracker import Tracker

_STATUS: dict[str, Status] = {"finished": "FINISHED", "failed": "FAILED"}


def track(run: RunFacts, timeout: float = 600.0) -> list[str]:
    """Sends a run again; epochs that have arrived are not sent twice, all else replaces what is there.

    Args:
        run: one that is over.
        timeout: seconds to wait at most for all of it to arrive.

    Returns:
        The problems that are left, as the tracker words them.

    Raises:
        UserError: if the run is not over, is not tracked, or nothing is missing.
    """
    record = run.record
    folder = RunFolder(run.store.root, record.id)
    settings = record.config["tracking"]
    if record.status == "running" or is_beating(folder.heartbeat):
        raise UserError(f"{record.id} is still running; it sends by itself what is missing.")
    if not settings["enabled"]:
        raise UserError(f"{record.id} has tracking.enabled: false in its configuration; nothing to send.")
    known = record.tracking.get("run")
    if known and not record.tracking.get("missing"):
        raise UserError(f"MLflow has all of {record.id} already, as {known}.")
    uri = record.tracking.get("uri") or settings["uri"]
    began = datetime.fromisoformat(record.started).timestamp()

    def note(run_id: str, missing: str = THE_END) -> None:
        folder.note_tracking(uri, run_id, missing)

    tracker = start_tracker(record, uri, known or None, began, again=True, arrived=note)
    _put(run, tracker)
    problems = tracker.finish(
        _STATUS.get(record.status, "KILLED"), record.message, timeout, began + record.seconds
    )
    note(tracker.run_id or "", ", ".join(tracker.missing))
    return problems


def _put(run: RunFacts, tracker: Tracker) -> None:
    record = run.record
    tracker.update(record, run.artifacts.get)
    if record.verdict:
        tracker.decided(record.verdict)
    tracker.card(card_page(run))
    if record.served and run.exported and run.evaluation:
        newest = _newest_of(files.resolve(record.served).parent, run.exported)
        if newest is not None:
            tracker.register(str(newest), run.evaluation.example_question() or "")


def _newest_of(base: UPath, exported: ExportedModel) -> UPath | None:
    """The version that answers, if it is this model: another one may have followed."""
    from pipeline.serving.served import Served

    served = Served(base.parent, base.name)
    newest = served.look().newest
    content = served.content(newest, base / str(newest)) if newest is not None else None
    same = content is not None and content.digest == exported.manifest.digests["model"]
    return base / str(newest) if same else None
