"""What is known of a run, computed from what it left under the root; see pipeline/run/observe.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from upath import UPath

from components.artifacts.artifact import Reference
from components.reports import ProgressMade
from pipeline.engines.engine import JobNote
from pipeline.plan.node import FIRST, node_name
from pipeline.sweep.ranking import Ranked

DONE = ("finished", "reused")
"""The states of a node whose artifact is there."""


@dataclass(frozen=True)
class NodeRecord:
    """One node of a run.

    Args:
        stage: of the node.
        trial: whose it is, or what else is measured.
        key: what its artifact should be.
        number: which artifact of this key.
        reason: why it runs or is reused.
        state: waiting, running, finished (by this run), reused, failed, interrupted, not reached, or cleaned,
            where its artifact was there and has been deleted since.
        reference: its artifact, once it is there.
        seconds: how long it took; None if this run did not finish it.
        began: when its first attempt began, in seconds since 1970 by its worker's clock; None if none did.
        work_began: when a worker took up the stage's own work, likewise; a trial may wait long for one.
        progress: `done`, `total` and `message` of the most recent report; None without one.
        warnings: what its workers warned of.
        worker: the one that is at work, or was when it was last heard of: its machine and process.
        error: what a worker failed of, in a sentence; the node may be finished all the same, by another one.
        unexpected: whether that error was not meant for the user.
        given_up: whether the worker that began last has ended with an error.
        traceback: of that error.
        trials: the ids of the trials that share it; none if it belongs to another candidate.
        history: the metrics of each of its epochs, as far as this run did them.
        epoch_times: by number of the epoch, when it was over, in milliseconds since 1970.
        planned_epochs: how many there are to be; 0 if it has none.
        summary: of its artifact, once it is there.
        stop: the epoch after which it stops; 0 if it goes to its end.
        lists: where lists for people are, such as that of the rejected records.
    """

    stage: str
    trial: str
    key: str
    number: int
    reason: str
    state: str
    reference: Reference | None = None
    seconds: float | None = None
    began: float | None = None
    progress: ProgressMade | None = None
    warnings: tuple[str, ...] = ()
    worker: str = ""
    error: str = ""
    unexpected: bool = False
    given_up: bool = False
    traceback: str = ""
    trials: tuple[str, ...] = ()
    history: tuple[Mapping[str, float], ...] = ()
    epoch_times: Mapping[int, int] = field(default_factory=dict)
    planned_epochs: int = 0
    summary: Mapping[str, Any] = field(default_factory=dict)
    stop: int = 0
    work_began: float | None = None
    lists: tuple[UPath, ...] = ()

    @property
    def epochs(self) -> int:
        """The last epoch that is finished; 0 if none is."""
        return int(self.history[-1]["epoch"]) if self.history else 0

    @property
    def name(self) -> str:
        """What people call it."""
        return node_name(self.stage, self.trial, self.stop)


@dataclass(frozen=True)
class TrialRecord:
    """A trial of a sweep.

    Args:
        id: which one.
        group: the id of the first trial with its settings.
        seed: of the trial.
        settings: what the sweep has set, by path.
        told: the same for people; see `pipeline.sweep.draws.told`.
        changes: all that its resolved configuration has otherwise than the run's, by path.
    """

    id: str
    group: str
    seed: int
    settings: Mapping[str, Any]
    told: Mapping[str, Any]
    changes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class RungRecord:
    """A rung of a sweep.

    Args:
        stop: the epoch after which trials are compared; 0 for the end.
        nodes: by trial, the name of its node.
        ranking: of those that are there or have failed, the best one first.
        reached: the ids of the trials that come so far, as far as that is decided; None if it is not.
    """

    stop: int
    nodes: Mapping[str, str]
    ranking: Sequence[Ranked] = ()
    reached: frozenset[str] | None = None


@dataclass(frozen=True)
class RunRecord:
    """One run.

    Args:
        id: its name, which sorts by time.
        name: the pipeline's name.
        subject: the model that is evaluated, if it was made before; empty of a run that trains.
        status: running, detached (its engine's job may go on, without a launcher), killed (no end and no sign
            of life), finished, failed or interrupted.
        started: when, ISO 8601 in UTC.
        seconds: how long it took (so far).
        config: the resolved configuration.
        nodes: by name, in order.
        verdict: whether the model may be served, why, and how it stands to each rule; empty if there is none.
        served: the pushed version's directory; empty if nothing was pushed.
        code: which version of this code ran, as MLflow's tags.
        tracking: where MLflow is (`uri`), and which of its runs this is (`run`); empty if it has none yet.
        message: why it failed.
        job: of the engine that does the work; None if it is done in the launcher's process, and while the
            launcher itself observes the run.
        trials: of a sweep, by id.
        rungs: of a sweep, in order.
        pick: the trial of a sweep that is evaluated and exported; empty as long as that is not settled.
    """

    id: str
    name: str
    status: str
    started: str
    subject: str = ""
    seconds: float = 0.0
    config: dict[str, Any] = field(default_factory=dict)
    nodes: dict[str, NodeRecord] = field(default_factory=dict)
    verdict: dict[str, Any] = field(default_factory=dict)
    served: str = ""
    code: dict[str, str] = field(default_factory=dict)
    tracking: dict[str, str] = field(default_factory=dict)
    message: str = ""
    job: JobNote | None = None
    trials: Mapping[str, TrialRecord] = field(default_factory=dict)
    rungs: Sequence[RungRecord] = ()
    pick: str = ""

    @property
    def model_trial(self) -> str:
        """The trial whose model is the run's; empty as long as a sweep has picked none."""
        return self.pick if self.rungs else FIRST

    @property
    def goes_on(self) -> bool:
        """Whether it is not over: a launcher waits for it, or may attach to it."""
        return self.status in ("running", "detached")

    @property
    def began(self) -> int:
        """When it began, in milliseconds since 1970."""
        return round(1000 * datetime.fromisoformat(self.started).timestamp())

    @property
    def metrics(self) -> dict[str, float]:
        """What was measured of the run's model; nothing if it did not come to that."""
        return next((dict(node.summary["metrics"]) for node in self.of() if "metrics" in node.summary), {})

    @property
    def history(self) -> list[Mapping[str, float]]:
        """The metrics of each epoch of this run."""
        return [epoch for node in self.of() for epoch in node.history]

    def of(self, trial: str = "") -> list[NodeRecord]:
        """Returns the nodes of a trial, in order; by default of the one whose model is the run's."""
        trial = trial or self.model_trial
        return [node for node in self.nodes.values() if trial in node.trials]

    def node(self, stage: str, trial: str = "") -> NodeRecord | None:
        """Returns the last node of a stage and a trial, as for `of`; None if the run has none."""
        return next((node for node in reversed(self.of(trial)) if node.stage == stage), None)

    @property
    def at_work(self) -> NodeRecord | None:
        """The node that is at work, or was when the run ended; of several the one that reports an error.

        A trial of a sweep comes last, as the run goes on without it.
        """
        states = ("running", "failed", "interrupted")
        nodes = [node for node in self.nodes.values() if node.state in states]
        return min(nodes, key=lambda node: (self._is_of_rung(node), not node.error), default=None)

    def _is_of_rung(self, node: NodeRecord) -> bool:
        return any(node.name in rung.nodes.values() for rung in self.rungs)
