"""Whole runs in folders whose names are no plain words in an address or a pattern."""

import json
from pathlib import Path

import pytest
import tiny
from mlflow import MlflowClient
from rich.console import Console

from components.addresses import sqlite_address
from pipeline.run.evaluation import evaluate_model
from pipeline.serving.predict import predict


def served_answer(folder):
    (line,) = predict(str(folder / "serving" / "letters"), [b"aaa"])
    return json.loads(line)["prediction"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a%2Fb", "[v1] x*y?"])
def test_a_run_in_a_folder_of_any_name(tmp_path, monkeypatch, name):
    here = tmp_path / name
    tiny.make(here, tiny.CLASSIFICATION.replace("{folder}", "."))
    (here / name).mkdir()
    (here / "train.tsv").rename(here / name / "train.tsv")
    monkeypatch.chdir(here)
    places = [
        f'ingest.files.train="{name}/*.tsv"',
        f'root="{name}/runs"',
        f'export.directory="{name}/serving"',
    ]
    code, said = tiny.run(Path("pipeline.yaml"), *places)
    assert code == 0, said
    assert "MLflow" not in said.replace("rnnpipe ui", ""), said
    client = MlflowClient(sqlite_address(here / "mlflow.db"))
    (experiment,) = client.search_experiments(filter_string="name = 'letters'")
    runs = client.search_runs([experiment.experiment_id])
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert any("accuracy" in run.data.metrics for run in runs)
    assert any(client.list_artifacts(run.info.run_id) for run in runs)
    assert int(client.get_model_version_by_alias("letters", "champion").version) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == [name]
    assert served_answer(here / name) == "a"

    code, said = tiny.run(Path("pipeline.yaml"), *places)
    assert code == 0, said
    assert "nothing to do" in said
    code = evaluate_model(f"{name}/serving/letters", ["test.tsv"], Console(quiet=True), root=f"{name}/runs")
    assert code == 0
