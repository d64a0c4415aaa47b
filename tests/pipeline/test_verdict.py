"""The verdict as a table: every standing of the champion, beside all else that it depends on."""

import itertools

import pytest
from made_models import report_of

from components.evaluate.config import EvaluateConfig
from components.evaluate.measured import apart, together
from components.evaluate.rules import Retained
from pipeline.serving.verdict import ChampionStanding, Situation, decide


def measured(right):
    """What is measured where so many of 400 answers are right."""
    return together(*apart(report_of(right)))


MODEL, BETTER, WORSE = measured(320), measured(380), measured(200)
COMPARES = {"accuracy": {"max_regression": 0.01}}
ALONE = {"accuracy": {"min": 0.5}}
STANDINGS = {
    "none": (ChampionStanding(), True, "no champion yet"),
    "unreachable": (ChampionStanding("unreachable", why="nobody answers"), False, "nobody answers"),
    "unmeasured": (
        ChampionStanding("unmeasured", "version 3"),
        False,
        "the champion is version 3, which was not measured in this run",
    ),
    "better": (ChampionStanding("measured", "version 3", figures=BETTER), False, "fails by"),
    "worse": (ChampionStanding("measured", "version 3", figures=WORSE), True, "no drop"),
    "itself": (ChampionStanding("candidate", "version 3"), True, "version 3, which is this model: no drop"),
}


def rules(bless):
    return EvaluateConfig.model_validate({"bless": bless})


@pytest.mark.parametrize(
    ("standing", "served", "forced"), itertools.product(STANDINGS, [None, 3], [False, True])
)
def test_a_model_is_compared_with_the_champion(standing, served, forced):
    champion, blessed, reason = STANDINGS[standing]
    verdict = decide(Situation(MODEL, rules(COMPARES), champion, served=served, forced=forced))
    assert verdict.blessed == blessed
    assert reason in " ".join(verdict.reasons)
    assert verdict.push == (blessed and (forced or served is None))
    assert verdict.champion == (
        ""
        if standing in ("none", "unreachable", "unmeasured")
        else champion.title + (", which is this model" if standing == "itself" else "")
    )


@pytest.mark.parametrize("standing", STANDINGS)
def test_without_a_rule_that_compares_the_champion_does_not_count(standing):
    verdict = decide(Situation(MODEL, rules(ALONE), STANDINGS[standing][0]))
    assert verdict.blessed
    assert verdict.champion == ""


@pytest.mark.parametrize(("standing", "served"), itertools.product(STANDINGS, [None, 3]))
def test_what_was_rolled_back_is_pushed_by_force_only(standing, served):
    champion, blessed, _ = STANDINGS[standing]
    situation = {"candidate": MODEL, "rules": rules(COMPARES), "champion": champion, "served": served}
    verdict = decide(Situation(**situation, rolled_back=True))
    assert (verdict.blessed, verdict.push) == (False, False)
    assert verdict.reasons == [
        "it was rolled back; change something, or push it all the same with --force export"
    ]
    forced = decide(Situation(**situation, rolled_back=True, forced=True))
    assert (forced.blessed, forced.push) == (blessed, blessed)


@pytest.mark.parametrize("forced", [False, True])
def test_other_weights_than_were_measured_are_never_pushed(forced):
    verdict = decide(Situation(MODEL, rules("always"), mixed=True, forced=forced))
    assert (verdict.blessed, verdict.push) == (False, False)
    assert "exported from other weights" in verdict.reasons[0]


@pytest.mark.parametrize(("bless", "blessed"), [("always", True), (None, False)])
def test_rules_that_ask_for_nothing(bless, blessed):
    verdict = decide(Situation(MODEL, rules(bless)))
    assert (verdict.blessed, verdict.push) == (blessed, blessed)


@pytest.mark.parametrize(
    ("after", "blessed", "reason"),
    [
        (BETTER, True, "no drop (max_forgetting)"),
        (MODEL, True, "no drop (max_forgetting)"),
        (WORSE, False, "of run a on its test set: a drop of 0.3 > 0.05 (max_forgetting): fails by 0.25"),
        (None, True, "no initial model (max_forgetting)"),
    ],
)
def test_what_a_warm_started_model_may_forget(after, blessed, reason):
    retained = Retained(after, MODEL, "run a on its test set") if after else None
    situation = Situation(MODEL, rules({"accuracy": {"max_forgetting": 0.05}}), ChampionStanding(), retained)
    verdict = decide(situation)
    assert verdict.blessed == blessed
    assert reason in verdict.reasons[0]
    (rule,) = verdict.rules
    assert rule.kind == "max_forgetting"
