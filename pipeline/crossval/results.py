"""What came of a cross-validation, fold by fold and over all folds."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from statistics import fmean

import numpy as np

from components.artifacts.artifact import Artifact
from components.artifacts.evaluation import Evaluation
from components.artifacts.examples import Examples
from components.errors import UserError
from components.evaluate.answers import Answers
from components.evaluate.measure import Measure
from components.evaluate.metrics import RankedMetric, metric_info
from components.plugins import is_reference
from pipeline.config import PipelineConfig
from pipeline.crossval.folds import FOLD
from pipeline.crossval.spread import Spread, spread_of
from pipeline.plan.node import Plan
from pipeline.run.record import NodeRecord

_BATCH = 4096  # answers

Artifacts = Callable[[str], Artifact | None]
"""Gives a node's artifact, by the node's name."""


@dataclass(frozen=True)
class Fold:
    """What came of one fold.

    Args:
        number: which one, from 1.
        examples: how its records were split; None if it did not come to that.
        evaluation: of its model on its test split; None if it failed, or did not come to that.
        error: why, for people, if that is known.
    """

    number: int
    examples: Examples | None
    evaluation: Evaluation | None
    error: str = ""

    @property
    def trained(self) -> int:
        """How many records its model was trained on."""
        return int(self.examples.summary["examples"]["train"]) if self.examples else 0

    @property
    def tested(self) -> int:
        """How many answers it was measured by."""
        return int(self.evaluation.summary["examples"]) if self.evaluation else 0

    @property
    def metrics(self) -> Mapping[str, float]:
        """What was measured; nothing if it did not come to that."""
        return dict(self.evaluation.summary["metrics"]) if self.evaluation else {}


@dataclass(frozen=True)
class Pooled:
    """A metric of all out-of-fold answers at once.

    Args:
        value: of the metric.
        interval: what holds the middle 95 % of the bootstrap's resamples of the records; None without any.
    """

    value: float
    interval: tuple[float, float] | None = None


@dataclass(frozen=True)
class Results:
    """What came of all folds.

    Args:
        folds: in order, also those that failed.
        spreads: by metric, over the folds that were measured.
        pooled: by metric, over all answers at once; those that rank answers by their scores are left out, as
            scores of different models do not compare (Forman and Scholz, "Apples-to-Apples in
            Cross-Validation Studies", SIGKDD Explorations 12, 2010), and so is a metric of the user's that
            needs what is not kept of answers, such as their unknown tokens.
    """

    folds: Sequence[Fold]
    spreads: Mapping[str, Spread] = field(default_factory=dict)
    pooled: Mapping[str, Pooled] = field(default_factory=dict)

    @property
    def measured(self) -> list[Fold]:
        """The folds that were measured."""
        return [fold for fold in self.folds if fold.evaluation is not None]

    @property
    def missing(self) -> list[Fold]:
        """The others."""
        return [fold for fold in self.folds if fold.evaluation is None]

    @property
    def answers(self) -> int:
        """How many records were answered by a model that had not seen them."""
        return sum(fold.tested for fold in self.folds)


def results_of(
    config: PipelineConfig, plan: Plan, artifacts: Artifacts, errors: Mapping[str, str] | None = None
) -> Results:
    """Reads what was measured, as far as it is there.

    Args:
        config: of the cross-validation.
        plan: of its nodes.
        artifacts: gives those of its nodes.
        errors: why folds have failed, by trial.

    Raises:
        UserError: if a file of an artifact is missing or damaged.
    """
    folds = []
    for trial in plan.trials:
        found = {kind: artifacts(plan.shared[kind.stage, trial.id]) for kind in (Examples, Evaluation)}
        examples, evaluation = found[Examples], found[Evaluation]
        folds.append(
            Fold(
                trial.settings[FOLD],
                examples if isinstance(examples, Examples) else None,
                evaluation if isinstance(evaluation, Evaluation) else None,
                (errors or {}).get(trial.id, ""),
            )
        )
    measured = [fold for fold in folds if fold.evaluation is not None]
    if not measured:
        return Results(folds)
    ratio = fmean(fold.tested for fold in measured) / max(fmean(fold.trained for fold in measured), 1)
    spreads = {}
    for name in config.evaluate.measured(config.task):
        values = [fold.metrics[name] for fold in measured if name in fold.metrics]
        if values:
            spreads[name] = spread_of(values, ratio, metric_info(name).range)
    return Results(folds, spreads, _pooled(config, measured))


def _pooled(config: PipelineConfig, folds: Sequence[Fold]) -> dict[str, Pooled]:
    names = [name for name in config.evaluate.measured(config.task) if not _ranks(name)]
    known = [name for name in names if not is_reference(name)]
    pooled = _pool(known, config.evaluate.resamples, folds)
    for name in names:
        if name not in known:
            with suppress(UserError):
                pooled |= _pool([name], config.evaluate.resamples, folds)
    return {name: pooled[name] for name in names if name in pooled}


def _pool(names: Sequence[str], resamples: int, folds: Sequence[Fold]) -> dict[str, Pooled]:
    measure = Measure(names, resamples)
    sums = measure.create_accumulator()
    for answers in _batches(folds):
        sums = measure.add_input(sums, answers)
    report = measure.extract_output(sums)
    intervals = {name: (low, high) for name, (low, high) in report["intervals"].items()}
    return {name: Pooled(value, intervals.get(name)) for name, value in report["metrics"].items()}


def _ranks(name: str) -> bool:
    info = metric_info(name)
    return info.two_labels or isinstance(info.computed_by(), RankedMetric)


def _batches(folds: Sequence[Fold]) -> Iterator[Answers]:
    rows = itertools.chain.from_iterable(fold.evaluation.predictions() for fold in folds if fold.evaluation)
    first = 0
    while batch := list(itertools.islice(rows, _BATCH)):
        kept = batch[0].get("columns", ())
        scores = [np.nan if row["score"] is None else row["score"] for row in batch]
        yield Answers.of(
            *([row[name] for row in batch] for name in ("input", "target", "prediction")),
            numbers=np.arange(first, first + len(batch)),
            scores=np.asarray(scores, np.float32),
            columns={name: [row["columns"][name] for row in batch] for name in kept},
        )
        first += len(batch)


def errors_of(nodes: Mapping[str, NodeRecord]) -> dict[str, str]:
    """Returns why trials have failed, by trial.

    Args:
        nodes: of a run's record, by name.
    """
    return {
        trial: node.error
        for node in nodes.values()
        if node.state in ("failed", "interrupted") and node.error
        for trial in node.trials
    }
