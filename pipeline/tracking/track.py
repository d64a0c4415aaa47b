"""Sends MLflow what it did not get while a run went on, from the run's record and its artifacts."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

from components.errors import UserError
from components.events import EpochFinished
from components.export.push import latest_version, read_note
from pipeline.report.facts import RunFacts
from pipeline.report.pages import card_page
from pipeline.run.console import example_question
from pipeline.run.record import THE_END, write_record
from pipeline.store.store import is_alive
from pipeline.tracking.mlflow_run import start_tracker
from pipeline.tracking.tracker import Status, Tracker

_STATUS: dict[str, Status] = {"finished": "FINISHED", "failed": "FAILED"}


def track(run: RunFacts, timeout: float = 600.0) -> list[str]:
    """Sends a run again; epochs that have arrived are not sent twice, all else replaces what is there.

    Args:
        run: one that is over.
        timeout: seconds to wait at most for all of it to arrive.

    Returns:
        The problems that are left, as the tracker tells them.

    Raises:
        UserError: if the run is not over, is not tracked, or nothing is missing.
    """
    record = run.record
    settings = record.config["tracking"]
    waits = record.tracking.get("missing") == THE_END and record.pid != os.getpid() and is_alive(record.pid)
    if record.state == "running" or waits:
        raise UserError(f"{record.id} is still running; it sends by itself what is missing.")
    if not settings["enabled"]:
        raise UserError(f"{record.id} has tracking.enabled: false in its configuration; nothing to send.")
    if record.tracking.get("run") and not record.tracking.get("missing"):
        raise UserError(f"MLflow has all of {record.id} already, as {record.tracking['run']}.")
    uri = record.tracking.get("uri") or settings["uri"]
    began = datetime.fromisoformat(record.started).timestamp()

    def note(run_id: str, missing: str = THE_END) -> None:
        record.tracking = {"uri": uri, "run": run_id, "missing": missing}
        write_record(run.store.root, record)

    tracker = start_tracker(record, uri, record.tracking.get("run") or None, began, again=True, arrived=note)
    _put(run, tracker)
    problems = tracker.finish(
        _STATUS.get(record.status, "KILLED"), record.message, timeout, began + record.seconds
    )
    note(tracker.run_id or "", ", ".join(tracker.missing))
    return problems


def _put(run: RunFacts, tracker: Tracker) -> None:
    record = run.record
    for epoch in record.history:
        metrics = {name: value for name, value in epoch.items() if name not in ("epoch", "seconds")}
        tracker(EpochFinished(int(epoch["epoch"]), 0, metrics, epoch["seconds"]))
    for name, stage in record.stages.items():
        if name in run.artifacts and stage["state"] in ("finished", "reused"):
            tracker.stage(name, str(run.artifacts[name].directory), stage.get("seconds"))
    if record.blessing:
        tracker.judged(record.blessing)
    tracker.card(card_page(run))
    exported, evaluated = run.artifacts.get("export"), run.artifacts.get("evaluate")
    if record.served and exported and evaluated:
        served = Path(record.served)
        newest = latest_version(served.parent)
        note = read_note(served.parent, newest)
        if note and note.key == exported.key:  # another model may have followed
            example = example_question(evaluated.directory / "predictions.jsonl") or ""
            tracker.register(served.parent / str(newest), example)
