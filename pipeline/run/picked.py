"""What a sweep says at its end of the trial that it has picked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import fmean

from components.artifacts.trained_model import TrainedModel
from components.evaluate.metrics import shown
from pipeline.config.sweep import SweepConfig
from pipeline.plan.node import Plan
from pipeline.sweep.ranking import Score
from pipeline.sweep.statistics import interval_over_seeds
from pipeline.sweep.titles import settings_title


@dataclass(frozen=True)
class Picked:
    """The trial that is evaluated and served.

    Args:
        trial: its id.
        words: which one it is, of how many, and what it scores, for people.
    """

    trial: str
    words: str


def picked(
    plan: Plan,
    settled: str,
    sweep: SweepConfig | None,
    artifact: Callable[[str, type[TrainedModel]], TrainedModel | None],
) -> Picked | None:
    """Says which trial of a sweep is picked.

    Args:
        plan: of the run.
        settled: the trial that the run has picked; empty if it has picked none.
        sweep: how trials are compared; None if the run is no sweep.
        artifact: gives that of a node, by its name and class.

    Returns:
        None if no trial is picked.
    """
    trial = plan.pick or settled
    own = next((each for each in plan.trials if each.id == trial), None)
    if sweep is None or sweep.monitor is None or own is None or not plan.rungs:
        return None
    scores: dict[str, float] = {}
    split = "validation"
    for each in plan.trials:
        name = plan.rungs[-1].nodes.get(each.id)
        model = artifact(name, TrainedModel) if name and each.group == own.group else None
        if model is not None:
            score = Score.of(model.summary, sweep.monitor)
            scores |= {} if score.value is None else {each.id: score.value}
            split = "validation" if f"val_{sweep.monitor}" in model.summary else "training"
    words = f"trial {trial} ({settings_title(own.told, sweep.repeat > 1, own.config.seed)}), "
    settings = len({each.group for each in plan.trials})
    repeated = f" with {sweep.repeat} seeds each" if sweep.repeat > 1 else ""
    words += f"the best of {settings} {'settings' if repeated else 'trials'}{repeated} on the {split} split"
    if trial in scores:
        words += f": {sweep.monitor} {shown(sweep.monitor, scores[trial])}"
    if (interval := interval_over_seeds([*scores.values()])) is not None:
        mean, low, high = (shown(sweep.monitor, value) for value in (fmean(scores.values()), *interval))
        words += f"; mean over {len(scores)} seeds {mean} ({low} to {high})"
    return Picked(trial, words)
