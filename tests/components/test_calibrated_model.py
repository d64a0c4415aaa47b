"""A temperature's way: fitted to validation, measured on test, and frozen into what is served."""

import random

import numpy as np
import pytest
import tensorflow as tf
from export_artifacts import LABELS, load, texts, write_artifacts
from made_artifacts import make_examples
from stage_runner import run_stage

from components import files
from components.artifacts.evaluation import Evaluation
from components.artifacts.exported_model import ExportedModel, decoding_hash
from components.errors import UserError
from components.evaluate.candidates import Trained
from components.evaluate.config import EvaluateConfig
from components.evaluate.temperature import fit_temperature
from components.evaluate.transform import Evaluate
from components.export.config import ExportConfig
from components.export.session import SavedModelSession
from components.export.transform import Export
from components.export.wire import example
from components.reports import Warned, listening

TARGET = 0.9


@pytest.fixture(scope="module")
def upstream(tmp_path_factory):
    return write_artifacts(files.resolve(tmp_path_factory.mktemp("calibrated")), "classification")


@pytest.fixture(scope="module")
def rows(upstream):
    """Texts, three quarters of them with the label that the model gives them."""
    asked, draw = texts(90), random.Random(2)
    predictions = load(upstream, "classification")(tf.constant(asked))["prediction"].numpy()
    return [
        (text, label.decode() if draw.random() < 0.75 else draw.choice(LABELS))
        for text, label in zip(asked, predictions, strict=True)
    ]


def evaluated(upstream, splits, candidate=None, **config):
    """Runs evaluate; returns its artifact, what it read and the warnings."""
    root = upstream["train"].root
    inputs = {**upstream, "ingest": make_examples(root, "classification", splits).reference}
    del inputs["evaluate"]
    wanted = EvaluateConfig(batch_size=8, resamples=20, **config)
    events = []
    with listening(events.append):
        artifact = run_stage(
            lambda work: Evaluate(wanted, None, "classification", work, candidate), Evaluation, inputs, root
        )
    return artifact, inputs, [event.message for event in events if isinstance(event, Warned)]


@pytest.fixture(scope="module")
def plain(upstream, rows):
    return evaluated(upstream, {"validation": [rows[:50]], "test": [rows[50:]]})[0]


@pytest.fixture(scope="module")
def calibrated(upstream, rows):
    splits = {"validation": [rows[:7], rows[7:50]], "test": [rows[50:75], rows[75:]]}
    return evaluated(upstream, splits, calibrate="temperature", target_accuracy=TARGET)


def test_the_temperature_is_fitted_to_the_validation_split(calibrated, upstream, rows):
    artifact, _, _ = calibrated
    validation = rows[:50]
    predictor = load(upstream, "classification")
    logits = predictor.logits(tf.constant([text for text, _ in validation])).numpy()
    direct = fit_temperature(logits, np.array([LABELS.index(label) for _, label in validation]))
    assert artifact.temperature == pytest.approx(direct.value, rel=1e-4)
    assert abs(artifact.temperature - 1) > 0.05
    report = artifact.report()["confidence"]
    assert report["temperature"]["examples"] == 50
    assert report["temperature"]["nll_after"] < report["temperature"]["nll_before"]


def test_no_label_changes_and_every_score_does(calibrated, plain):
    before, after = (list(each.predictions()) for each in (plain, calibrated[0]))
    assert [row["prediction"] for row in after] == [row["prediction"] for row in before]
    figures, scaled = plain.report(), calibrated[0].report()
    for metric in ("accuracy", "macro_f1"):
        assert figures["metrics"][metric] == scaled["metrics"][metric]
    assert all(ours["score"] != theirs["score"] for ours, theirs in zip(after, before, strict=True))
    was = scaled["confidence"]["uncalibrated"]
    assert was["calibration_error"] == pytest.approx(figures["metrics"]["calibration_error"], abs=1e-5)
    assert was["interval"] == pytest.approx(figures["intervals"]["calibration_error"], abs=1e-5)
    assert [row["examples"] for row in was["bins"]] == [row["examples"] for row in figures["calibration"]]
    assert plain.temperature == 1
    assert "temperature" not in figures["confidence"]
    assert "uncalibrated" not in figures["confidence"]


def test_the_threshold_is_chosen_on_validation(calibrated, upstream, rows):
    artifact, _, _ = calibrated
    threshold = artifact.report()["confidence"]["threshold"]
    assert threshold["on_validation"]
    predictor = load(upstream, "classification").calibrated(artifact.temperature)

    def selected(part):
        answers = predictor(tf.constant([text for text, _ in part]))
        kept = answers["score"].numpy() >= threshold["chosen"]["threshold"]
        right = answers["prediction"].numpy() == [label.encode() for _, label in part]
        return int(kept.sum()), float(right[kept].mean()) if kept.any() else None

    names = ("answered", "accuracy")
    assert tuple(threshold["chosen"][name] for name in names) == selected(rows[:50])
    assert tuple(threshold["evaluated"][name] for name in names) == selected(rows[50:])
    assert threshold["chosen"]["accuracy"] >= TARGET
    assert any("chosen on validation for accuracy 0.9" in line for line in artifact.summary["confidence"])
    assert {"calibration.png", "coverage.png"} <= {name for name, _ in artifact.plots()}


def test_what_was_measured_is_served(calibrated, plain):
    """Every signature, and the identity."""
    artifact, inputs, _ = calibrated

    def export(evaluation):
        read = {**inputs, "evaluate": evaluation.reference}
        return run_stage(
            lambda work: Export(ExportConfig(replay_examples=32), "classification", None, work),
            ExportedModel,
            read,
            evaluation.root,
        )

    exported, before = export(artifact), export(plain)
    rows = list(artifact.predictions())
    asked, expected = ([row[name] for row in rows] for name in ("input", "target"))
    with SavedModelSession(exported.saved_model()) as session:
        answers = session.run(asked)
        classified = session.run([example(text) for text in asked], "classify")
        scored = session.run({"text": asked, "target": expected}, "score")
    np.testing.assert_allclose(answers["score"], [row["score"] for row in rows], rtol=1e-5)
    assert [answer.decode() for answer in answers["prediction"]] == [row["prediction"] for row in rows]
    np.testing.assert_allclose(classified["scores"], answers["probabilities"], rtol=1e-5)
    places = [LABELS.index(label) for label in expected]
    np.testing.assert_allclose(
        scored["probability"], answers["probabilities"][np.arange(len(rows)), places], rtol=1e-5
    )
    assert exported.model_id.weights == before.model_id.weights
    assert exported.model_id.decoding == decoding_hash(None, artifact.temperature)
    assert before.model_id.decoding == decoding_hash(None)
    assert exported.model_id != before.model_id


def test_without_a_validation_split_nothing_can_be_fitted(upstream, rows):
    with pytest.raises(UserError, match="fitted to the validation split, but the ingested data has none"):
        evaluated(upstream, {"test": [rows[:9]]}, calibrate="temperature")
    foreign = [(text, "unheard of") for text, _ in rows[:9]]
    with pytest.raises(UserError, match="no label of the validation split is one of the model's"):
        evaluated(upstream, {"test": [rows[:9]], "validation": [foreign]}, calibrate="temperature")


def test_without_a_validation_split_the_threshold_is_chosen_on_test(upstream, rows):
    artifact, _, _ = evaluated(upstream, {"test": [rows[:9]]}, target_accuracy=0.5)
    assert not artifact.report()["confidence"]["threshold"]["on_validation"]
    assert any("chosen on test" in line for line in artifact.summary["confidence"])


def test_where_every_answer_is_right_it_is_warned_and_the_temperature_stays_1(upstream, rows):
    asked = [text for text, _ in rows[:9]]
    predictions = load(upstream, "classification")(tf.constant(asked))["prediction"].numpy()
    right = [(text, label.decode()) for text, label in zip(asked, predictions, strict=True)]
    artifact, _, warnings = evaluated(
        upstream, {"test": [rows[:9]], "validation": [right]}, calibrate="temperature"
    )
    assert artifact.temperature == 1
    assert any("no best temperature on 9 validation examples" in warning for warning in warnings)


def test_other_candidates_are_measured_as_they_are(upstream, rows):
    """Also what a warm-started model has forgotten: without calibration, like the initial model."""
    splits = {"validation": [rows[:50]], "test": [rows[50:60]]}
    artifact, _, _ = evaluated(upstream, splits, Trained(of_trial=False), calibrate="temperature")
    assert artifact.temperature == 1
    assert "uncalibrated" not in artifact.report()["confidence"]
