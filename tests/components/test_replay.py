import functools
import itertools
import json
import math
import os
import subprocess
import sys

import pytest
import tensorflow as tf

from components.errors import UserError
from components.export import replay
from components.export.saved_model import export_saved_model
from components.export.validate import validate
from components.export.warmup import write_warmup
from components.export.warmup_log import WARMUP


class Shouter(tf.Module):
    """Answers in capitals, with a score in proportion to the length."""

    def __init__(self, weight=0.5, *, companions_count=False, limit=None, fail=None):
        super().__init__()
        self.weight = tf.Variable(weight)
        self.companions_count = companions_count
        self.limit = limit
        self.fail = fail

    def __call__(self, text):
        length = tf.strings.length(text, "UTF8_CHAR")
        score = self.weight * tf.cast(length, tf.float32)
        if self.companions_count:
            score += tf.reduce_max(score)
        if self.limit is not None:
            score = tf.where(length > self.limit, math.inf, score)
        if self.fail is not None:
            safe = tf.debugging.assert_none_equal(text, self.fail, message="cannot answer this")
            with tf.control_dependencies([safe]):
                score = tf.identity(score)
        return {"prediction": tf.strings.upper(text, encoding="utf-8"), "score": score}


def evaluated(count=40):
    inputs = ["wörd " * (index % 7 + 1) + str(index) for index in range(count)]
    return [{"input": text, "prediction": text.upper(), "score": 0.5 * len(text)} for text in inputs]


@pytest.fixture
def prove(tmp_path):
    """Exports a function, and others beside it, and validates it on examples."""

    def run(function, examples=None, count=64, **others):
        model = str(tmp_path / "model")
        if function is not None:
            export_saved_model({"serving_default": function, **others}, [], model)
            write_warmup(model, ["serving_default", *others], ["warm"], ["target"])
        path = tmp_path / "predictions.jsonl"
        rows = evaluated() if examples is None else examples
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return validate(model, str(path), count, str(tmp_path / "validation.json"))

    run.report = lambda: json.loads((tmp_path / "validation.json").read_text(encoding="utf-8"))
    run.model = tmp_path / "model"
    return run


def test_a_sound_export_is_proved(prove):
    report = prove(Shouter())
    assert report == prove.report()
    assert report["ok"]
    assert report["replayed"] == 40
    assert (report["mismatched"], report["mismatches"], report["undefined"]) == (0, [], {})
    assert report["signatures"] == {}
    assert report["foreign_modules"] == []
    assert report["largest_score_difference"] == 0
    assert report["load_seconds"] > 0
    for size in ("1", "32"):
        latency = report["latency_milliseconds"][size]
        assert 0 < latency["p50"] <= latency["p99"]
        assert 1 <= latency["calls"] <= 200


def test_a_changed_weight_is_refused_with_what_differs(prove):
    with pytest.raises(
        UserError, match=r"^refused to push: 40 of 40 examples answered differently in"
    ) as error:
        prove(Shouter(weight=0.51))
    assert "input 'wörd 0', evaluated as 'WÖRD 0' (score 3.0), served as 'WÖRD 0' (score 3.06" in str(
        error.value
    )
    assert str(error.value).count("evaluated as") == 3
    assert "run it again with --force export" in str(error.value)
    assert len(prove.report()["mismatches"]) == 10


def test_one_other_answer_is_enough(prove):
    examples = evaluated()
    examples[37]["prediction"] += "!"
    with pytest.raises(UserError, match=r"1 of 40 examples .* evaluated as 'WÖRD WÖRD WÖRD 37!'"):
        prove(Shouter(), examples)


def test_an_answer_that_depends_on_its_batch_is_refused(prove):
    examples = evaluated(32)
    longest = max(row["score"] for row in examples)
    for row in examples:
        row["score"] += longest  # as evaluation found it, all being one batch
    with pytest.raises(UserError, match="of 32 examples answered differently"):
        prove(Shouter(companions_count=True), examples)


def test_a_cut_variables_file_is_refused(prove):
    prove(Shouter())
    (data,) = (prove.model / "variables").glob("*.data-*")
    data.write_bytes(data.read_bytes()[:-2])
    with pytest.raises(
        UserError, match=r"refused to push: the SavedModel cannot be served: Read less bytes than requested"
    ):
        prove(None)
    assert not prove.report()["ok"]


def n_best(text):
    """What Shouter answers, and something worse."""
    score = 0.5 * tf.cast(tf.strings.length(text, "UTF8_CHAR"), tf.float32)
    shouted = tf.strings.upper(text, encoding="utf-8")
    return {
        "predictions": tf.stack([shouted, tf.strings.join([text, "?"])], axis=1),
        "scores": tf.stack([score, score - 1.0], axis=1),
        "finished": tf.ones([tf.size(text), 2], tf.bool),
    }


def test_other_signatures_that_agree_are_proved(prove):
    report = prove(Shouter(), n_best=n_best, shout=Shouter(weight=9.0))
    assert report["signatures"] == {"n_best": {"answered": 43, "faulty": 0, "faults": []}}


def test_a_signature_that_contradicts_the_answers_is_refused(prove):
    def contradicting(text):
        found = n_best(text)
        return {**found, "scores": found["scores"] + tf.where(text == "wörd 0", 1.0, 0.0)[:, None]}

    with pytest.raises(UserError, match=r"refused to push: the signature n_best answers 1 of 43") as error:
        prove(Shouter(), n_best=contradicting)
    fault = "the first is 'WÖRD 0' (score 4), not 'WÖRD 0' (score 3)"
    assert f"texts wrongly: input 'wörd 0': {fault}. The Keras model did" in str(error.value)
    assert prove.report()["signatures"] == {
        "n_best": {"answered": 43, "faulty": 1, "faults": [{"input": "wörd 0", "fault": fault}]}
    }


def test_a_signature_must_answer_hard_inputs_as_well(prove):
    def failing(text):
        safe = tf.debugging.assert_less(tf.strings.length(text), 9000, message="too much for this")
        with tf.control_dependencies([safe]):
            return {name: tf.identity(value) for name, value in n_best(text).items()}

    with pytest.raises(
        UserError, match=r"n_best answers 1 of 43 .* input '10,000 characters': .*too much for"
    ):
        prove(Shouter(), n_best=failing)


def score(text, target, *, companions_count=False):
    """Every token is equally probable."""
    characters = tf.strings.unicode_split(target, "UTF-8")
    tokens = tf.concat([characters, tf.repeat([["</s>"]], tf.size(text), axis=0)], axis=1)
    each = -0.5 * tf.ones_like(tokens.flat_values, tf.float32)
    if companions_count:
        each *= tf.cast(tokens.bounding_shape()[1], tf.float32)
    each = tokens.with_flat_values(each)
    return {
        "log_probability": tf.reduce_sum(each, axis=1),
        "known": tf.not_equal(target, "🙂"),
        "tokens": tf.cast(tokens.row_lengths(), tf.int32),
        "token_log_probabilities": each.to_tensor(),
        "target_tokens": tf.where(tokens.to_tensor() == "🙂", "<unk>", tokens.to_tensor()),
    }


def scored(each=-0.5):
    targets = ["", "ä", "🙂", "target"] * 10
    figures = [
        {"log_probability": each * (len(target) + 1), "tokens": len(target) + 1, "known": target != "🙂"}
        for target in targets
    ]
    examples = zip(evaluated(), targets, figures, strict=True)
    return [{**row, "target": target, "scored": found} for row, target, found in examples]


def test_given_targets_are_proved(prove):
    report = prove(Shouter(), scored(), score=score)
    answers, targets, alone, hard = 40 + 3, 40, 8, 2 * (8 + 1)
    found = {"answered": answers + targets + alone + hard, "faulty": 0, "faults": []}
    assert report["signatures"] == {"score": found}
    assert report["warmup"]["requests"] == 6
    assert "through serving_default, score" in report["tiers"]["replay"]


@pytest.mark.parametrize(
    ("name", "figure", "fault"),
    [
        ("log_probability", -2.0, "log_probability is -1, not -2.0"),
        ("log_probability", None, "log_probability is -1, not None"),
        ("tokens", 3, "tokens is 2, not 3"),
        ("known", False, "known is 1, not False"),
        ("probability", 0.5, "there is no probability"),
    ],
)
def test_a_target_with_another_figure_is_refused(prove, name, figure, fault):
    examples = scored()
    examples[1]["scored"][name] = figure
    # With the others, alone, and beside two hard targets.
    message = f"the signature score answers 4 of 109 texts wrongly: input 'wörd wörd 1', target 'ä': {fault}"
    with pytest.raises(UserError, match=message):
        prove(Shouter(), examples, score=score)
    shown = {"input": "wörd wörd 1", "target": "ä", "fault": fault}
    assert prove.report()["signatures"]["score"]["faults"] == [shown] * 4


def test_a_target_whose_figures_depend_on_its_batch_is_refused(prove):
    longest = len("target") + 1
    dependent = functools.partial(score, companions_count=True)
    with pytest.raises(UserError, match=r"the signature score answers .* log_probability is -0.5, not -3.5"):
        prove(Shouter(), scored(-0.5 * longest), score=dependent)


def test_a_model_without_warm_up_requests_is_refused(prove):
    prove(Shouter())
    (prove.model / WARMUP).unlink()
    with pytest.raises(
        UserError, match=r"the warm-up requests cannot be answered: there is no assets\.extra"
    ):
        prove(None)
    tiers = prove.report()["tiers"]
    assert tiers["replay"] == "passed: 40 evaluated examples through serving_default"
    assert tiers["warm-up"].startswith("failed: there is no assets.extra")


@pytest.mark.parametrize(
    ("asked", "problem"),
    [
        (["serving_default"], "no request asks n_best"),
        (
            ["serving_default", "n_best", "gone"],
            "request 7 of tf_serving_warmup_requests: no signature 'gone'",
        ),
    ],
)
def test_warm_up_requests_must_fit_the_signatures(prove, asked, problem):
    prove(Shouter(), n_best=n_best)
    write_warmup(str(prove.model), asked, ["warm"], ["target"])
    with pytest.raises(UserError, match=problem):
        prove(None)


def test_damaged_warm_up_requests_are_refused(prove):
    prove(Shouter())
    path = prove.model / WARMUP
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match="request 3 of tf_serving_warmup_requests: it ends within the record"):
        prove(None)


def test_hard_inputs_need_a_finite_score(prove):
    with pytest.raises(
        UserError, match=r"no defined answer to 10,000 characters: its score is inf alone and inf in a batch"
    ):
        prove(Shouter(limit=9000))
    assert set(prove.report()["undefined"]) == {"10,000 characters"}


def test_hard_inputs_must_not_fail(prove):
    with pytest.raises(UserError, match=r"no defined answer to an empty text: .*cannot answer this"):
        prove(Shouter(fail=""))
    assert set(prove.report()["undefined"]) == {"an empty text"}


@pytest.mark.parametrize("signature", ["serving_default", "n_best"])
def test_an_empty_batch_must_be_answered(prove, signature):
    """By every signature, and without a row that nobody asked for."""
    functions = {"serving_default": Shouter(), "n_best": n_best}

    def failing(text):
        some = tf.debugging.assert_greater(tf.size(text), 0, message="no texts")
        with tf.control_dependencies([some]):
            return {name: tf.identity(value) for name, value in functions[signature](text).items()}

    def inventing(text):
        found = functions[signature](text)
        return {
            name: tf.cond(
                tf.size(text) > 0, lambda v=value: v, lambda v=value: tf.zeros([1, *v.shape[1:]], v.dtype)
            )
            for name, value in found.items()
        }

    for faulty, problem in ((failing, "no texts"), (inventing, r"of the shape \(1,.*\) for 0 texts")):
        others = {**functions, signature: faulty}
        with pytest.raises(
            UserError, match=rf"no defined answer to an empty batch: the signature {signature}.*{problem}"
        ):
            prove(others["serving_default"], n_best=others["n_best"])
        assert set(prove.report()["undefined"]) == {"an empty batch"}


def test_a_model_with_other_outputs_is_refused(prove):
    with pytest.raises(
        UserError,
        match=r"cannot be served: the signature serving_default gives \{'length': 'int32'\}; expecte",
    ):
        prove(lambda text: {"length": tf.strings.length(text)})
    with pytest.raises(UserError, match=r"the signature explain gives \{'.*\}; expected .*'attention'"):
        prove(Shouter(), explain=Shouter())


def test_nothing_is_proved_without_examples(prove):
    with pytest.raises(UserError, match=r"predictions.jsonl holds no examples to prove it with"):
        prove(Shouter(), [])


def test_a_replay_that_dies_is_told(prove, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(UserError, match="the replay ended with exit code 1: nothing on standard error"):
        prove(Shouter())


def test_a_python_that_imports_keras_by_itself_proves_nothing(prove, tmp_path, monkeypatch):
    site = tmp_path / "site"
    (site / "keras").mkdir(parents=True)
    (site / "keras" / "__init__.py").touch()
    (site / "sitecustomize.py").write_text("import keras\n")
    monkeypatch.setenv("PYTHONPATH", str(site))
    with pytest.raises(UserError, match="the replay proves nothing, as Python itself imports keras"):
        prove(Shouter())


def test_the_script_reports_by_its_exit_code_from_anywhere(prove, tmp_path):
    prove(Shouter())
    arguments = [prove.model, tmp_path / "predictions.jsonl", "--examples", "3"]
    command = [sys.executable, replay.__file__, *map(str, arguments)]
    ran = subprocess.run(command, cwd="/", capture_output=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert json.loads(ran.stdout)["replayed"] == 3
    os.remove(prove.model / "saved_model.pb")
    ran = subprocess.run(command, cwd="/", capture_output=True, check=False)
    assert ran.returncode == 1
    assert "Could not find SavedModel" in json.loads(ran.stdout)["error"]


@pytest.mark.parametrize(("total", "count"), [(0, 5), (1, 5), (5, 5), (6, 5), (100, 7), (64, 64)])
def test_examples_are_spread_over_the_file(total, count):
    examples = [{"input": index} for index in range(total)]
    chosen = [example["input"] for example in replay.spread(examples, count)]
    assert len(chosen) == len(set(chosen)) == min(total, count)
    assert chosen == sorted(chosen)
    if total > count:
        assert max(b - a for a, b in itertools.pairwise(chosen)) <= math.ceil(total / count)
        assert total - chosen[-1] <= math.ceil(total / count)
