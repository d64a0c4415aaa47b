"""The folder of one run under the root: start.json, end.json, and what its workers report."""

from __future__ import annotations

import contextlib
import json
import uuid
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from upath import UPath

from components import files, own_files
from components.redaction import redacted
from components.reports import Status
from pipeline.plan.node import Plan, Read
from pipeline.run.noted import End, OfArtifact, OfNode, Start, Tracked

START, END = "start.json", "end.json"


@dataclass(frozen=True)
class RunFolder:
    """One run's folder.

    Args:
        root: of the pipeline.
        id: of the run.
    """

    root: UPath
    id: str

    @classmethod
    def new(cls, root: UPath) -> RunFolder:
        """Names a run that begins now."""
        return cls(root, f"{datetime.now(timezone.utc):%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:6]}")

    @property
    def place(self) -> UPath:
        """Where it is."""
        return self.root / "runs" / self.id

    @property
    def card(self) -> UPath:
        """Where the run's page belongs."""
        return self.place / "card.html"

    @property
    def heartbeat(self) -> UPath:
        """Where its launcher shows signs of life."""
        return self.place / "heartbeat"

    def status(self, node: str) -> UPath:
        """Where the workers of a node report."""
        return self.place / "work" / node.replace(" ", "-")

    def start(
        self, name: str, config: dict[str, Any], code: dict[str, str], plan: Plan, subject: str = ""
    ) -> None:
        """Creates start.json: what the run is to do."""
        self._create(
            START,
            {
                "name": name,
                "subject": subject,
                "started": datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
                "config": config,
                "code": code,
                "nodes": [
                    {
                        "stage": node.stage.name,
                        "trial": node.trial,
                        "trials": plan.trials_of(node),
                        "key": node.key,
                        "number": node.number,
                        "reason": node.reason,
                        "reads": {name: _as_json(read) for name, read in node.reads.items()},
                        "reused": None
                        if node.artifact is None or node.in_job
                        else node.artifact.manifest.inputs,
                    }
                    for node in plan
                ],
            },
        )

    def end(self, status: str, message: str, verdict: dict[str, Any], served: str) -> None:
        """Creates end.json: how the run ended. The first end stays."""
        ended = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        end = {"status": status, "message": message, "ended": ended, "verdict": verdict, "served": served}
        with contextlib.suppress(FileExistsError):
            self._create(END, end)

    def note_tracking(self, uri: str, run: str, trial: str = "") -> str:
        """Settles which of MLflow's runs this is: of many processes one has its way.

        Args:
            uri: where MLflow is, without a password.
            run: MLflow's id, as this process would have it.
            trial: which trial is meant; empty means the run.

        Returns:
            MLflow's id, as all processes have it from now on.
        """
        with contextlib.suppress(FileExistsError):
            self._create(_tracking(trial), {"uri": uri, "run": run})
        return self.tracked(trial) or run

    def tracked(self, trial: str = "") -> str:
        """Returns which of MLflow's runs this run is, or one of its trials; empty if that is not settled."""
        noted = own_files.salvage(self.place / _tracking(trial), Tracked)
        return noted["run"] if noted else ""

    def signs_of_life(self) -> list[float]:
        """When its launcher and its workers have last written something, by the clock of the store."""
        own = [self.place / START, self.heartbeat]
        return [
            entry.modified
            for entry in files.entries(self.place)
            if entry.path in own or entry.path.is_relative_to(self.place / "work")
        ]

    def is_gone(self) -> bool:
        """Whether somebody has removed it since the run began; False where that cannot be known."""
        try:
            return not files.exists(self.place / START)
        except OSError:
            return False

    def begun(self) -> Start | None:
        """Returns what start.json holds; None if it is not there, or is damaged."""
        return own_files.salvage(self.place / START, Start)

    def ended(self) -> End | None:
        """Returns what end.json holds; None if it is not there, or is damaged."""
        return own_files.salvage(self.place / END, End)

    def tracking(self) -> Tracked | None:
        """Returns what tracking.json holds; None if it is not there, or is damaged."""
        return own_files.salvage(self.place / _tracking(), Tracked)

    def reports(self, node: str) -> list[Status]:
        """Returns what the workers of a node have reported, by when they began."""
        found = (own_files.salvage(entry.path, Status) for entry in files.entries(self.status(node)))
        return sorted((report for report in found if report), key=lambda report: report["began"])

    def _create(self, name: str, values: dict[str, Any]) -> None:
        """Creates a file without passwords; where there were any, only its owner can read it."""
        public = redacted(values)
        private = json.dumps(public) != json.dumps(values)
        data = json.dumps(public, indent=1, ensure_ascii=False).encode()
        try:
            files.create(self.place / name, data, private)
        except OSError:
            # An answer may be lost on its way: what is there decides.
            if not files.exists(self.place / name) or files.read(self.place / name) != data:
                raise


def _tracking(trial: str = "") -> str:
    """Where it is noted which of MLflow's runs this run is, or one of its trials."""
    return f"tracking-{trial}.json" if trial else "tracking.json"


def _as_json(read: Read) -> OfNode | OfArtifact:
    """What a node reads: parts of another node's artifact, or digests of one that is there."""
    if read.artifact is None:
        return {"node": read.node, "parts": list(read.parts)}
    digests = read.artifact.manifest.digests
    return {"digests": {part: digests[part] for part in read.parts}}


def run_folders(root: UPath) -> list[RunFolder]:
    """Returns the folders of all runs under a root, oldest first."""
    return [RunFolder(root, name) for name in files.names(root / "runs")]
