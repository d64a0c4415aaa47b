"""What MLflow is to have of a stage of a trial: its epochs, and what the stage logs of its artifact."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from components.artifacts.artifact import Artifact, Reference
from components.errors import UserError
from pipeline.plan.node import FIRST
from pipeline.run.record import DONE, NodeRecord, RunRecord
from pipeline.stages import stage_named
from pipeline.stages.log import StageLog, epochs_seconds
from pipeline.tracking.part import EPOCH, Part, Point, named, points, tags

Artifacts = Callable[[str], Artifact | None]
"""Gives a node's artifact, by the node's name."""


@dataclass(frozen=True)
class StageParts:
    """What there is of a stage.

    Args:
        parts: to be sent.
        figures: what of it the run shows if it has this trial's figures, but for epochs.
        epochs: the same of every epoch, in order.
        leads: whether the figures come before those of other stages.
    """

    parts: Sequence[Part]
    figures: Sequence[Point] = ()
    epochs: Sequence[Point] = ()
    leads: bool = False

    @property
    def whole(self) -> bool:
        """Whether all of it could be read."""
        return all(part.error is None for part in self.parts)


class StageReader:
    """Reads what stages log; what it has read of an artifact it keeps, as artifacts do not change."""

    def __init__(self) -> None:
        self._logs: dict[Reference, StageLog] = {}

    def parts(
        self,
        record: RunRecord,
        nodes: Sequence[NodeRecord],
        of: Sequence[str],
        home: Sequence[str],
        artifacts: Artifacts,
        over: bool = True,
        score: Mapping[str, float] = {},
        first: str = "",
    ) -> StageParts:
        """Reads a stage of one or several trials.

        Metrics go with the trials, the rest where it belongs.

        Args:
            record: of the run.
            nodes: one, or those that continue each other, in order; the last artifact stands for all.
            of: the ids of the trials; none if its metrics are of no trial.
            home: where what is not of a trial alone goes, ids of trials or RUN.
            artifacts: gives those of the nodes.
            over: whether no further node comes: what the last artifact says is not sent before.
            score: metrics that are sent ahead of those that the stage logs.
            first: which metric of an epoch is sent ahead of the others.
        """
        stage, log, error = stage_named(nodes[0].stage), StageLog(), None
        done = [node for node in nodes if node.state in DONE]
        artifact = artifacts(done[-1].name) if done else None
        if done:
            try:
                log = self._log(done[-1], artifact)
            except Exception as caught:
                error = caught
        parts: list[Part] = []
        epochs: list[Point] = []
        for number, (epoch, time) in sorted(_epochs(record, nodes, log).items()):
            values = {name: value for name, value in epoch.items() if name not in ("epoch", "seconds")}
            values = {first: values[first], **values} if first in values else values
            values[EPOCH] = epoch.get("seconds", 0.0)
            measured = points(values, time, number)
            epochs += measured
            for trial in of:
                label = f"epoch {number}" + ("" if trial == FIRST else f" of {trial}")
                parts.append(Part(trial, label, metrics=measured))
        if error is not None:
            parts.append(Part((*of, *home)[0], done[-1].name, error=error))
        if error is not None or artifact is None or not over:
            return StageParts(parts, epochs=epochs)
        time = ended(record, done[-1])
        seconds = [node.seconds for node in done if node.seconds is not None]
        measurements = dict(score) | log.metrics
        if seconds:
            measurements[f"seconds.{stage.name}"] = max(sum(seconds), epochs_seconds(log.epochs))
        figures = points(measurements, time)
        noted = {**log.tags, f"stage.{stage.name}": "ran" if seconds else "reused"}
        kept = {path: (artifact, name) for path, name in log.files.items()}
        for each in dict.fromkeys((*home, *of)):
            part = Part(
                each,
                done[-1].name,
                params=named(log.params) if each in home else {},
                tags=tags(noted) if each in home else {},
                metrics=figures + points(log.intervals, time) if each in of else (),
                datasets=tuple(log.datasets) if each in home else (),
                files=kept if each in (of if stage.of_trial else home) else {},
            )
            parts.append(part)
        return StageParts(parts, figures, epochs, stage.leads)

    def _log(self, node: NodeRecord, artifact: Artifact | None) -> StageLog:
        if artifact is None:
            raise UserError(f"the artifact of {node.name} is damaged, or is gone")
        if artifact.reference not in self._logs:
            self._logs[artifact.reference] = stage_named(node.stage).log(artifact)
        return self._logs[artifact.reference]


def ended(record: RunRecord, node: NodeRecord) -> int:
    """Returns when a node was done, in milliseconds since 1970; of one that is reused when the run began."""
    began = node.work_began or node.began
    if began is None or node.seconds is None:
        return record.began
    return round(1000 * (began + node.seconds))


def _epochs(
    record: RunRecord, nodes: Sequence[NodeRecord], log: StageLog
) -> dict[int, tuple[Mapping[str, Any], int]]:
    """By number the metrics of an epoch, and when it was over."""
    found: dict[int, tuple[Mapping[str, Any], int]] = {}
    for node in nodes:
        time = ended(record, node)
        # Epochs before an interruption are in the artifact alone.
        last = int(node.summary.get("epochs", len(log.epochs))) if node.state in DONE else 0
        before = [epoch for epoch in log.epochs if int(epoch["epoch"]) <= last]
        for epoch in (*node.history, *before):
            number = int(epoch["epoch"])
            found.setdefault(number, (epoch, node.epoch_times.get(number, time)))
    return found
