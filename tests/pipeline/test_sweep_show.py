"""The ranking of a sweep in the terminal, as CSV, in the lists of runs and at the end of its run."""

import csv
import io
import json
import re

import pytest
from called import call
from made_runs import make_run
from made_sweeps import HALVING, UNITS, MadeSweep
from rich.console import Console
from typer.testing import CliRunner

from components import files
from components.artifacts.artifact import Artifact
from components.errors import UserError
from components.evaluate.verdict import Verdict
from pipeline.cli import app
from pipeline.report.compare import compare
from pipeline.report.compare_text import comparison_text
from pipeline.report.facts import find_runs
from pipeline.report.runs_table import runs_tables
from pipeline.run.observe import read_records
from pipeline.run.picked import picked
from pipeline.run.ranking_csv import ranking_csv
from pipeline.run.summary import Outcome, summarize
from pipeline.run.sweep_ranking import find_sweep, ranking_text
from pipeline.sweep.statistics import interval_over_seeds

UNTRACKED = "tracking.enabled=false"
BLESSED = Verdict(True, ["always"])


def text_of(renderable, width=100):
    console = Console(file=io.StringIO(), width=width)
    console.print(renderable)
    return console.file.getvalue()


def rows_of(record):
    return list(csv.DictReader(io.StringIO(ranking_csv(record))))


@pytest.fixture(scope="module")
def halved(tmp_path_factory):
    """Trial 2 fails, trial 4 is left out after epoch 2, trial 1 is picked and served."""
    folder = tmp_path_factory.mktemp("halved")
    made = MadeSweep(folder, UNTRACKED, UNITS, HALVING)
    return made.finish(failing=("2",), verdict=BLESSED.as_json(), served=folder / "serving/letters/1")


@pytest.fixture(scope="module")
def seeds(tmp_path_factory):
    """Two settings with three seeds each; those of the second are better but for one."""
    losses = {"1": 0.5, "1.2": 0.6, "1.3": 0.1, "2": 0.3, "2.2": 0.2, "2.3": 0.4}
    repeated = "sweep={over: {model.encoder: [{type: gru, units: 4}, {type: lstm, units: 5}]}, repeat: 3}"
    made = MadeSweep(tmp_path_factory.mktemp("seeds"), UNTRACKED, repeated, losses=losses)
    made.make("ingest", "tokenize")
    for trial in losses:
        made.train(trial)
    made.folder.settle_pick("2.2")
    return made.make("evaluate", "export").end(verdict=Verdict(False, ["it is worse"]).as_json())


def test_the_ranking_says_what_became_of_every_trial(halved):
    said = text_of(ranking_text(halved.record()))
    lines = [line.split() for line in said.splitlines()]
    assert lines[1] == ["rank", "trial", "settings", "loss", "epochs", "state"]
    assert lines[2] == ["1", "1", "units", "4", "1.2500", "4", "finished,", "picked", "and", "served"]
    assert lines[3] == ["2", "3", "units", "6", "3.2500", "4", "finished"]
    assert lines[4] == ["3", "4", "units", "8", "4.5000", "2", "stopped", "at", "epoch", "2"]
    assert lines[5] == ["2", "units", "5", "0", "failed"]
    assert "trial 2 failed: it was killed" in said
    assert "trial 1 is picked: the best of 4 trials by loss on the validation split" in said
    assert "it is served as " in said


def test_a_setting_with_several_seeds_is_a_row_with_mean_and_interval(seeds):
    said = text_of(ranking_text(seeds.record()), width=120)
    values = [value + 1 / 4 for value in (0.3, 0.2, 0.4)]
    low, high = interval_over_seeds(values)
    lines = said.splitlines()
    assert lines[1].split() == [
        "rank",
        "trial",
        "settings",
        "seeds",
        "mean",
        "loss",
        "(95",
        "%)",
        "epochs",
        "state",
    ]
    assert f"lstm  7, 8, 9   0.5500 ({low:.4f} to {high:.4f})" in lines[2]
    assert lines[2].endswith("finished, trial 2.2 picked")
    assert lines[3].split()[:2] == ["2", "1"]
    assert "trial 2.2 is picked: the best of 2 settings (6 trials) by loss" in said
    assert "it is not served: it is worse" in said
    assert "by Student's t" in said


def test_csv_has_a_row_for_every_trial_with_all_digits(seeds):
    rows = rows_of(seeds.record())
    assert [row["trial"] for row in rows] == ["2", "2.2", "2.3", "1", "1.2", "1.3"]
    assert [row["rank"] for row in rows] == ["1"] * 3 + ["2"] * 3
    assert [row["seed"] for row in rows] == ["7", "8", "9"] * 2
    assert float(rows[0]["score"]) == 0.3 + 1 / 4
    low, high = interval_over_seeds([0.3 + 1 / 4, 0.2 + 1 / 4, 0.4 + 1 / 4])
    assert (float(rows[0]["low"]), float(rows[0]["high"])) == (low, high)
    assert json.loads(rows[0]["model.encoder"]) == {"type": "lstm", "units": 5}
    assert [row["picked"] for row in rows] == ["false", "true"] + ["false"] * 4
    assert {row["monitor"] for row in rows} == {"loss"}


def test_csv_of_trials_that_failed_or_were_left_out(halved):
    rows = {row["trial"]: row for row in rows_of(halved.record())}
    assert [rows[trial]["state"] for trial in "1234"] == ["finished", "failed", "finished", "stopped"]
    assert [rows[trial]["epochs"] for trial in "1234"] == ["4", "0", "4", "2"]
    assert (rows["2"]["score"], rows["2"]["rank"], rows["2"]["error"]) == ("", "", "it was killed")
    assert rows["1"]["served"].endswith("serving/letters/1")
    assert rows["3"]["served"] == ""
    assert [rows[trial]["model.encoder.units"] for trial in "1234"] == ["4", "5", "6", "8"]


def test_a_sweep_that_goes_on_is_ranked_as_far_as_it_is(tmp_path):
    made = (
        MadeSweep(tmp_path, UNTRACKED, UNITS, HALVING)
        .make("ingest", "tokenize")
        .train("3")
        .train("1", until=1)
    )
    said = text_of(ranking_text(made.record()))
    lines = [line.split() for line in said.splitlines()]
    assert lines[2] == ["1", "3", "units", "6", "3.5000", "2", "waiting"]
    assert lines[3] == ["1", "units", "4", "1", "running"]
    assert "no trial is picked yet" in said
    made.end("interrupted")
    said = text_of(ranking_text(find_sweep(made.root)))
    assert said.count("interrupted") == 5  # the run, and its trials
    assert "no trial was picked" in said


def test_the_newest_sweep_is_shown_if_none_is_named(tmp_path):
    first = MadeSweep(tmp_path, UNTRACKED, UNITS).finish()
    second = MadeSweep(tmp_path, UNTRACKED, UNITS, HALVING)
    make_run(first.root, "plain", right=320)
    newest = max((first.id, second.id))
    assert find_sweep(first.root).id == newest
    assert find_sweep(first.root, first.id).id == first.id
    assert find_sweep(first.root, first.id[-6:]).id == first.id


def test_a_run_that_is_no_sweep_or_no_run_is_refused(tmp_path, halved):
    plain = make_run(tmp_path, "plain", right=320)
    root = files.resolve(tmp_path)
    with pytest.raises(UserError, match=rf"{plain} is no sweep: .* there is no sweep yet"):
        find_sweep(root, plain)
    with pytest.raises(
        UserError, match=r"No sweep under .*\. Start one with `rnnpipe run` and a `sweep` section"
    ):
        find_sweep(root)
    with pytest.raises(
        UserError, match=r"nothing is no run under .*; expected an id, or enough of it, such as"
    ):
        find_sweep(root, "nothing")
    with pytest.raises(UserError, match="No runs under"):
        find_sweep(files.resolve(tmp_path / "empty"), "nothing")
    other = make_run(halved.root, "plain", right=320)
    with pytest.raises(UserError, match=f"sweeps are {halved.id}"):
        find_sweep(halved.root, other)


def test_the_command_writes_the_table_and_csv_alone(halved):
    code, out, errors, heavy = call("sweep", "show", "--root", str(halved.root))
    assert (code, errors, heavy) == (0, "", [])
    assert out == text_of(ranking_text(halved.record()), width=150)
    code, out, errors, heavy = call("sweep", "show", halved.id, "--csv", "--root", str(halved.root))
    assert (code, errors, heavy) == (0, "", [])
    assert out == ranking_csv(halved.record())
    code, out, errors, _ = call("sweep", "show", "nothing", "--root", str(halved.root))
    assert (code, out) == (1, "")
    assert "nothing is no run under" in errors


def test_a_sweep_under_an_address_is_shown_too(tmp_path, monkeypatch):
    monkeypatch.setenv("RNNPIPE_CACHE", str(tmp_path / "cache"))
    made = MadeSweep(tmp_path, UNTRACKED, UNITS, "root=memory://swept/runs").finish()
    done = CliRunner().invoke(app, ["sweep", "show", "--csv", "--root", "memory://swept/runs"])
    assert done.exit_code == 0
    assert done.stdout == ranking_csv(made.record())


def test_runs_lists_a_sweep_in_a_line(halved):
    said = text_of(runs_tables(read_records(halved.root), 400), width=400)
    (line,) = [line for line in said.splitlines() if halved.id in line]
    assert "4 trials, picked 1: units 4" in line
    assert re.search(r"units 4 +\d+ +4 ", line)  # seconds and epochs


def test_a_sweep_is_compared_by_the_trial_that_is_picked(halved, seeds):
    runs = [*find_runs(halved.root, [halved.id]), *find_runs(seeds.root, [seeds.id])]
    comparison = compare(runs)
    differing = comparison.parameters
    assert differing["model.encoder.type"] == ["gru", "lstm"]
    assert differing["model.encoder.units"] == ["4", "5"]
    assert differing["seed"] == ["7", "8"]
    assert not any(name.startswith("sweep") for name in differing)
    assert comparison.metrics["accuracy"][0].value == 0.8
    said = text_of(comparison_text(comparison), width=120)
    assert re.search(rf"A  {halved.id}  letters  .*\n   gru.*: .*; 4 trials, picked 1: units 4\s", said)
    assert "; 6 trials, picked 2.2: encoder lstm, seed 8" in said


def test_the_summary_names_the_pick_of_how_many_and_its_metrics(halved, seeds):
    said = summary_of(halved)
    assert (
        "picked       trial 1 (units 4), the best of 4 trials on the validation split: loss 1.2500\n" in said
    )
    assert "metrics      accuracy 0.8000" in said
    assert " on the test split\n" in said
    assert f"model        {halved.config.export.directory}/letters/1 (trial 1)" in said
    assert "all trials   " in said
    assert f"sweep show --root {halved.root}" in said
    said = summary_of(seeds)
    low, high = interval_over_seeds([0.3 + 1 / 4, 0.2 + 1 / 4, 0.4 + 1 / 4])
    assert (
        "picked       trial 2.2 (encoder lstm, seed 8), the best of 2 settings with 3 seeds each "
        f"on the validation split: loss 0.4500; mean over 3 seeds 0.5500 ({low:.4f} to {high:.4f})\n"
    ) in said


def test_the_summary_says_how_a_file_of_the_same_kind_is_asked(halved):
    assert "ask a file" not in summary_of(halved)
    written = {"columns": {"text": "Kommentar", "label": "Urteil"}, "delimiter": ";", "encoding": "cp1252"}
    ingest = halved.config.ingest.model_copy(update=written)
    said = summary_of(halved, halved.config.model_copy(update={"ingest": ingest}))
    assert "ask a file   " in said
    assert "/letters --input FILE --column Kommentar --delimiter ';' --encoding cp1252\n" in said
    ingest = ingest.model_copy(
        update={"columns": {"text": 1, "label": 0}, "delimiter": "\t", "quoting": False}
    )
    said = summary_of(halved, halved.config.model_copy(update={"ingest": ingest}))
    assert "FILE --column 1 --delimiter '\\t' --no-quoting --encoding cp1252\n" in said


def summary_of(sweep, config=None):
    def artifact(node, kind=Artifact):
        found = sweep.observer.artifact(node)
        return found if isinstance(found, kind) else None

    sweep.record()
    place = sweep.root.parent / "serving/letters/1"
    best = picked(sweep.plan, sweep.folder.pick(), sweep.config.sweep, artifact)
    outcome = Outcome(artifact("evaluate"), artifact("export"), None, BLESSED, place, sweep.folder.card, best)
    console = Console(file=io.StringIO(), width=300)
    assert summarize(config or sweep.config, console, "pipeline.yaml", outcome) == 0
    return console.file.getvalue()
