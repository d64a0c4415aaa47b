"""The page of a run, also of one that failed."""

import re

import tiny
from made_runs import make_run
from mlflow import MlflowClient

from pipeline.report.facts import RunFacts, find_runs
from pipeline.report.pages import card_page
from pipeline.run.record import RunRecord, read_records
from pipeline.store.store import Store


def test_what_the_data_says_is_text(tmp_path):
    (run,) = find_runs(tmp_path, [make_run(tmp_path, "a", 320)])
    page = card_page(run)
    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert not re.search(r"(src|href)=\"(?!data:)", page)
    assert "exact_match" in page


def test_what_a_failed_run_did_not_come_to_is_not_taken_from_an_earlier_one(tmp_path):
    (run,) = find_runs(tmp_path, [make_run(tmp_path, "a", 320)])
    assert "<h2>Metrics</h2>" in card_page(run)
    for stage in run.record.stages.values():
        stage["state"] = "waiting"
    page = card_page(RunFacts(run.record, Store(tmp_path)))
    assert "<h2>Metrics</h2>" not in page
    assert "alert(1)" not in page


def test_a_run_that_came_nowhere_has_a_card(tmp_path):
    record = RunRecord("id", "name", "failed", "2026-11-23", message="ingest: no <file> matches")
    page = card_page(RunFacts(record, Store(tmp_path)))
    assert "ingest: no &lt;file&gt; matches" in page
    assert "<h2>Metrics</h2>" not in page


def test_a_run_that_failed_in_training_shows_its_curves(tmp_path):
    epochs = [{"epoch": 3, "loss": 0.5}, {"epoch": 4, "loss": 0.25}]  # it went on after its second epoch
    record = RunRecord("id", "name", "failed", "2026-11-23", epochs=4, history=epochs)
    page = card_page(RunFacts(record, Store(tmp_path)))
    assert "training curves" in page
    assert page.count("data:image/png;base64,") == 1


def test_a_failed_run_leaves_its_card_here_and_in_mlflow(tmp_path):
    config = tiny.make(tmp_path)
    lines = (tmp_path / "test.tsv").read_text(encoding="utf-8").splitlines()
    (tmp_path / "test.tsv").write_text(
        "\n".join([*lines, *["only one column"] * 30]) + "\n", encoding="utf-8"
    )
    code, _ = tiny.run(config)
    assert code == 1
    (record,) = read_records(tmp_path / "runs")
    page = (tmp_path / "runs" / "runs" / f"{record.id}.html").read_text(encoding="utf-8")
    assert "30 of 310 records were rejected" in page
    assert "<h2>Rejected records</h2>" in page
    assert page.count('<td class="text">only one column</td>') == 20
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    assert "card.html" in {file.path for file in client.list_artifacts(record.tracking["run"])}
    assert client.get_run(record.tracking["run"]).info.status == "FAILED"
