"""The page of a run, also of one that failed."""

import json
import re

import pytest
import tiny
from made_runs import MadeRun, confidence_of, make_run
from mlflow import MlflowClient

from components import files
from components.errors import UserError
from components.evaluate.told import told
from components.reports import Warned, emit
from pipeline.report.classes import balance, class_rows
from pipeline.report.facts import RunFacts, find_runs
from pipeline.report.pages import card_page
from pipeline.run.observe import read_records
from pipeline.run.record import NodeRecord, RunRecord
from pipeline.store.store import Store


def facts(run):
    return RunFacts.of(run.record(), run.store)


def test_what_the_data_says_is_text(tmp_path):
    (run,) = find_runs(tmp_path, [make_run(tmp_path, "a", 320)])
    page = card_page(run)
    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert not re.search(r"(src|href)=\"(?!data:)", page)
    assert "exact_match" in page


def test_a_card_shows_the_data_the_curves_and_the_plots(tmp_path):
    (run,) = find_runs(tmp_path, [make_run(tmp_path, "a", 320)])
    page = card_page(run)
    assert page.count("data:image/png;base64,") == 2
    assert page.index("<h2>training curves</h2>") < page.index("<h2>by length</h2>")
    assert "there are duplicates" in page
    text = " ".join(page.split())
    assert (
        "Near-duplicates: 7 test texts differ from one of train in case, punctuation or spaces alone, such "
        "as &lt;test&gt;.tsv:9 and train.tsv:5."
    ) in text
    assert (
        "Split: time by sent: train from 2024-01-01 to 2024-02-01, test from 2024-02-02 to 2024-03-01."
        in text
    )
    assert "&lt;b&gt;only one&lt;/b&gt;" in page
    assert "Serve it" not in page


def test_a_card_shows_a_column_for_every_floor_and_the_doubts(tmp_path):
    (run,) = find_runs(tmp_path, [make_run(tmp_path, "a", 320)])
    text = " ".join(re.sub(r"<[^>]+>", " ", card_page(run).partition("<h2>Metrics</h2>")[2]).split())
    assert "this model copy commonest exact_match 0.8000" in text
    assert " 0.2500 0.1250 character_error_rate " in text
    assert (
        "Floors, on the same examples: copy: the source, as it is; commonest: the commonest target of" in text
    )
    assert "train, &#39;&lt;b&gt;&#39;." in text
    assert "the test split has &lt;few&gt; examples" in text


def test_a_card_shows_how_often_every_label_is_there_and_how_well_it_is_answered(tmp_path):
    (run,) = find_runs(tmp_path, [make_run(tmp_path, "a", 320, task="classification")])
    text = " ".join(re.sub("<[^>]*>", " ", card_page(run)).split())
    # The counts of train are those of an earlier version, which did not have them by label.
    assert "label precision recall F1 examples evaluated in train ab " in text
    rows = class_rows(
        {"classes": {"a": {"precision": 0.5, "recall": 0.25, "f1": 1 / 3, "support": 8}}},
        {"splits": {"train": {"labels": {"b": 5, "a": 15}}}},
    )
    assert [(row.label, row.train, row.share, row.examples) for row in rows] == [
        ("a", 15, 0.75, 8),
        ("b", 5, 0.25, 0),
    ]
    assert rows[0].figures == {"precision": 0.5, "recall": 0.25, "f1": 1 / 3}
    assert rows[1].figures == {}
    assert balance(rows) == "2 labels in train; the most frequent is 3.0 times as frequent as the rarest."
    assert class_rows(None, {"splits": {"train": {}}}) == []
    assert balance([]) == ""


def test_a_card_says_what_the_scores_are_worth(tmp_path):
    (run,) = find_runs(tmp_path, [make_run(tmp_path, "a", 320, task="classification")])
    page = " ".join(card_page(run).split())
    report = run.evaluation.report()
    error, was = report["metrics"]["calibration_error"], report["confidence"]["uncalibrated"]
    assert f"<p>Expected calibration error {error:.4f} (" in page
    assert f"; before temperature scaling {was['calibration_error']:.4f} ({was['interval'][0]:.4f} to" in page
    assert page.count('<th>score</th><th class="number">examples</th>') == 2
    (row, *_) = report["confidence"]["coverage"]
    assert (row["coverage"], row["accuracy"]) == (1.0, 0.8)
    assert '<td class="number">100.0 %</td> <td class="number">0.5</td> <td class="number">400</td>' in page
    assert "on 400 examples; area under the risk-coverage curve" in page


class Confident(MadeRun):
    """A run whose terminal told what the card shows, with pictures of it."""

    def _evaluate(self, attempt):
        made, summary = super()._evaluate(attempt)
        pictures = [attempt.put(f"plots/{name}.png", name.encode()) for name in ("calibration", "coverage")]
        summary["confidence"] = told(confidence_of(320, ("ab", "xy")), "test")
        return [*made, *pictures], summary


def test_temperature_threshold_and_both_curves_are_in_one_section(tmp_path):
    run = Confident(tmp_path, config={"task": "classification"})
    page = card_page(facts(run.make("ingest", "tokenize", "train", "evaluate").end()))
    begin = page.index("<h2>Confidence</h2>")
    section = " ".join(page[begin : page.index("<h2>", begin + 1)].split())
    assert "<p>Temperature 1.5, fitted to 40 validation examples: their negative log likelihood" in section
    assert "<p>Score &gt;= 0.75: chosen on validation for accuracy 0.9 (accuracy 0.9333 (" in section
    assert "; on test accuracy " in section
    for name in ("calibration", "coverage"):
        assert f'<img alt="{name}" src="data:image/png;base64,' in section
        assert f"<h2>{name}</h2>" not in page
    assert page.count("fitted to 40 validation examples") == 1


@pytest.mark.parametrize("root", ["disk", "memory"])
def test_a_card_is_the_same_wherever_the_artifacts_are(root, tmp_path, monkeypatch):
    monkeypatch.setenv("RNNPIPE_CACHE", str(tmp_path / "cache"))
    place = files.resolve(tmp_path if root == "disk" else "memory://cards/runs")
    served = f"{place}/serving/made/3"
    run = MadeRun(place).make("ingest", "tokenize", "train", "evaluate").end(served=served)
    (found,) = find_runs(str(place), [run.id])
    page = card_page(found)
    for part in ("<h2>Metrics</h2>", "<h2>training curves</h2>", "alert(1)", "only one", "Serve it"):
        assert part in page
    assert f"predict {place}/serving/made" in page
    files.write(run.folder.card, page.encode())
    assert files.read(run.folder.card).decode() == page
    if root == "memory":
        assert "pull memory://cards/runs/serving/made made" in page
        assert "--model_base_path=&#34;$PWD&#34;/made" in page
    else:
        assert f"--model_base_path={tmp_path}/serving/made" in page


def test_what_a_failed_run_did_not_come_to_is_not_taken_from_an_earlier_one(tmp_path):
    make_run(tmp_path, "a", 320)
    run = MadeRun(tmp_path, "b").end("failed", "the loss is no number")
    assert run.record().nodes["ingest"].state == "reused"
    page = card_page(facts(run))
    assert "<h2>Data</h2>" in page
    assert "<h2>Metrics</h2>" not in page
    assert "alert(1)" not in page
    assert "training curves" not in page


def test_a_damaged_artifact_is_left_out(tmp_path):
    run = MadeRun(tmp_path).make("ingest", "tokenize", "train", "evaluate").end()
    files.local(run.made("evaluate").place("metrics.json")).write_text("{}")
    found = facts(run)
    assert (found.evaluation, found.measured()) == (None, None)
    assert "<h2>Metrics</h2>" not in card_page(found)


def test_a_remote_artifact_that_is_not_what_was_written_is_not_compared(tmp_path, monkeypatch):
    monkeypatch.setenv("RNNPIPE_CACHE", str(tmp_path / "cache"))
    run = (
        MadeRun(files.resolve("memory://damaged/runs")).make("ingest", "tokenize", "train", "evaluate").end()
    )
    report = run.made("evaluate").place("metrics.json")
    files.write(report, b" " * len(files.read(report)))
    with pytest.raises(UserError, match="is not what was written"):
        card_page(facts(run))
    # From now on it is known, as that of a local file would be.
    assert facts(run).measured() is None
    assert "<h2>Metrics</h2>" not in card_page(facts(run))


def test_a_run_that_came_nowhere_has_a_card(tmp_path):
    record = RunRecord("id", "name", "failed", "2026-11-23", message="ingest: no <file> matches")
    page = card_page(RunFacts.of(record, Store(files.resolve(tmp_path))))
    assert "ingest: no &lt;file&gt; matches" in page
    assert "<h2>Metrics</h2>" not in page


def test_a_run_that_failed_in_training_shows_its_curves(tmp_path):
    epochs = [{"epoch": 3, "loss": 0.5}, {"epoch": 4, "loss": 0.25}]  # it went on after its second epoch
    train = NodeRecord("train", "1", "key", 1, "first run", "failed", trials=("1",), history=tuple(epochs))
    record = RunRecord("id", "name", "failed", "2026-11-23", nodes={"train": train})
    page = card_page(RunFacts.of(record, Store(files.resolve(tmp_path))))
    assert "training curves" in page
    assert page.count("data:image/png;base64,") == 1


@pytest.mark.parametrize("root", ["disk", "memory"])
def test_what_a_failed_ingest_rejected_is_shown(root, tmp_path):
    run = MadeRun(files.resolve(tmp_path if root == "disk" else "memory://rejected/runs"))
    row = json.dumps(
        {"file": "train.tsv", "line": 3, "reason": "it has one column", "text": "<b>only one</b>"}
    )
    with run.work("ingest").attempt("counting") as attempt:
        attempt.put("rejected.jsonl", f"{row}\n{row[:9]}".encode())  # and the next one by halves
    run.end("failed", "ingest: 1 of 2 records were rejected")
    page = card_page(facts(run))
    assert page.count("it has one column") == 1
    assert "&lt;b&gt;only one&lt;/b&gt;" in page


def test_a_run_that_was_killed_says_what_its_workers_said(tmp_path):
    run = MadeRun(tmp_path).make("ingest", "tokenize")
    run.train(1)
    with run.work("train").attempt():
        emit(Warned("train", "the loss does not fall"))
    with pytest.raises(UserError), run.work("train").attempt():
        raise UserError("train: the <disk> is full")
    page = card_page(facts(run))
    assert "killed" in page
    assert "train: the loss does not fall" in page
    assert "train: the &lt;disk&gt; is full" in page
    assert "training curves" in page
    run.end("failed", "train: the <disk> is full")
    assert card_page(facts(run)).count("train: the &lt;disk&gt; is full") == 1


def test_a_failed_run_leaves_its_card_here_and_in_mlflow(tmp_path):
    config = tiny.make(tmp_path)
    lines = (tmp_path / "test.tsv").read_text(encoding="utf-8").splitlines()
    (tmp_path / "test.tsv").write_text(
        "\n".join([*lines, *["only one column"] * 30]) + "\n", encoding="utf-8"
    )
    code, _ = tiny.run(config)
    assert code == 1
    (record,) = read_records(files.resolve(tmp_path / "runs"))
    page = (tmp_path / "runs" / "runs" / record.id / "card.html").read_text(encoding="utf-8")
    assert "30 of 310 records were rejected" in page
    assert "<h2>Rejected records</h2>" in page
    assert page.count('<td class="text">only one column</td>') == 20
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    assert "card.html" in {file.path for file in client.list_artifacts(record.tracking["run"])}
    assert client.get_run(record.tracking["run"]).info.status == "FAILED"
