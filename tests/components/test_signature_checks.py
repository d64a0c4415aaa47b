import math

import numpy as np
import pytest

from components.export.signature_checks import CHECKS, Answer, Scored, agree


@pytest.mark.parametrize(
    ("score", "other", "same"),
    [
        (0.5, 0.5, True),
        (0.5, 0.50009, True),
        (0.5, 0.5002, False),
        (0.0, 0.00009, True),
        (-1000.0, -1000.09, True),
        (-1000.0, -1000.11, False),
        (math.nan, math.nan, True),
        (math.nan, -math.inf, True),
        (math.nan, 0.5, False),
        (0.5, math.nan, False),
        (0.5, math.inf, False),
    ],
)
def test_scores_may_differ_by_rounding_only(score, other, same):
    assert agree(Answer("b", score), Answer("b", other)) is same
    assert not agree(Answer("b", score), Answer("c", other))


def n_best(predictions, scores, finished):
    outputs = {
        "predictions": np.array([text.encode() for text in predictions], object),
        "scores": np.array(scores, "float32"),
        "finished": np.array(finished),
    }
    return CHECKS["n_best"].fault(Answer("a", -1.0), outputs)


@pytest.mark.parametrize(
    ("predictions", "scores", "finished"),
    [
        (["a"], [-1.0], [True]),
        (["a", "b", ""], [-1.0, -1.0, -2.0], [True, True, True]),
        (["a", "b", "c"], [-1.0, -3.0, -2.0], [True, True, False]),  # what was cut ranks behind
        (["a", "", ""], [-1.0, -2.0, -math.inf], [True, False, False]),
    ],
)
def test_sound_lists_of_answers(predictions, scores, finished):
    assert n_best(predictions, scores, finished) is None


@pytest.mark.parametrize(
    ("predictions", "scores", "finished", "fault"),
    [
        (["b", "a"], [-1.0, -2.0], [True, True], "the first is 'b' (score -1), not 'a' (score -1)"),
        (["a", "b"], [-1.1, -2.0], [True, True], "the first is 'a' (score -1.1), not 'a' (score -1)"),
        (["a", "b"], [-1.0, math.nan], [True, True], "the scores are [-1.0, nan]"),
        (["a", "b"], [-1.0, math.inf], [True, True], "the scores are [-1.0, inf]"),
        (["a", "b"], [-1.0, -math.inf], [True, False], "1 of the scores are finite, but the places"),
        (["a", ""], [-1.0, -math.inf], [True, True], "1 of the scores are finite, but the places"),
        (["a", "", "b"], [-1.0, -math.inf, -2.0], [True, False, True], "2 of the scores are finite, but"),
        (
            ["a", "b", "c"],
            [-1.0, -3.0, -2.0],
            [True, True, True],
            "they are not sorted: the scores are [-1.0",
        ),
        (["a", "b"], [-1.0, -2.0], [False, True], "they are not sorted"),
        (["a", "b", "b"], [-1.0, -2.0, -3.0], [True, True, True], "one occurs twice: ['a', 'b', 'b']"),
    ],
)
def test_faults_of_a_list_of_answers(predictions, scores, finished, fault):
    assert n_best(predictions, scores, finished).startswith(fault)


def classified(classes, scores, expected=("a", 0.5)):
    outputs = {"classes": np.array([label.encode() for label in classes], object), "scores": np.array(scores)}
    return CHECKS["classify"].fault(Answer(*expected), outputs)


def test_sound_classes():
    assert classified("abc", [0.5, 0.3, 0.2]) is None
    assert classified("ba", [0.5, 0.5]) is None  # of equal ones either may be the answer


@pytest.mark.parametrize(
    ("classes", "scores", "fault"),
    [
        ("abc", [0.3, 0.5, 0.2], "the best is 'b' (score 0.5), not 'a' (score 0.5)"),
        ("abc", [0.6, 0.3, 0.1], "the best is 'a' (score 0.6), not 'a' (score 0.5)"),
        ("aab", [0.5, 0.3, 0.2], "a class occurs twice: ['a', 'a', 'b']"),
        ("abc", [0.5, 0.3, 0.1], "the scores are no probabilities"),
        ("abc", [0.5, 0.7, -0.2], "the scores are no probabilities"),
        ("abc", [0.5, math.nan, 0.5], "the scores are no probabilities"),
    ],
)
def test_faults_of_classes(classes, scores, fault):
    assert classified(classes, scores).startswith(fault)


SOUND = [[0.25, 0.75, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]


def explained(attention, prediction="a", score=-1.0):
    outputs = {
        "prediction": prediction.encode(),
        "score": np.float32(score),
        "source_tokens": np.array([b"x", b"y", b""], object),
        "target_tokens": np.array([b"a", b"", b""], object),
        "attention": np.array(attention, "float32"),
    }
    return CHECKS["explain"].fault(Answer("a", -1.0), outputs)


@pytest.mark.parametrize("first", [[0.25, 0.75, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0], [0.5, 0.2, 0.0]])
def test_sound_explanations(first):
    assert explained([first, *SOUND[1:]]) is None


@pytest.mark.parametrize(
    ("first", "fault"),
    [
        ([-0.25, 1.25, 0.0], "a weight is negative or not finite"),
        ([math.nan, 0.5, 0.0], "a weight is negative or not finite"),
        ([math.inf, 0.5, 0.0], "a weight is negative or not finite"),
        ([0.5, 0.75, 0.0], "the weights of token 1 add up to 1.25"),
        ([0.5, 0.25, 0.25], "padding has a weight"),
    ],
)
def test_faults_of_an_explanation(first, fault):
    assert explained([first, *SOUND[1:]]) == fault


def test_other_faults_of_an_explanation():
    assert explained([SOUND[0], [0.0, 0.5, 0.0], SOUND[2]]) == "padding has a weight"
    assert explained(SOUND[:2]) == "3 by 3 tokens have weights of the shape (2, 3)"
    assert explained(SOUND, "b") == "the answer is 'b' (score -1), not 'a' (score -1)"
    assert explained(SOUND, score=-2.0) == "the answer is 'a' (score -2), not 'a' (score -1)"


def test_no_answer_at_all_is_explained_by_nothing():
    outputs = {
        "prediction": b"a",
        "score": np.float32(-1.0),
        "source_tokens": np.array([b"x"], object),
        "target_tokens": np.zeros(0, object),
        "attention": np.zeros((0, 1), "float32"),
    }
    assert CHECKS["explain"].fault(Answer("a", -1.0), outputs) is None


NOTHING, QUARTER = Scored(), math.log(0.25)


def label(expected=NOTHING, probability=0.25, logarithm=QUARTER, known=True):
    outputs = {"probability": probability, "log_probability": logarithm, "known": known}
    return CHECKS["score"].fault(expected, {name: np.asarray(value) for name, value in outputs.items()})


FIGURES = {"probability": 0.25, "log_probability": QUARTER, "known": True}


@pytest.mark.parametrize("expected", [Scored(), Scored(FIGURES), Scored(answer=Answer("a", 0.25))])
def test_a_sound_label(expected):
    assert label(expected) is None


def test_a_sound_label_that_is_unknown():
    figures = {"probability": 0.0, "log_probability": None, "known": False}
    assert label(Scored(figures), 0.0, -math.inf, False) is None


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ({"probability": 0.3}, "the probability is 0.3, its logarithm -1.38629"),
        ({"probability": math.nan, "logarithm": math.nan}, "the probability is nan, its logarithm nan"),
        ({"probability": -0.1}, "the probability is -0.1, its logarithm -1.38629"),
        ({"known": False}, "an unknown label has the probability 0.25"),
        (
            {"expected": Scored(answer=Answer("a", 0.5))},
            "the probability is 0.25, but the answer is 'a' (score 0.5)",
        ),
        (
            {"expected": Scored(answer=Answer("a", 0.0)), "probability": 0.0, "logarithm": -math.inf}
            | {"known": False},
            "the probability is 0, but the answer is 'a' (score 0)",
        ),
        ({"expected": Scored({"probability": 0.26})}, "probability is 0.25, not 0.26"),
        ({"expected": Scored({"log_probability": None})}, "log_probability is -1.38629, not None"),
        ({"expected": Scored({"known": False})}, "known is 1, not False"),
        ({"expected": Scored({"tokens": 3})}, "there is no tokens"),
    ],
    ids=str,
)
def test_faults_of_a_label(arguments, fault):
    assert label(**arguments) == fault


def sequence(tokens=("ä", "<unk>", "</s>", ""), each=(-1.0, -2.0, -0.5, 0.0), known=False, **others):
    outputs = {
        "log_probability": np.float32(others.get("total", sum(each))),
        "score": np.float32(-9.0),
        "tokens": np.int32(others.get("count", 3)),
        "known": np.bool_(known),
        "token_log_probabilities": np.array(each, "float32"),
        "target_tokens": np.array([token.encode() for token in tokens], object),
    }
    return CHECKS["score"].fault(others.get("expected", Scored()), outputs)


def test_a_sound_sequence():
    assert sequence() is None
    assert sequence(["</s>", ""], [-3.0, 0.0], known=True, count=1) is None
    assert sequence(expected=Scored({"log_probability": -3.5, "score": -9.0, "tokens": 3})) is None
    # A decoder that explodes on a long target does so before it is exported, too.
    assert sequence(each=[-1.0, math.nan, -0.5, 0.0], expected=Scored({"log_probability": None})) is None
    # What the model answers may have been other tokens, or cut.
    assert sequence(expected=Scored(answer=Answer("a", -4.0))) is None


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ({"count": 2}, "2 tokens are ['ä', '<unk>', '</s>', '']"),
        ({"count": 0}, "0 tokens are"),
        ({"count": 5}, "5 tokens are"),
        (
            {"tokens": ["a", "</s>", "b", ""], "count": 2, "known": True},
            "2 tokens are ['a', '</s>', 'b', '']",
        ),
        ({"tokens": ["a", "b", "</s>"], "known": True}, "3 tokens are ['a', 'b', '</s>']"),
        ({"each": [-1.0, 0.1, -0.5, 0.0]}, "the log probabilities of 3 tokens are [-1.0, 0.1"),
        ({"each": [-1.0, math.nan, -0.5, 0.0]}, "the log probabilities of 3 tokens are [-1.0, nan"),
        ({"each": [-1.0, -2.0, -0.5, -0.1]}, "the log probabilities of 3 tokens are"),
        ({"total": -4.0}, "the log probability is -4, but the sum over the tokens -3.5"),
        ({"known": True}, "known is True, but the tokens are ['ä', '<unk>', '</s>', '']"),
        ({"expected": Scored({"score": -9.1})}, "score is -9, not -9.1"),
    ],
    ids=str,
)
def test_faults_of_a_sequence(arguments, fault):
    assert sequence(**arguments).startswith(fault)
