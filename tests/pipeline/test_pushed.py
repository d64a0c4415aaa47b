"""The line that says why a model was pushed."""

import pytest

from components.evaluate.verdict import Difference, Rule, Verdict
from pipeline.run.pushed import pushed_words

LEAST = Rule("accuracy", "", "min", 0.85, 0.8956, True, 1.0, "")
MOST = Rule("calibration_error", "", "max", 0.1, 0.0212, True, 1.0, "")
SLICED = Rule("accuracy", "length=1-9", "min", 0.7, 0.8, True, 1.0, "")


def beside(metric, value, interval, kind="max_regression"):
    return Rule(metric, "", kind, 0.01, -value, True, 0.9, "", Difference(value, interval))


BESIDE = beside("accuracy", 0.004, (-0.002, 0.01))


@pytest.mark.parametrize(
    ("rules", "champion", "expected"),
    [
        ([LEAST], "", "accuracy 0.8956 >= 0.85 on 1,000 examples"),
        ([LEAST, MOST], "", "accuracy 0.8956 >= 0.85, calibration_error 0.0212 <= 0.1 on 1,000 examples"),
        ([LEAST, SLICED], "", "accuracy 0.8956 >= 0.85, 1 bound in slices on 1,000 examples"),
        ([SLICED, SLICED], "", "2 bounds in slices on 1,000 examples"),
        (
            [LEAST, BESIDE],
            "version 2",
            "accuracy 0.8956 >= 0.85 on 1,000 examples; champion 2: accuracy +0.0040 "
            "(95 %: -0.0020 to +0.0100)",
        ),
        (
            [BESIDE, beside("bleu", -1.5, None)],
            "serving/dates/2 (served)",
            "measured on 1,000 examples; champion serving/dates/2 (served): accuracy +0.0040 "
            "(95 %: -0.0020 to +0.0100), bleu -1.50",
        ),
        (
            [beside("accuracy", 0.0, (0.0, 0.0), "max_forgetting")],
            "",
            "measured on 1,000 examples; initial model: accuracy +0.0000 (95 %: +0.0000 to +0.0000)",
        ),
        (
            [Rule("accuracy", "", "max_regression", 0.01, None, True, None, "accuracy: no champion yet (x)")],
            "",
            "measured on 1,000 examples; no champion yet",
        ),
    ],
)
def test_a_push_says_what_it_rests_on(rules, champion, expected):
    verdict = Verdict(True, [rule.reason for rule in rules], rules, champion, push=True)
    assert pushed_words(verdict, "3", 1000, "test") == f"version 3: {expected}"


def test_a_model_that_is_always_pushed_and_one_of_the_validation_split():
    always = Verdict(True, ["bless: always"], push=True)
    assert pushed_words(always, "1", 40, "test") == "version 1: bless: always on 40 examples"
    blessed = Verdict(True, [""], [LEAST], push=True)
    assert pushed_words(blessed, "1", 40, "validation").endswith(">= 0.85 on 40 examples of validation")
