"""Whether a model may be served: a pure function of what was measured, of the champion and of the rules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from components.evaluate.config import EvaluateConfig
from components.evaluate.verdict import Blessing, Rule

if TYPE_CHECKING:
    from components.evaluate.measured import Measured


@dataclass(frozen=True)
class Situation:
    """All that the verdict depends on, beside the rules.

    Args:
        figures: what was measured of the model.
        given_up: whether it gave way to an earlier model, and nobody insists on it.
        mixed: whether it was exported from other weights than were measured.
        champion: what people call the model that it must not fall behind; empty if there is none.
        unknown: why the champion cannot be asked; empty if it can.
        is_champion: whether it is the champion itself.
        champion_figures: what was measured of the champion on the same examples; None if nothing was.
    """

    figures: Measured
    given_up: bool = False
    mixed: bool = False
    champion: str = ""
    unknown: str = ""
    is_champion: bool = False
    champion_figures: Measured | None = None


def decide(config: EvaluateConfig, situation: Situation) -> Blessing:
    """Judges a model.

    Args:
        config: with the rules.
        situation: that it is in.
    """
    from components.evaluate.blessing import judge

    if situation.given_up:
        return Blessing(
            False, ["it was rolled back; change something, or push it all the same with --force export"]
        )
    if situation.mixed:
        return Blessing(False, ["it was exported from other weights than were measured. Run again"])
    model, champion = situation.figures, situation.champion
    if config.compares and situation.unknown:
        return _not_compared(config, model, situation.unknown)
    if not config.compares or not champion:
        return judge(config, model)
    if situation.is_champion:
        return judge(config, model, model, f"{champion}, which is this model")
    if situation.champion_figures is None:
        return _not_compared(
            config,
            model,
            f"the champion is {champion}, which was not asked in this run. Run again to have it compared",
        )
    return judge(config, model, situation.champion_figures, champion)


def _not_compared(config: EvaluateConfig, model: Measured, why: str) -> Blessing:
    """The verdict where there is a champion, but none to compare with."""
    from components.evaluate.blessing import judge

    alone = judge(config, model, name="not compared")
    rule = Rule("", "", "champion", 0.0, None, False, None, why)
    return Blessing(False, [rule.reason, *alone.reasons], [rule, *alone.rules])
