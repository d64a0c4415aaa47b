"""The observer: computes a run's record from the manifests and from what its workers report.

Processes send each other nothing; all read the same objects. What a manifest says is the truth; an error
in a report is not the last word, as engines try again.
"""

from __future__ import annotations

from datetime import datetime, timezone

from upath import UPath

from components import own_files
from components.artifacts.artifact import Artifact, Reference, inputs_hash
from components.heartbeat import is_beating
from components.reports import Status
from pipeline.engines.engine import JobNote
from pipeline.plan.node import node_name
from pipeline.run.folder import Known, RunFolder, run_folders
from pipeline.run.noted import End, OfArtifact, OfNode, Planned, Start
from pipeline.run.record import NodeRecord, RunRecord
from pipeline.run.sweep_record import settled, with_rungs
from pipeline.stages import stage_named
from pipeline.store.store import Store

_AROUND = ("begin", "commit")  # steps of every node around the stage's own work


class Observer:
    """Computes the record of a run, again and again.

    Args:
        folder: of the run.
        store: where the artifacts are.
        own: whether the run is this process's own, and goes on unless its end is noted.
    """

    def __init__(self, folder: RunFolder, store: Store, own: bool = False) -> None:
        self.place = folder.place
        """Where it looks."""
        self._folder = folder
        self._store = store
        self._own = own
        self._job: JobNote | None = None
        self._reports: Known = {}
        self._start: Start | None = None
        self._artifacts: dict[str, Artifact] = {}  # a manifest that is there does not change

    def record(self) -> RunRecord | None:
        """Returns what is known now; None if the run never came to begin."""
        self._start = self._start or self._folder.begun()
        if self._start is None:
            return None
        start, end, tracked = self._start, self._folder.ended(), self._folder.tracking()
        status = end["status"] if end else self._silent_or_running()
        ended = self._ended(start, end, status)
        pick = start.get("pick", "") or (self._folder.pick() if start.get("rungs") else "")
        plan = {
            node_name(planned["stage"], planned["trial"], planned.get("stop", 0)): settled(planned, pick)
            for planned in start["nodes"]
        }
        for name, planned in plan.items():
            self._find(name, planned, ended)
        # Work goes on meanwhile. The last node first: no node is seen to have begun before those ahead of it.
        begun = self._folder.begun_nodes(plan) if start.get("rungs") else plan.keys()
        reports = {
            name: self._folder.reports(name, self._reports)
            if planned["reused"] is None and name in begun
            else []
            for name, planned in reversed(plan.items())
        }
        nodes = {name: self._node(name, planned, reports[name], status) for name, planned in plan.items()}
        trials, rungs, nodes = with_rungs(start, nodes)
        return RunRecord(
            id=self._folder.id,
            name=start["name"],
            subject=start["subject"],
            status=status,
            started=start["started"],
            seconds=round(max((ended - _time(start["started"])).total_seconds(), 0.0), 1),
            config=start["config"],
            nodes=nodes,
            verdict=end["verdict"] if end else {},
            served=end["served"] if end else "",
            code=start["code"],
            tracking={"uri": tracked["uri"], "run": tracked["run"]} if tracked else {},
            message=end["message"] if end else "",
            job=None if self._own else self._noted_job(),
            trials=trials,
            rungs=rungs,
            pick=pick,
        )

    def artifact(self, node: str) -> Artifact | None:
        """Returns a node's artifact, once `record` has seen it."""
        return self._artifacts.get(node)

    def _find(self, name: str, planned: Planned, ended: datetime) -> None:
        """Looks for the manifest of what this run has read; what others made later is not of this run."""
        if name in self._artifacts:
            return
        inputs = planned["reused"]
        if planned.get("choices"):  # not settled yet
            return
        if inputs is None:
            upstream = {read["node"] for read in planned["reads"].values() if "node" in read}
            if not upstream <= self._artifacts.keys():
                return
            inputs = inputs_hash(
                {
                    f"{role} {part}": digest
                    for role, read in planned["reads"].items()
                    for part, digest in self._digests(read).items()
                }
            )
        try:
            kind = stage_named(planned["stage"]).kind
            artifact = self._store.find(kind, planned["key"], inputs, planned["number"])
        except own_files.DamagedError as error:
            own_files.name(error)
            return
        if artifact is not None and (
            planned["reused"]
            or artifact.manifest.run == self._folder.id
            or _time(artifact.manifest.made) <= ended
        ):
            self._artifacts[name] = artifact

    def _digests(self, read: OfNode | OfArtifact) -> dict[str, str]:
        """The digests of the parts that a node reads under one name."""
        if "node" not in read:
            return dict(read["digests"])
        digests = self._artifacts[read["node"]].manifest.digests
        return {part: digests[part] for part in read["parts"]}

    def _node(self, name: str, planned: Planned, reports: list[Status], status: str) -> NodeRecord:
        artifact = self._artifacts.get(name)
        reference: Reference | None = None
        seconds = None
        if artifact is not None:
            reference = artifact.reference
            ours = artifact.manifest.run == self._folder.id
            state = "finished" if ours else "reused"
            seconds = artifact.manifest.seconds if ours else None
        elif status in ("running", "detached"):
            state = "running" if reports else "waiting"
        elif status == "finished":
            state = "cleaned" if reports or planned["reused"] else "not reached"
        else:
            stopped = "failed" if status == "failed" else "interrupted"
            state = stopped if reports else "not reached"
        failed = [report for report in reports if report["error"]]
        epochs = _epochs(reports)
        latest = next((report["progress"] for report in reversed(reports) if report["progress"]), None)
        return NodeRecord(
            stage=planned["stage"],
            trial=planned["trial"],
            key=planned["key"],
            number=planned["number"],
            reason=planned["reason"],
            state=state,
            reference=reference,
            seconds=seconds,
            began=min((report["began"] for report in reports), default=None),
            progress=latest,
            warnings=tuple(dict.fromkeys(text for report in reports for text in report["warnings"])),
            worker=next(
                (report["worker"] for report in reversed(reports) if report["state"] == "running"), ""
            ),
            error=failed[-1]["error"] if failed else "",
            unexpected=failed[-1]["unexpected"] if failed else False,
            given_up=bool(failed) and failed[-1] is reports[-1] and reports[-1]["state"] == "idle",
            traceback=failed[-1]["traceback"] if failed else "",
            trials=tuple(planned["trials"]),
            history=tuple(
                {name: value for name, value in epoch.items() if name != "at"} for epoch in epochs.values()
            ),
            epoch_times={number: round(1000 * epoch["at"]) for number, epoch in epochs.items()},
            planned_epochs=max((report["epochs"] for report in reports), default=0),
            summary=artifact.summary if artifact else {},
            lists=tuple(artifact.listed()) if artifact else (),
            stop=planned.get("stop", 0),
            work_began=min(
                (report["began"] for report in reports if report["step"] not in _AROUND), default=None
            ),
        )

    def _silent_or_running(self) -> str:
        if self._own or is_beating(self._folder.heartbeat, unknown=True):
            return "running"
        return "detached" if self._noted_job() else "killed"

    def _noted_job(self) -> JobNote | None:
        """Which job does the work; once noted it stays."""
        self._job = self._job or self._folder.job()
        return self._job

    def _ended(self, start: Start, end: End | None, status: str) -> datetime:
        """When the run ended; of one that was killed its last sign of life, of one that runs now."""
        if end is not None:
            return _time(end["ended"])
        if status == "killed":
            signs = self._folder.signs_of_life()
            return datetime.fromtimestamp(max(signs), timezone.utc) if signs else _time(start["started"])
        return datetime.now(timezone.utc)


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _epochs(reports: list[Status]) -> dict[int, dict[str, float]]:
    """Puts the epochs that several processes report together, each as it was reported last."""
    epochs = {int(epoch["epoch"]): epoch for report in reports for epoch in report["history"]}
    return dict(sorted(epochs.items()))


def read_records(root: UPath) -> list[RunRecord]:
    """Returns the runs under a root, oldest first."""
    store = Store(root)
    records = (Observer(folder, store).record() for folder in run_folders(root))
    return [record for record in records if record is not None]
