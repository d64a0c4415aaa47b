"""What MLflow and the console get of a classifier's confidence."""

import pytest
from made_runs import make_run, measured

from components.evaluate.told import told
from pipeline.stages.evaluate import EvaluateStage


def test_mlflow_gets_temperature_and_threshold(tmp_path):
    evaluation = measured(tmp_path, make_run(tmp_path, "a", 320, task="classification"))
    confidence = evaluation.report()["confidence"]
    metrics = EvaluateStage().log(evaluation).metrics
    assert metrics["temperature"] == 1.5
    assert metrics["threshold"] == 0.75
    assert metrics["test/threshold.coverage"] == 0.5
    assert metrics["test/threshold.accuracy"] == confidence["threshold"]["evaluated"]["accuracy"]
    assert metrics["test/aurc"] == pytest.approx(confidence["aurc"])
    before = confidence["uncalibrated"]["calibration_error"]
    assert metrics["test/calibration_error.uncalibrated"] == before


def test_the_console_says_it_and_says_nothing_of_other_evaluations(tmp_path):
    evaluation = measured(tmp_path, make_run(tmp_path, "a", 320, task="classification"))
    lines = told(evaluation.report()["confidence"], "test")
    assert EvaluateStage().details({"confidence": lines}) == lines
    assert [line.partition(":")[0] for line in lines] == [
        "temperature 1.5, fitted to 40 validation examples",
        "score >= 0.75",
    ]
    text = measured(tmp_path, make_run(tmp_path, "b", 320))
    assert EvaluateStage().details(text.summary) == []
    logged = {name for name in EvaluateStage().log(text).metrics if not name.startswith("floor/")}
    assert logged == {f"test/{name}" for name in text.report()["metrics"]}
