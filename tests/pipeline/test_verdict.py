"""The verdict over everything that it depends on: every standing of the champion by every kind of rules."""

import itertools

import pytest

from components.evaluate.config import EvaluateConfig, Threshold
from components.evaluate.measured import Measured
from components.evaluate.rules import Retained
from pipeline.serving.verdict import ChampionStanding, Situation, decide


def measured(accuracy):
    return Measured({"metrics": {"accuracy": accuracy}, "slices": {}}, {})


MODEL = measured(0.8)
STANDINGS = {
    "none": ChampionStanding(),
    "unreachable": ChampionStanding("unreachable", "version 3", "MLflow does not answer"),
    "unmeasured": ChampionStanding("unmeasured", "version 3"),
    "worse": ChampionStanding("measured", "version 3", figures=measured(0.7)),
    "better": ChampionStanding("measured", "version 3", figures=measured(0.9)),
    "candidate": ChampionStanding("candidate", "version 3"),
}
COMPARED = {"worse": "version 3", "better": "version 3", "candidate": "version 3, which is this model"}
NOT_COMPARED = {
    "unreachable": "MLflow does not answer",
    "unmeasured": "the champion is version 3, which was not measured in this run. Run again to have it "
    "compared",
}
MAY_PASS = {"none", "worse", "candidate"}  # where a model passes that must not fall behind
RULES = {
    "no rules": (None, set()),
    "always": ("always", {*STANDINGS}),
    "a bound that is kept": ({"accuracy": Threshold(min=0.5)}, {*STANDINGS}),
    "a bound that is not": ({"accuracy": Threshold(min=0.9)}, set()),
    "a regression": ({"accuracy": Threshold(max_regression=0.01)}, MAY_PASS),
    "a bound and a regression": ({"accuracy": Threshold(min=0.5, max_regression=0.01)}, MAY_PASS),
    "a bound that is not, and a regression": ({"accuracy": Threshold(min=0.9, max_regression=0.01)}, set()),
}


@pytest.mark.parametrize("standing", STANDINGS)
@pytest.mark.parametrize("rules", RULES)
def test_the_verdict(rules, standing):
    bless, passes = RULES[rules]
    compares = "regression" in rules
    for served, rolled_back, mixed, forced in itertools.product((None, 2), *[(False, True)] * 3):
        verdict = decide(
            Situation(
                candidate=MODEL,
                rules=EvaluateConfig(bless=bless),
                champion=STANDINGS[standing],
                served=served,
                rolled_back=rolled_back,
                mixed=mixed,
                forced=forced,
            )
        )
        refused = (rolled_back and not forced) or mixed
        assert verdict.blessed is (standing in passes and not refused)
        # A model is copied once, and again only if that is asked for.
        assert verdict.push is (verdict.blessed and (forced or served is None))
        assert verdict.champion == (COMPARED.get(standing, "") if compares and not refused else "")
        if rolled_back and not forced:
            reason = "it was rolled back; change something, or push it all the same with --force export"
            assert (verdict.reasons, verdict.rules) == ([reason], [])
        elif mixed:
            reason = "it was exported from other weights than were measured. Run again"
            assert (verdict.reasons, verdict.rules) == ([reason], [])
        elif compares and standing in NOT_COMPARED:
            assert verdict.reasons[0] == NOT_COMPARED[standing]
            assert verdict.rules[0].kind == "champion"
            assert any("not compared (max_regression)" in reason for reason in verdict.reasons[1:])
        elif compares and standing == "none":
            assert any(reason == "accuracy: no champion yet (max_regression)" for reason in verdict.reasons)
        assert [rule.reason for rule in verdict.rules] in (verdict.reasons, [])


def test_it_depends_on_nothing_else():
    """The same situation has the same verdict, and neither is changed by it."""
    situation = Situation(MODEL, EvaluateConfig(bless={"accuracy": Threshold(min=0.5)}), STANDINGS["worse"])
    first = decide(situation)
    assert decide(situation) == first
    assert situation.champion == STANDINGS["worse"]


@pytest.mark.parametrize(
    ("after", "blessed", "reason"),
    [
        (0.9, True, "no drop (max_forgetting)"),
        (0.8, True, "no drop (max_forgetting)"),
        (0.5, False, "of run a on its test set: a drop of 0.3 > 0.05 (max_forgetting): fails by 0.25"),
        (None, True, "no initial model (max_forgetting)"),
    ],
)
def test_what_a_warm_started_model_may_forget(after, blessed, reason):
    retained = Retained(measured(after), MODEL, "run a on its test set") if after else None
    rules = EvaluateConfig(bless={"accuracy": Threshold(max_forgetting=0.05)})
    verdict = decide(Situation(MODEL, rules, retained=retained))
    assert verdict.blessed == blessed
    assert reason in verdict.reasons[0]
    (rule,) = verdict.rules
    assert rule.kind == "max_forgetting"
