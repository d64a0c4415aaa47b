"""The folder of one run under the root: start.json, end.json, and what its workers report."""

from __future__ import annotations

import contextlib
import json
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from typing import Any

from upath import UPath

from components import files, own_files
from components.errors import UserError
from components.files import Entry
from components.redaction import redacted
from components.reports import Status
from pipeline.engines.engine import JobNote
from pipeline.plan.node import NodePlan, Plan, Read
from pipeline.run.noted import End, OfArtifact, OfNode, Picked, Start, Submitted, Tracked
from pipeline.sweep.changes import changes_of

START, JOB, PICKED, END = "start.json", "job.json", "pick.json", "end.json"
PREFLIGHT = "preflight"  # the job's first step, which is no node
_RECENT = 50  # runs

Known = dict[UPath, tuple[Entry, Status | None]]
"""Status objects that were read, and of which files."""


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

    @property
    def token(self) -> UPath:
        """Where the launcher puts a file that workers must see, until the run has ended."""
        return self.root / PREFLIGHT / self.id

    def status(self, node: str) -> UPath:
        """Where the workers of a node report."""
        return self.place / "work" / _plain(node)

    def start(
        self,
        name: str,
        config: dict[str, Any],
        code: dict[str, str],
        plan: Plan,
        subject: str = "",
        identity: str = "",
    ) -> None:
        """Creates start.json: what the run is to do.

        Args:
            name: the pipeline's.
            config: resolved.
            code: which version of this code runs.
            plan: of the run.
            subject: the model that is evaluated, if it was made before.
            identity: of the plan as it is asked for; by default of this one.
        """
        self._create(
            START,
            {
                "name": name,
                "subject": subject,
                "started": datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
                "config": config,
                "code": code,
                "plan": identity or plan.identity,
                **_sweep(plan, config),
                "nodes": [
                    {
                        **_planned(node),
                        "trials": plan.trials_of(node),
                        "stop": node.stop,
                        "choices": {trial: _planned(choice) for trial, choice in node.choices.items()},
                    }
                    for node in plan
                ],
            },
        )

    def note_job(self, note: JobNote) -> None:
        """Creates job.json: which job of which engine does the work."""
        self._create(JOB, asdict(note))

    def job(self) -> JobNote | None:
        """Returns what job.json holds; None if it is not there, or is damaged."""
        noted = own_files.salvage(self.place / JOB, Submitted)
        return JobNote(**noted) if noted else None

    def settle_pick(self, trial: str) -> str:
        """Settles which trial is evaluated and exported: of many workers one has its way.

        Args:
            trial: its id, as this worker would have it.

        Returns:
            The id, as all workers have it from now on.
        """
        with contextlib.suppress(FileExistsError):
            self._create(PICKED, {"trial": trial})
        return self.pick() or trial

    def pick(self) -> str:
        """Returns the id of the trial that a sweep has picked; empty if it has not."""
        picked = own_files.salvage(self.place / PICKED, Picked)
        return picked["trial"] if picked else ""

    def end(self, status: str, message: str, verdict: dict[str, Any], served: str) -> None:
        """Creates end.json: how the run ended. The first end stays."""
        ended = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        end = {"status": status, "message": message, "ended": ended, "verdict": verdict, "served": served}
        with contextlib.suppress(FileExistsError):
            self._create(END, end)
        with contextlib.suppress(OSError):
            files.delete([self.token])
            files.delete_empty_folders(self.token.parent)

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

    def begun_nodes(self, nodes: Iterable[str]) -> set[str]:
        """Returns those nodes whose workers have begun to report, by one look at all of them."""
        begun = set(files.names(self.place / "work"))
        return {node for node in nodes if _plain(node) in begun}

    def reports(self, node: str, known: Known | None = None) -> list[Status]:
        """Returns what the workers of a node have reported, by when they began.

        Args:
            node: its name.
            known: what was read before, of files as they were then, which is not read again; it is added to.
        """
        known = {} if known is None else known
        listed = files.entries(self.status(node))
        for entry in listed:
            if entry.path not in known or known[entry.path][0] != entry:
                known[entry.path] = (entry, own_files.salvage(entry.path, Status))
        found = (known[entry.path][1] for entry in listed)
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


def _plain(node: str) -> str:
    """The name of a node as a folder has it."""
    return node.replace(" ", "-")


def _sweep(plan: Plan, config: dict[str, Any]) -> dict[str, Any]:
    """What is noted of a sweep; nothing of a run of one trial."""
    if not plan.rungs:
        return {}
    trials = [
        {
            "id": each.id,
            "group": each.group,
            "seed": each.config.seed,
            "settings": dict(each.settings),
            "told": dict(each.told),
            "changes": changes_of(each.config, config),
        }
        for each in plan.trials
    ]
    rungs = [{"stop": rung.stop, "nodes": dict(rung.nodes)} for rung in plan.rungs]
    return {"trials": trials, "rungs": rungs, "pick": plan.pick}


def _planned(node: NodePlan) -> dict[str, Any]:
    """What is noted of a node."""
    return {
        "stage": node.stage.name,
        "trial": node.trial,
        "key": node.key,
        "number": node.number,
        "reason": node.reason,
        "reads": {name: _as_json(read) for name, read in node.reads.items()},
        "reused": None if node.artifact is None or node.in_job else node.artifact.manifest.inputs,
    }


def _as_json(read: Read) -> OfNode | OfArtifact:
    """What a node reads: parts of another node's artifact, or digests of one that is there."""
    if read.artifact is None:
        return {"node": read.node, "parts": list(read.parts)}
    digests = read.artifact.manifest.digests
    return {"digests": {part: digests[part] for part in read.parts}}


def folder_named(folders: Sequence[RunFolder], name: str, root: object) -> RunFolder:
    """Returns the folder of a run.

    Args:
        folders: of all runs, oldest first.
        name: the run's id, or a part that only one run has.
        root: as the user has named it.

    Raises:
        UserError: if it means no run or several.
    """
    found = [folder for folder in folders if folder.id == name]
    found = found or [folder for folder in folders if name in folder.id]
    if len(found) == 1 and found[0].begun() is not None:
        return found[0]
    if not folders:
        raise UserError(f"No runs under {root}. Start one with `rnnpipe run`, or name another --root.")
    known = ", ".join(folder.id for folder in (found or folders)[-5:])
    problem = f"is part of {len(found)} runs" if len(found) > 1 else "is no run"
    raise UserError(
        f"{name} {problem} under {root}; expected an id, or enough of it, such as {known}. "
        "`rnnpipe runs` lists all."
    )


def run_folders(root: UPath) -> list[RunFolder]:
    """Returns the folders of all runs under a root, oldest first."""
    return [RunFolder(root, name) for name in files.names(root / "runs")]


def keys_of(root: UPath, name: str) -> frozenset[str]:
    """Returns the keys of a pipeline's newest runs.

    Args:
        root: of the pipeline.
        name: of it.
    """
    starts = (own_files.salvage(folder.place / START, Start) for folder in run_folders(root)[-_RECENT:])
    return frozenset(
        node["key"] for start in starts if start and start["name"] == name for node in start["nodes"]
    )
