"""What MLflow is to have of a run, computed from the run's record, its artifacts and its folder."""

from __future__ import annotations

import json
import math
import numbers
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from components import files
from components.artifacts.artifact import Artifact, Reference
from components.artifacts.evaluation import Evaluation
from components.distinct import distinct
from components.errors import UserError
from components.redaction import redacted
from pipeline.config import flatten, yaml_text
from pipeline.plan.node import FIRST
from pipeline.run.folder import RunFolder
from pipeline.run.record import DONE, NodeRecord, RunRecord
from pipeline.stages import stage_named
from pipeline.stages.log import DatasetFacts, StageLog, epochs_seconds

Artifacts = Callable[[str], Artifact | None]
"""Gives a node's artifact, by the node's name."""

RUN = ""
"""In the place of a trial's id: the run itself, the parent of its trials."""
PARAMETERS = "its parameters"
"""The label of the first part of the run and of its trials."""
EPOCH = "epoch_seconds"
"""The metric that all epochs have; it is the last one of an epoch that is sent."""

_PARAMETER_LENGTH, _TAG_LENGTH, _NAME_LENGTH = 6000, 8000, 250  # MLflow's limits
_LAYERS = ("encoder", "attention", "decoder", "pooling")
_STATUS = {"running": "RUNNING", "finished": "FINISHED", "failed": "FAILED"}


class Point(NamedTuple):
    """A value of a metric, at a time in milliseconds since 1970; step 0 is of no epoch."""

    name: str
    value: float
    time: int
    step: int = 0


@dataclass(frozen=True)
class Part:
    """A part of what MLflow is to have; parts arrive, or are refused, one by one.

    Args:
        of: the id of the trial that it belongs to, or RUN.
        label: what people call it.
        params: by name.
        tags: by name.
        metrics: in the order in which MLflow is to show them.
        datasets: the splits that were read.
        files: by path in MLflow, the content, or the artifact and the name that has it there.
        champion: the directory of the served version that is to be registered, and what was measured of it.
        end: status, and the time of the end in milliseconds since 1970; no time while the run goes on.
        error: why the rest of it is not known.
    """

    of: str
    label: str
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    metrics: tuple[Point, ...] = ()
    datasets: tuple[DatasetFacts, ...] = ()
    files: Mapping[str, bytes | tuple[Artifact, str]] = field(default_factory=dict)
    champion: tuple[str, Evaluation | None] | None = None
    end: tuple[str, int | None] | None = None
    error: Exception | None = None


class Contents:
    """Computes the parts; what it has read of an artifact it keeps, as artifacts do not change.

    Args:
        folder: of the run.
    """

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._logs: dict[Reference, StageLog] = {}

    def parts(self, record: RunRecord, artifacts: Artifacts) -> list[Part]:
        """Reads what MLflow is to have now, in the order in which it is to be sent.

        Args:
            record: the run's, as it is now.
            artifacts: gives those of its nodes.
        """
        config = redacted(record.config)
        trials = list(dict.fromkeys(trial for node in record.nodes.values() for trial in node.trials))
        rules = json.dumps(config.get("evaluate", {}).get("bless"))
        tags = _tags({"pipeline": record.name, "bless": rules, **record.code})
        parts = [Part(of, PARAMETERS, params(config), tags) for of in (RUN, *trials)]
        parts.append(Part(RUN, "pipeline.yaml", files={"pipeline.yaml": yaml_text(config).encode()}))
        figures: dict[str, list[Point]] = {trial: [] for trial in trials}
        for node in record.nodes.values():
            if node.trials:  # others belong to other runs
                parts += self._of_node(record, node, artifacts(node.name), figures)
        end = None
        if record.status != "running":
            end = record.began + round(1000 * record.seconds)
            # Only what came best is brought to the end.
            best = max(trials, key=lambda trial: sum(node.state in DONE for node in record.of(trial)))
            if record.verdict:
                parts.append(_verdict(record.verdict))
            if files.exists(self._folder.card):
                parts.append(Part(RUN, "card.html", files={"card.html": files.read(self._folder.card)}))
            taken = sorted(figures[best], key=lambda point: point.step)
            parts.append(Part(RUN, "the trial's figures", metrics=tuple(taken)))
            if record.served:
                made = [artifacts(node.name) for node in record.of(best)]
                evaluated = next((artifact for artifact in made if isinstance(artifact, Evaluation)), None)
                parts.append(Part(RUN, "the champion", champion=(record.served, evaluated)))
        said = {"message": record.message} if record.message else {}
        status = _STATUS.get(record.status, "KILLED"), end
        return parts + [
            Part(of, "the end", tags=_tags({} if of else said), end=status) for of in (*trials, RUN)
        ]

    def _of_node(
        self, record: RunRecord, node: NodeRecord, artifact: Artifact | None, figures: dict[str, list[Point]]
    ) -> Iterator[Part]:
        """A node's epochs, and what its stage logs: metrics with its trials, the rest where it belongs."""
        stage, log, error = stage_named(node.stage), StageLog(), None
        if node.state in DONE:
            try:
                log = self._log(node, artifact)
            except Exception as caught:
                error = caught
        time = record.began
        if node.began is not None and node.seconds is not None:
            time = round(1000 * (node.began + node.seconds))
        # Epochs before an interruption are in the artifact alone.
        epochs = {int(epoch["epoch"]): epoch for epoch in (*log.epochs, *node.history)}
        for number, epoch in sorted(epochs.items()):
            values = {name: value for name, value in epoch.items() if name not in ("epoch", "seconds")}
            values[EPOCH] = epoch.get("seconds", 0.0)
            points = _points(values, node.epoch_times.get(number, time), number)
            for trial in node.trials:
                figures[trial] += points
                yield Part(
                    trial, f"epoch {number}" + ("" if trial == FIRST else f" of {trial}"), metrics=points
                )
        if error is not None:
            yield Part(node.trials[0], node.name, error=error)
        if error is not None or artifact is None or node.state not in DONE:
            return
        measured = dict(log.metrics)
        if node.seconds is not None:
            measured[f"seconds.{stage.name}"] = max(node.seconds, epochs_seconds(log.epochs))
        points = _points(measured, time)
        noted = {**log.tags, f"stage.{stage.name}": "reused" if node.seconds is None else "ran"}
        kept = {path: (artifact, name) for path, name in log.files.items()}
        home = (RUN,) if set(node.trials) == figures.keys() else node.trials  # RUN for what all share
        for of in dict.fromkeys((*home, *node.trials)):
            yield Part(
                of,
                node.name,
                tags=_tags(noted) if of in home else {},
                metrics=points + _points(log.intervals, time) if of in node.trials else (),
                datasets=tuple(log.datasets) if of in home else (),
                files=kept if of in (node.trials if stage.of_trial else home) else {},
            )
        for trial in node.trials:
            figures[trial] = [*points, *figures[trial]] if stage.leads else [*figures[trial], *points]

    def _log(self, node: NodeRecord, artifact: Artifact | None) -> StageLog:
        if artifact is None:
            raise UserError(f"the artifact of {node.name} is damaged, or is gone")
        if artifact.reference not in self._logs:
            self._logs[artifact.reference] = stage_named(node.stage).log(artifact)
        return self._logs[artifact.reference]


def params(config: Mapping[str, Any]) -> dict[str, str]:
    """Returns the parameters, flat: what a run does, and not what is good enough.

    The kinds of layers also have short names: MLflow's parallel coordinates begin with the first three
    parameters of the alphabet that differ.

    Args:
        config: as a record keeps it, without a password.
    """
    layers = {name: config.get("model", {}).get(name) for name in _LAYERS}
    short = {name: kind["type"] if isinstance(kind, dict) else kind for name, kind in layers.items() if kind}
    flat = {k: value for k, value in flatten(dict(config)).items() if not k.startswith("evaluate.bless")}
    values = short | flat
    names = _allowed(values)
    return {names[key]: str(value)[:_PARAMETER_LENGTH] for key, value in values.items()}


def clean_name(text: str) -> str:
    """Replaces what MLflow does not allow in a name."""
    cleaned = re.sub(r"[^\w.\- :]", "_", text)
    return cleaned if cleaned.strip(".") else f"_{cleaned}"


def _allowed(names: Iterable[str], clean: Callable[[str], str] = clean_name) -> dict[str, str]:
    """Names that MLflow allows, by those that were chosen."""
    return distinct(names, clean, _NAME_LENGTH)


def _tags(values: Mapping[str, str]) -> dict[str, str]:
    names = _allowed(values)
    return {names[key]: value[:_TAG_LENGTH] for key, value in values.items() if value}


def _points(values: Mapping[str, Any], time: int, step: int = 0) -> tuple[Point, ...]:
    names = _allowed(values, lambda name: "/".join(map(clean_name, name.split("/"))))
    return tuple(
        Point(names[name], float(value), time, step)
        for name, value in values.items()
        if isinstance(value, numbers.Real) and math.isfinite(value)
    )


def _verdict(verdict: Mapping[str, Any]) -> Part:
    blessed, reasons = str(verdict["blessed"]).lower(), "; ".join(verdict["reasons"])
    tags = {"blessed": blessed, "verdict": reasons, "champion": verdict["champion"]}
    text = json.dumps(verdict, ensure_ascii=False, indent=1).encode()
    return Part(RUN, "the verdict", tags=_tags(tags), files={"evaluate/verdict.json": text})
