"""What is known of a run, computed from what it left under the root; see pipeline/run/observe.py."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from components.artifacts.artifact import Reference

DONE = ("finished", "reused")
"""The states of a node whose artifact is there."""


@dataclass(frozen=True)
class NodeRecord:
    """One node of a run.

    Args:
        name: what people call it.
        key: what its artifact should be.
        number: which artifact of this key.
        reason: why it runs or is reused.
        state: waiting, running, finished (by this run), reused, failed, interrupted, not reached, or cleaned,
            where its artifact was there and has been deleted since.
        reference: its artifact, once it is there.
        seconds: how long it took; None if this run did not finish it.
        began: when its first attempt began, in seconds since 1970 by its worker's clock; None if none did.
        progress: `done`, `total` and `message` of the most recent report; None without one.
        warnings: what its workers warned of.
        error: what a worker failed of, in a sentence; the node may be finished all the same, by another one.
        unexpected: whether that error was not meant for the user.
        traceback: of that error.
    """

    name: str
    key: str
    number: int
    reason: str
    state: str
    reference: Reference | None = None
    seconds: float | None = None
    began: float | None = None
    progress: dict[str, Any] | None = None
    warnings: tuple[str, ...] = ()
    error: str = ""
    unexpected: bool = False
    traceback: str = ""


@dataclass(frozen=True)
class RunRecord:
    """One run.

    Args:
        id: its name, which sorts by time.
        name: the pipeline's name.
        status: running, killed (no end and no sign of life), finished, failed or interrupted.
        started: when, ISO 8601 in UTC.
        seconds: how long it took (so far).
        config: the resolved configuration.
        nodes: by name, in order.
        metrics: what evaluation measured.
        epochs: the last epoch that is finished; 0 if training did not come to it.
        planned_epochs: how many there are to be.
        history: the metrics of each of this run's epochs.
        blessing: the verdict, why, and how the model stands to each rule; empty if there is none.
        served: the pushed version's directory; empty if nothing was pushed.
        code: which version of this code ran, as MLflow's tags.
        tracking: where the MLflow run is, and what of it is missing there.
        message: why it failed.
    """

    id: str
    name: str
    status: str
    started: str
    seconds: float = 0.0
    config: dict[str, Any] = field(default_factory=dict)
    nodes: dict[str, NodeRecord] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    epochs: int = 0
    planned_epochs: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    blessing: dict[str, Any] = field(default_factory=dict)
    served: str = ""
    code: dict[str, str] = field(default_factory=dict)
    tracking: dict[str, str] = field(default_factory=dict)
    message: str = ""

    @property
    def at_work(self) -> NodeRecord | None:
        """The node that is at work, or was when the run ended; of several the one that reports an error."""
        states = ("running", "failed", "interrupted")
        nodes = [node for node in self.nodes.values() if node.state in states]
        return next((node for node in nodes if node.error), nodes[0] if nodes else None)
