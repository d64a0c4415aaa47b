"""The observer: computes a run's record from the manifests and from what its workers report.

Processes send each other nothing; all read the same objects. What a manifest says is the truth; an error
in a report is not the last word, as engines try again.
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from upath import UPath

from components.artifacts.artifact import Artifact, Reference, inputs_hash
from components.heartbeat import is_beating
from pipeline.plan.kinds import KINDS
from pipeline.run.folder import RunFolder, run_folders
from pipeline.run.record import NodeRecord, RunRecord
from pipeline.store.store import Store


class Observer:
    """Computes the record of a run, again and again.

    Args:
        folder: of the run.
        store: where the artifacts are.
    """

    def __init__(self, folder: RunFolder, store: Store) -> None:
        self.place = folder.place
        """Where it looks."""
        self._folder = folder
        self._store = store
        self._start: dict[str, Any] | None = None
        self._artifacts: dict[str, Artifact] = {}  # a manifest that is there does not change

    def record(self) -> RunRecord | None:
        """Returns what is known now; None if the run never came to begin."""
        self._start = self._start or self._folder.read("start.json")
        if self._start is None:
            return None
        start, end = self._start, self._folder.read("end.json")
        status = end["status"] if end else self._silent_or_running()
        ended = self._ended(start, end, status)
        nodes: dict[str, NodeRecord] = {}
        reports = {}
        for planned in start["nodes"]:
            name = planned["name"]
            self._find(planned, ended)
            reports[name] = self._folder.reports(name) if planned["reused"] is None else []
            nodes[name] = self._node(planned, reports[name], status)
        evaluated = self._artifacts.get("evaluate")
        history = _history(reports.get("train", []))
        return RunRecord(
            id=self._folder.id,
            name=start["name"],
            status=status,
            started=start["started"],
            seconds=round(max((ended - _time(start["started"])).total_seconds(), 0.0), 1),
            config=start["config"],
            nodes=nodes,
            metrics=dict(evaluated.summary["metrics"]) if evaluated else {},
            epochs=int(history[-1]["epoch"]) if history else 0,
            planned_epochs=max((report["epochs"] for report in reports.get("train", [])), default=0),
            history=history,
            blessing=end["blessing"] if end else {},
            served=end["served"] if end else "",
            code=start["code"],
            tracking=self._folder.read("tracking.json") or {},
            message=end["message"] if end else "",
        )

    def artifact(self, node: str) -> Artifact | None:
        """Returns a node's artifact, once `record` has seen it."""
        return self._artifacts.get(node)

    def _find(self, planned: dict[str, Any], ended: datetime) -> None:
        """Looks for the manifest of what this run has read; what others made later is not of this run."""
        name = planned["name"]
        if name in self._artifacts:
            return
        inputs = planned["reused"]
        if inputs is None:
            if not planned["reads"].keys() <= self._artifacts.keys():
                return
            inputs = inputs_hash(
                {
                    f"{stage} {part}": self._artifacts[stage].manifest.digests[part]
                    for stage, parts in planned["reads"].items()
                    for part in parts
                }
            )
        try:
            found = self._store.find(KINDS[name], planned["key"], inputs, planned["number"])
        except ValueError:
            return
        if found is not None and (
            planned["reused"] or found.manifest.run == self._folder.id or _time(found.manifest.made) <= ended
        ):
            self._artifacts[name] = found

    def _node(self, planned: dict[str, Any], reports: list[dict[str, Any]], status: str) -> NodeRecord:
        artifact = self._artifacts.get(planned["name"])
        reference: Reference | None = None
        seconds = None
        if artifact is not None:
            reference = artifact.reference
            ours = artifact.manifest.run == self._folder.id
            state = "finished" if ours else "reused"
            seconds = artifact.manifest.seconds if ours else None
        elif status == "running":
            state = "running" if reports else "waiting"
        elif status == "finished":
            state = "cleaned" if reports or planned["reused"] else "not reached"
        else:
            stopped = "failed" if status == "failed" else "interrupted"
            state = stopped if reports else "not reached"
        failed = [report for report in reports if report["error"]]
        latest = next((report["progress"] for report in reversed(reports) if report["progress"]), None)
        return NodeRecord(
            name=planned["name"],
            key=planned["key"],
            number=planned["number"],
            reason=planned["reason"],
            state=state,
            reference=reference,
            seconds=seconds,
            began=min((report["began"] for report in reports), default=None),
            progress=latest,
            warnings=tuple(dict.fromkeys(text for report in reports for text in report["warnings"])),
            error=failed[-1]["error"] if failed else "",
            unexpected=failed[-1]["unexpected"] if failed else False,
            traceback=failed[-1]["traceback"] if failed else "",
        )

    def _silent_or_running(self) -> str:
        return "running" if is_beating(self._folder.heartbeat, unknown=True) else "killed"

    def _ended(self, start: dict[str, Any], end: dict[str, Any] | None, status: str) -> datetime:
        """When the run ended; of one that was killed its last sign of life, of one that runs now."""
        if end is not None:
            return _time(end["ended"])
        if status == "killed":
            signs = self._folder.signs_of_life()
            return datetime.fromtimestamp(max(signs), timezone.utc) if signs else _time(start["started"])
        return datetime.now(timezone.utc)


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _history(reports: list[dict[str, Any]]) -> list[dict[str, float]]:
    """Puts the epochs that several processes report together, each as it was reported last."""
    epochs = {epoch["epoch"]: epoch for report in reports for epoch in report["history"]}
    return [epochs[number] for number in sorted(epochs)]


def read_records(root: UPath) -> list[RunRecord]:
    """Returns the runs under a root, oldest first."""
    store = Store(root)
    records = (Observer(folder, store).record() for folder in run_folders(root))
    return [record for record in records if record is not None]
