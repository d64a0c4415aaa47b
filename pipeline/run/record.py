"""What each run did: one JSON file a run, under <root>/runs."""

from __future__ import annotations

import json
import os
import threading
import uuid
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from components.events import EpochFinished, Event, StageFinished, StageStarted
from pipeline.store.store import is_alive

THE_END = "the end"  # what is missing in MLflow of a run that is not over


@dataclass
class RunRecord:
    """One run, written anew at every change.

    Args:
        id: its name, which sorts by time.
        name: the pipeline's name.
        status: running, finished, failed or interrupted.
        started: when, ISO 8601 in UTC.
        seconds: how long it took (so far).
        pid: the process.
        config: the resolved configuration.
        stages: key, directory (while it runs, and if it failed, that of the attempt), seconds, reason and
            whether it was reused, by stage.
        metrics: what evaluation measured.
        epochs: the last epoch that is finished; 0 if training did not come to it.
        history: the metrics of each of this run's epochs.
        blessing: the verdict, why, and how the model stands to each rule.
        served: the pushed version's directory.
        code: which version of this code ran, as MLflow's tags.
        tracking: where the MLflow run is, and what of it is missing there.
        message: why it failed.
    """

    id: str
    name: str
    status: str
    started: str
    seconds: float = 0.0
    pid: int = 0
    config: dict[str, Any] = field(default_factory=dict)
    stages: dict[str, dict[str, Any]] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    epochs: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    blessing: dict[str, Any] = field(default_factory=dict)
    served: str = ""
    code: dict[str, str] = field(default_factory=dict)
    tracking: dict[str, str] = field(default_factory=dict)
    message: str = ""

    @property
    def state(self) -> str:
        """The status; `killed` for a run that says it is running but whose process is gone."""
        return "killed" if self.status == "running" and not is_alive(self.pid) else self.status


class Recorder:
    """Keeps a run's record up to date; an events listener.

    Args:
        root: the pipeline's root.
        name: the pipeline's name.
        config: the resolved configuration.
    """

    def __init__(self, root: Path, name: str, config: dict[str, Any]) -> None:
        now = datetime.now(timezone.utc)
        self._began = now
        self.record = RunRecord(
            id=f"{now:%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:4]}",
            name=name,
            status="running",
            started=now.isoformat(timespec="seconds"),
            pid=os.getpid(),
            config=config,
        )
        self._root = root
        self._writing = threading.Lock()

    @property
    def card(self) -> Path:
        """Where the run's page belongs."""
        return record_path(self._root, self.record.id).with_suffix(".html")

    def __call__(self, event: Event) -> None:
        """Notes a stage's or an epoch's end."""
        if isinstance(event, StageStarted):
            self.stage(event.stage, state="running", directory=event.directory)
        elif isinstance(event, EpochFinished):
            epoch = {"epoch": event.epoch, **event.metrics, "seconds": event.seconds}
            self.note(epochs=event.epoch, history=[*self.record.history, epoch])
        elif isinstance(event, StageFinished):
            if event.stage == "evaluate":
                self.note(metrics={**self.record.metrics, **event.summary["metrics"]})
            self.stage(event.stage, state="finished", seconds=event.seconds, directory=event.directory)

    def stage(self, name: str, **facts: Any) -> None:
        """Adds facts about a stage."""
        before = self.record.stages.get(name, {"state": "waiting"})
        self.note(stages={**self.record.stages, name: {**before, **facts}})

    def finish(self, status: str, message: str = "") -> None:
        """Writes the end."""
        self.note(status=status, message=message)

    def note(self, **fields: Any) -> None:
        """Sets fields of the record, and writes it, whole or not at all.

        Another thread may write at the same time; so fields are replaced, and what they hold is not changed.
        """
        with self._writing:
            for name, value in fields.items():
                setattr(self.record, name, value)
            self.record.seconds = round((datetime.now(timezone.utc) - self._began).total_seconds(), 1)
            write_record(self._root, self.record)


def write_record(root: Path, record: RunRecord) -> None:
    """Writes a record, whole or not at all."""
    path = record_path(root, record.id)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(asdict(record), indent=1, ensure_ascii=False), encoding="utf-8")
    os.replace(temporary, path)


def record_path(root: Path, run_id: str) -> Path:
    """Where a run's record is; its card is beside it."""
    return root / "runs" / f"{run_id}.json"


def read_records(root: Path) -> list[RunRecord]:
    """Returns the runs under a root, oldest first."""
    paths = sorted((root / "runs").glob("*.json"))
    return [RunRecord(**json.loads(path.read_text(encoding="utf-8"))) for path in paths]
