"""A stage from outside: it is planned, run, reused, shown and logged without a change to any source."""

import io
import json
from pathlib import Path

import pytest
import tiny
from mlflow import MlflowClient
from rich.console import Console
from typer.testing import CliRunner
from word_counts import WordCounts, WordsStage

from pipeline import stages
from pipeline.cli import app
from pipeline.config import load_config
from pipeline.config.places import Places
from pipeline.plan.planning import make_plan
from pipeline.report.facts import find_runs
from pipeline.run.console import plan_table
from pipeline.store.store import Store

NAMES = ["ingest", "words", "tokenize", "train", "evaluate", "export"]


@pytest.fixture(scope="module", autouse=True)
def _registered():
    """The line that adds it."""
    with pytest.MonkeyPatch.context() as patched:
        ingest, *others = stages.STAGES
        patched.setattr(stages, "STAGES", (ingest, WordsStage(), *others))
        yield


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """The folder of a run, and what it said."""
    folder = tmp_path_factory.mktemp("words")
    code, said = tiny.run(tiny.make(folder))
    assert code == 0, said
    return folder, said


def planned(folder, *overrides):
    config = load_config(folder / "pipeline.yaml", overrides)
    places = Places.of(config)
    return make_plan(config, places, Store(places.root))


def record_of(folder):
    return find_runs(folder / "runs")[-1].record


def test_it_is_planned(tmp_path):
    tiny.make(tmp_path)
    plan = planned(tmp_path)
    assert [node.name for node in plan] == NAMES
    assert {node.reason for node in plan} == {"first run"}
    console = Console(file=io.StringIO(), width=120)
    console.print(plan_table(plan))
    assert f"words     {plan['words'].key}  runs" in console.file.getvalue()


def test_it_is_run_and_shown(ran):
    folder, said = ran
    assert "\nwords     first run\n" in said
    assert " no word occurs twice\n" in said  # the name before it where another stage spoke meanwhile
    assert ": 200 words, 200 of them distinct\n" in said
    node = record_of(folder).node("words")
    assert (node.state, node.trials, node.warnings) == ("finished", ("1",), ("no word occurs twice",))
    assert node.summary == {"words": 200, "distinct": 200}
    counts = json.loads(WordCounts.load(node.reference).read("counts.json"))
    lines = (folder / "train.tsv").read_text(encoding="utf-8").splitlines()[1:]
    assert counts == {line.partition("\t")[0]: 1 for line in lines}


def test_it_is_on_the_card(ran):
    folder, _ = ran
    page = (folder / "runs" / "runs" / record_of(folder).id / "card.html").read_text(encoding="utf-8")
    assert "<td>words</td><td>finished</td>" in page
    assert "words: no word occurs twice" in page


def test_mlflow_has_what_it_logs(ran):
    folder, _ = ran
    record = record_of(folder)
    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    run = client.get_run(record.tracking["run"])
    assert run.data.metrics["words"] == 200
    assert run.data.metrics["seconds.words"] >= 0
    assert (run.data.tags["stage.words"], run.data.tags["key.words"]) == ("ran", record.nodes["words"].key)
    assert [file.path for file in client.list_artifacts(run.info.run_id, "words")] == ["words/counts.json"]


def test_it_is_reused_and_runs_again_with_what_it_reads(ran):
    folder, _ = ran
    assert not any(node.in_job for node in planned(folder))
    code, said = tiny.run(folder / "pipeline.yaml")
    assert (code, "nothing to do, all 6 stages are reused" in said) == (0, True)
    changed = {node.name: node.runs for node in planned(folder, "ingest.max_characters=5")}
    assert changed == dict.fromkeys(NAMES, True)
    assert [node.name for node in planned(folder, "seed=8") if node.runs] == NAMES[3:]


def test_the_command_line_knows_it(ran):
    folder, _ = ran
    arguments = ["plan", str(folder / "pipeline.yaml"), "--until", "words", "--force", "words"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert [line.split()[0] for line in done.output.splitlines()] == ["stage", "ingest", "words"]
    assert "forced" in done.output
    refused = CliRunner().invoke(app, ["plan", str(folder / "pipeline.yaml"), "--until", "word"])
    assert refused.exit_code == 2


def test_its_source_is_part_of_its_key(ran, monkeypatch):
    folder, _ = ran
    before = planned(folder)
    read_bytes = Path.read_bytes
    monkeypatch.setattr(
        Path,
        "read_bytes",
        lambda path: read_bytes(path) + (b"#" if path.name == "word_counts.py" else b""),
    )
    changed = [node.name for node, old in zip(planned(folder), before, strict=True) if node.key != old.key]
    assert changed == ["words"]
