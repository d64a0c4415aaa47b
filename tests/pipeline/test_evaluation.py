"""Models that were made before, measured on new files."""

import io
import shutil

import numpy as np
import pytest
import tiny
from mlflow import MlflowClient
from rich.console import Console

from components import files
from components.errors import UserError
from pipeline.report.facts import find_runs
from pipeline.run.evaluation import evaluate_model
from pipeline.run.models import find_known_model
from pipeline.run.observe import read_records

TARGET = 0.6
WEAK = "train.optimizer={type: adam, learning_rate: 0.000001}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with two runs, a weak one and a good one, both of which were pushed, and new data."""
    folder = tmp_path_factory.mktemp("evaluation")
    config = tiny.make(folder)
    assert tiny.run(config, WEAK)[0] == 0
    assert tiny.run(config, f"evaluate.target_accuracy={TARGET}")[0] == 0
    rows = [line.split("\t") for line in (folder / "test.tsv").read_text().splitlines()[1:31]]
    rows.append(["zzz", "z"])  # a label that no model has
    table = "\n".join(["review\tstars", *("\t".join(row) for row in rows)])
    (folder / "new.tsv").write_text(table + "\n", encoding="utf-8")
    return folder


def evaluate(folder, model, *paths, against=None, overrides=("ingest.columns={text: review, label: stars}",)):
    """Evaluates as the command does; returns the exit code and what was printed."""
    console = Console(file=io.StringIO(), width=120)
    paths = paths or (str(folder / "new.tsv"),)
    code = evaluate_model(model, paths, console, against, str(folder / "runs"), overrides)
    return code, console.file.getvalue()


def runs(folder):
    return [record for record in read_records(files.resolve(folder / "runs")) if not record.subject]


def answers(folder):
    """Those of the most recent run."""
    return list(
        find_runs(folder / "runs", [read_records(files.resolve(folder / "runs"))[-1].id])[
            0
        ].evaluation.predictions()
    )


def test_a_served_model_is_measured_beside_the_run_of_another(folder):
    weak, good = runs(folder)
    code, printed = evaluate(folder, str(folder / "serving" / "letters"), against=weak.id)
    assert code == 0, printed
    record = read_records(files.resolve(folder / "runs"))[-1]
    assert record.subject.endswith("serving/letters/2")
    assert list(record.nodes) == ["ingest", "evaluate", f"evaluate {weak.id}"]
    rows = answers(folder)
    assert len(rows) == 31
    right = np.mean([row["prediction"] == row["target"] for row in rows])
    assert record.metrics["accuracy"] == pytest.approx(right)
    assert rows[-1]["target"] == "z"
    assert not rows[-1]["correct"]

    # The comparison is the paired bootstrap of both on the same examples.
    facts = find_runs(folder / "runs", [record.id])[0]
    own, other = facts.measured(), facts.candidates[f"evaluate {weak.id}"].measured()
    difference = own.value("accuracy", ()) - other.value("accuracy", ())
    low, high = np.quantile(own.resamples("accuracy", ()) - other.resamples("accuracy", ()), [0.025, 0.975])
    (line,) = [line for line in printed.splitlines() if line.startswith("accuracy ")]
    assert f"{difference:+.4f}" in line
    assert f"({low:+.4f} to {high:+.4f})" in line
    assert "31 examples" in printed
    assert "~" not in line  # it is far beyond the noise

    page = files.read(files.resolve(folder / "runs") / "runs" / record.id / "card.html").decode()
    assert "Evaluation of" in page
    assert weak.id in page
    assert f"{-difference:+.4f}" in page
    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    parent = client.get_run(record.tracking["run"])
    assert parent.data.metrics["test/accuracy"] == pytest.approx(right)
    assert parent.info.status == "FINISHED"
    assert good.id != record.id


def test_the_threshold_of_the_run_is_measured_on_new_data(folder):
    good = runs(folder)[1]
    (facts,) = find_runs(folder / "runs", [good.id])
    chosen = facts.evaluation.report()["confidence"]["threshold"]["chosen"]
    code, printed = evaluate(folder, str(folder / "serving" / "letters"))
    assert code == 0, printed
    record = read_records(files.resolve(folder / "runs"))[-1]
    (facts,) = find_runs(folder / "runs", [record.id])
    threshold = facts.evaluation.report()["confidence"]["threshold"]
    assert threshold["on_validation"]
    assert threshold["chosen"] == chosen
    kept = [row["correct"] for row in answers(folder) if row["score"] >= chosen["threshold"]]
    assert threshold["evaluated"]["accuracy"] == pytest.approx(np.mean(kept))
    assert threshold["evaluated"]["coverage"] == pytest.approx(len(kept) / 31)
    said = printed[printed.index("31 examples") :]
    assert f"score >= {chosen['threshold']!r}: chosen on validation for accuracy {TARGET:g} (" in said
    assert "; on test accuracy " in said


def test_what_was_measured_before_is_not_measured_again(folder):
    good = runs(folder)[1]
    assert evaluate(folder, good.id)[0] == 0
    count = len(read_records(files.resolve(folder / "runs")))
    code, printed = evaluate(folder, good.id)
    assert code == 0
    assert "nothing to do, all of it was measured before" in printed
    assert "accuracy" in printed
    assert len(read_records(files.resolve(folder / "runs"))) == count


def test_the_champion_is_one_more_candidate(folder):
    weak, good = runs(folder)
    overrides = ("ingest.columns={text: review, label: stars}", "evaluate.resamples=200")
    code, printed = evaluate(folder, weak.id, against="champion", overrides=overrides)
    assert code == 0, printed
    assert "champion (version 2)" in printed
    record = read_records(files.resolve(folder / "runs"))[-1]
    assert list(record.nodes)[-1] == "evaluate champion"
    with pytest.raises(UserError, match="are the same model; name another one"):
        evaluate(folder, good.id, against="champion")


def test_settings_are_those_of_the_run_unless_others_are_set(folder):
    good = runs(folder)[1]
    columns = "ingest.columns={text: review, label: stars}"
    code, printed = evaluate(
        folder, good.id, overrides=(columns, "evaluate.metrics=[accuracy]", "evaluate.slices=[label]")
    )
    assert code == 0, printed
    record = read_records(files.resolve(folder / "runs"))[-1]
    assert list(record.metrics) == ["accuracy"]
    report = find_runs(folder / "runs", [record.id])[0].evaluation.report()
    assert set(report["slices"]["label"]) == {"a", "b", "c", "z"}
    code, printed = evaluate(folder, good.id, overrides=())
    assert code == 1
    assert "there is no colu" in printed


def test_a_saved_model_that_was_copied_is_known_by_itself_alone(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(folder / "serving" / "letters" / "2", tmp_path / "copy")
    (tmp_path / "copy" / "assets.extra" / "rnnpipe.json").unlink(missing_ok=True)
    known = find_known_model(str(tmp_path / "copy"), "runs")
    assert known.run is None
    with pytest.raises(UserError, match="the run that made it is not known, so its vocabularies cannot be"):
        known.tokens()
    code, printed = evaluate(
        tmp_path,
        str(tmp_path / "copy"),
        str(folder / "new.tsv"),
        overrides=("ingest.columns={text: review, label: stars}", f"tracking.uri=sqlite:///{tmp_path}/m.db"),
    )
    assert code == 0, printed
    (record,) = read_records(files.resolve(tmp_path / "runs"))
    assert record.config["task"] == "classification"
    assert record.metrics["accuracy"] > 0.9


@pytest.mark.parametrize(
    ("model", "arguments", "message"),
    [
        ("nonsense", {}, "nonsense is no model: expected the directory of a served model"),
        (None, {"against": "nonsense"}, "nonsense is no model"),
        (None, {"overrides": ("evaluate.metric=[accuracy]",)}, "did you mean 'metrics'"),
    ],
)
def test_what_cannot_be_measured_is_told_before_anything_runs(folder, model, arguments, message):
    count = len(read_records(files.resolve(folder / "runs")))
    with pytest.raises(UserError, match=message):
        evaluate(folder, model or runs(folder)[1].id, **arguments)
    assert len(read_records(files.resolve(folder / "runs"))) == count


def test_files_that_are_not_there(folder):
    with pytest.raises(UserError, match=r"gone\.tsv"):
        evaluate(folder, runs(folder)[1].id, str(folder / "gone.tsv"))


def test_a_run_that_was_not_exported(tmp_path):
    config = tiny.make(tmp_path)
    assert tiny.run(config, until="train")[0] == 0
    (record,) = runs(tmp_path)
    with pytest.raises(UserError, match="has not exported its model: run it to its end"):
        evaluate(tmp_path, record.id, str(tmp_path / "test.tsv"), overrides=())
