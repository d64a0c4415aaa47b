import json
import subprocess
import sys
from importlib.metadata import version

import pytest
import tiny
from called import REPOSITORY, call

from components.addresses import sqlite_path


def test_help_is_light():
    code, out, _, heavy = call("--help")
    assert code == 0
    assert {"run", "plan", "schema", "predict", "ui", "runs"} <= set(out.split())
    assert heavy == []


def test_the_version_and_completion_are_light():
    code, out, _, heavy = call("--version")
    assert (code, out, heavy) == (0, f"rnnpipe {version('rnnpipe')}\n", [])
    assert "--install-completion" in call("--help")[1]


def test_a_wrong_column_is_told_before_anything_starts(tmp_path):
    config = tiny.make(tmp_path)
    for command in ("plan", "run"):
        code, out, errors, heavy = call(command, config, "--set", "ingest.columns={text: txt, label: label}")
        assert (code, out, heavy) == (1, "", [])
        assert "there is no column 'txt'" in errors
    assert not (tmp_path / "runs" / "runs").exists()


def test_a_wrong_configuration_is_light_and_ends_with_2(tmp_path):
    config = tiny.make(tmp_path)
    config.write_text(config.read_text(encoding="utf-8").replace("epochs", "epoch"), encoding="utf-8")
    code, out, errors, heavy = call("run", config)
    assert code == 2
    assert f"{config}:7: train.epoch: unknown key; did you mean 'epochs'?" in errors
    assert "Traceback" not in errors
    assert out == ""
    assert heavy == []
    assert not (tmp_path / "runs").exists()


def test_an_override_is_checked_as_well(tmp_path):
    code, _, errors, heavy = call("run", tiny.make(tmp_path), "--set", "train.epochs=many")
    assert code == 2
    assert errors.startswith("--set train.epochs=many: ")
    assert heavy == []


def test_plan_is_light_and_writes_no_artifact(tmp_path):
    code, out, _, heavy = call("plan", tiny.make(tmp_path))
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()[1:6]] == [
        "ingest",
        "tokenize",
        "train",
        "evaluate",
        "export",
    ]
    assert out.count("first run") == 5
    assert heavy == []
    assert not (tmp_path / "runs" / "artifacts").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), ""),
        (["evaluate.bless=null"], "will not be pushed: no thresholds in evaluate.bless: not blessed; set"),
        (["evaluate.bless=always", "ingest.holdout={validation: 0.1}"], ""),
        (
            ["ingest.holdout={validation: 0.1}"],
            "will not be pushed: there is no test split: what is measured on validation",
        ),
        (["ingest.holdout={validation: 0.1}", "evaluate.bless.on=validation"], ""),
        (["ingest.holdout={test: 0.1}"], ""),
    ],
)
def test_plan_says_what_will_not_be_pushed(tmp_path, options, said):
    config = tiny.make(tmp_path)
    text = config.read_text()
    if any("holdout" in option for option in options):
        config.write_text(text.replace(f", test: {tmp_path}/test.tsv", ""))
    code, out, _, _ = call("plan", config, *(f"--set={option}" for option in options))
    assert code == 0
    last = " ".join(out.partition("export")[2].split())
    assert said in last
    assert ("will not be pushed" in last) == bool(said)


def test_a_plan_that_ends_before_the_export_pushes_nothing_and_says_nothing(tmp_path):
    code, out, _, _ = call("plan", tiny.make(tmp_path), "--set=evaluate.bless=null", "--until=train")
    assert (code, "pushed" in out) == (0, False)


def test_schema_is_what_the_editors_read():
    code, out, _, heavy = call("schema")
    assert code == 0
    assert json.loads(out) == json.loads((REPOSITORY / "pipeline/schema.json").read_text(encoding="utf-8"))
    assert heavy == []


def test_runs_without_any_says_how_to_start(tmp_path):
    code, _, errors, heavy = call("runs", "--root", tmp_path)
    assert code == 1
    assert errors == f"No runs under {tmp_path}. Start one with `rnnpipe run`, or name another --root.\n"
    assert heavy == []


def test_predict_without_a_model_says_what_is_missing(tmp_path):
    code, _, errors, _ = call("predict", tmp_path / "nothing")
    assert code == 1
    assert str(tmp_path / "nothing") in errors
    assert "Traceback" not in errors


def test_ui_before_any_run_says_so(tmp_path):
    code, _, errors, heavy = call("ui", tiny.make(tmp_path))
    assert code == 1
    assert "mlflow.db does not exist" in errors
    assert heavy == []


def test_the_module_is_the_command():
    done = subprocess.run([sys.executable, "-m", "pipeline", "--help"], cwd=REPOSITORY, capture_output=True)
    assert done.returncode == 0


@pytest.mark.parametrize("stage", ["trian", ""])
def test_an_unknown_stage_is_refused(tmp_path, stage):
    code, _, errors, heavy = call("run", tiny.make(tmp_path), "--until", stage)
    assert code == 2
    assert "ingest" in errors
    assert heavy == []


def test_predict_knows_its_signatures(tmp_path):
    code, _, errors, _ = call("predict", tmp_path, "--signature", "best")
    assert code == 2
    assert "'serving_default', 'classify', 'n_best', 'explain'" in errors


def test_the_home_directory_is_understood_everywhere(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    config = tiny.make(tmp_path)
    text = config.read_text(encoding="utf-8").replace(str(tmp_path), "~")
    assert text.count("~") >= 4
    config.write_text(text, encoding="utf-8")
    code, out, errors, _ = call("plan", "~/pipeline.yaml", "--set=tracking.uri=sqlite:///~/mlflow.db")
    assert code == 0, errors
    assert out.count("first run") == 5
    assert sqlite_path("sqlite:///~/mlflow.db") == tmp_path / "mlflow.db"
    assert not (REPOSITORY / "~").exists()
