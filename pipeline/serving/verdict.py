"""The verdict: a pure function of what was measured, of the champion, of what is served and of the rules."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from components.evaluate.config import EvaluateConfig
from components.evaluate.verdict import Rule, Verdict

if TYPE_CHECKING:
    from components.evaluate.measured import Measured
    from components.evaluate.rules import Retained


@dataclass(frozen=True)
class ChampionStanding:
    """How it stands with the model that others must not fall behind.

    Args:
        state: `none` if there is no champion, `unreachable` if nobody can tell or its files cannot be had,
            `unmeasured` if it has not answered the run's examples, `measured`, or `candidate` if it is the
            candidate itself.
        title: what people call it.
        why: why it is unreachable.
        figures: what was measured of it on the same examples.
    """

    state: Literal["none", "unreachable", "unmeasured", "measured", "candidate"] = "none"
    title: str = ""
    why: str = ""
    figures: Measured | None = None


@dataclass(frozen=True)
class Situation:
    """All that the verdict depends on.

    Args:
        candidate: what was measured of the model.
        rules: what is good enough.
        champion: the model that it must not fall behind.
        retained: what was measured on the initial model's test set; None without a warm start.
        served: the version that is this very export, whole, and answers now; None if another one does.
        rolled_back: whether it gave way to an earlier model, and has not been pushed since.
        mixed: whether it was exported from other weights than were measured.
        forced: whether it is to be pushed again, also where it was rolled back or is served already.
    """

    candidate: Measured
    rules: EvaluateConfig
    champion: ChampionStanding = ChampionStanding()
    retained: Retained | None = None
    served: int | None = None
    rolled_back: bool = False
    mixed: bool = False
    forced: bool = False


def decide(situation: Situation) -> Verdict:
    """Says whether a model may be served, and whether it has to be pushed."""
    if situation.rolled_back and not situation.forced:
        return Verdict(
            False, ["it was rolled back; change something, or push it all the same with --force export"]
        )
    if situation.mixed:
        return Verdict(False, ["it was exported from other weights than were measured. Run again"])
    verdict = _compared(situation)
    return replace(verdict, push=verdict.blessed and (situation.forced or situation.served is None))


def _compared(situation: Situation) -> Verdict:
    from components.evaluate.rules import apply_rules

    rules, model, champion = situation.rules, situation.candidate, situation.champion
    if not rules.compares or champion.state == "none":
        return apply_rules(rules, model, retained=situation.retained)
    if champion.state == "unreachable":
        return _not_compared(situation, champion.why)
    if champion.state == "unmeasured":
        return _not_compared(
            situation,
            f"the champion is {champion.title}, which was not measured in this run. Run again to have it "
            "compared",
        )
    if champion.state == "candidate":
        return apply_rules(rules, model, model, f"{champion.title}, which is this model", situation.retained)
    return apply_rules(rules, model, champion.figures, champion.title, situation.retained)


def _not_compared(situation: Situation, why: str) -> Verdict:
    """The verdict where there is a champion, but none to compare with."""
    from components.evaluate.rules import apply_rules

    alone = apply_rules(
        situation.rules, situation.candidate, name="not compared", retained=situation.retained
    )
    rule = Rule("", "", "champion", 0.0, None, False, None, why)
    return Verdict(False, [rule.reason, *alone.reasons], [rule, *alone.rules])
