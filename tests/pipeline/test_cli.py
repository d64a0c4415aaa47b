import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import tiny
from made_runs import make_run

REPOSITORY = Path(__file__).parents[2]
HEAVY = {"tensorflow", "keras", "apache_beam", "mlflow", "numpy", "pyarrow", "matplotlib"}


def call(*arguments, cwd=REPOSITORY):
    """Runs the command line; returns exit code, output, errors and the heavy modules it imported."""
    program = (
        "import sys, atexit\n"
        f"atexit.register(lambda: print('HEAVY', *({HEAVY!r} & set(sys.modules))))\n"
        "from pipeline.cli import main\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "COLUMNS": "150", "NO_COLOR": "1"},
    )
    out, _, heavy = done.stdout.rpartition("HEAVY")
    return done.returncode, out, done.stderr, heavy.split()


def test_help_is_light():
    code, out, _, heavy = call("--help")
    assert code == 0
    assert {"run", "plan", "schema", "predict", "ui", "runs"} <= set(out.split())
    assert heavy == []


def test_a_wrong_configuration_is_light_and_ends_with_2(tmp_path):
    config = tiny.make(tmp_path)
    config.write_text(config.read_text(encoding="utf-8").replace("epochs", "epoch"), encoding="utf-8")
    code, out, errors, heavy = call("run", config)
    assert code == 2
    assert f"{config}:6: train.epoch: unknown key; did you mean 'epochs'?" in errors
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


def test_runs_lists_runs_and_metrics(tmp_path):
    name = make_run(tmp_path, "dates", right=390)
    code, out, _, heavy = call("runs", "--root", tmp_path)
    assert code == 0
    header, row = out.splitlines()[0], out.splitlines()[-1]
    assert header.split()[:5] == ["run", "name", "status", "seconds", "epochs"]
    assert row.split()[:3] == [name, "made", "finished"]  # the id is never cut
    assert header.split()[5] == "exact_match"
    assert row.split()[4] == "0.9750"  # there are no epochs
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
