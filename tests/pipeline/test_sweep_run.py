"""Sweeps that run: failed trials, rungs, the pick, and what a later run does again."""

import io

import pytest
import tiny
from rich.console import Console

from components.artifacts.trained_model import TrainedModel
from pipeline.config import load_config
from pipeline.config.places import Places
from pipeline.run.observe import read_records
from pipeline.run.pipeline import run_pipeline

pytestmark = pytest.mark.slow

SGD = ("tracking.enabled=false", "train.optimizer={type: sgd}", "train.global_clipnorm=null")
RATES = "sweep={over: {train.optimizer.learning_rate: [0.01, 1.0e+38, 0.05]}, parallel: 2}"
UNITS = "sweep={over: {model.encoder.units: [4, 8]}, halving: {reduction_factor: 2}}"


def run(path, *overrides):
    """Runs; returns the record, and what was said."""
    console = Console(file=io.StringIO(), width=200)
    config = load_config(path, overrides)
    code = run_pipeline(config, console, str(path), overrides)
    said = console.file.getvalue()
    assert code == 0, said
    return read_records(Places.of(config).root)[-1], said


def states(record):
    return {node.name: node.state for node in record.nodes.values()}


@pytest.fixture(scope="module")
def rates(tmp_path_factory):
    path = tiny.make(tmp_path_factory.mktemp("rates"))
    return path, run(path, *SGD, RATES, "evaluate.bless=always")[0]


def test_a_failed_trial_ranks_last_and_costs_no_other_one(rates):
    _, record = rates
    assert states(record) == {
        **dict.fromkeys(["ingest", "tokenize", "train", "train 3", "evaluate", "export"], "finished"),
        "train 2": "failed",
    }
    (rung,) = record.rungs
    assert [(each.group, each.complete) for each in rung.ranking] == [("3", True), ("1", True), ("2", False)]
    assert "The training loss became" in rung.ranking[-1].scores["2"].error
    assert "The training loss became" in record.nodes["train 2"].error
    assert record.status == "finished"
    assert record.trials["2"].settings == {"train.optimizer.learning_rate": 1e38}


def test_only_the_pick_is_evaluated_and_exported(rates):
    _, record = rates
    assert record.pick == "3"
    assert record.nodes["evaluate"].trials == record.nodes["export"].trials == ("3",)
    assert [node.name for node in record.of()] == ["ingest", "tokenize", "train 3", "evaluate", "export"]
    assert record.metrics == record.nodes["evaluate"].summary["metrics"]


def test_the_next_run_tries_the_failed_trial_again_and_nothing_else(rates):
    path, before = rates
    record, _ = run(path, *SGD, RATES, "evaluate.bless=always")
    again = {name for name, state in states(record).items() if state != "reused"}
    assert again == {"train 2"}
    assert record.nodes["train 2"].state == "failed"
    assert record.pick == before.pick


def test_a_run_of_the_picked_settings_has_nothing_to_do(rates):
    path, _ = rates
    alone = ("train.optimizer.learning_rate=0.05", "evaluate.bless=always")
    _, said = run(path, *SGD, *alone)
    assert "nothing to do, all 5 stages are reused" in said


def test_trials_that_go_on_end_with_the_bits_of_a_run_of_their_own(tmp_path):
    """They stop twice on their way; schedules span all epochs."""
    spanned = ("tracking.enabled=false", "train.epochs=4", "train.learning_rate_schedule=cosine")
    path = tiny.make(tmp_path / "sweep")
    record, _ = run(path, *spanned, UNITS, "sweep.halving.min_epochs=2")
    assert [rung.stop for rung in record.rungs] == [2, 0]
    assert record.rungs[0].reached == {"1", "2"}
    assert record.rungs[1].reached == {record.pick}
    out = "1" if record.pick == "2" else "2"
    assert record.nodes[record.rungs[1].nodes[out]].state == "not reached"
    trained = TrainedModel.load(record.node("train").reference)
    other = tiny.make(tmp_path / "alone")
    units = record.trials[record.pick].settings["model.encoder.units"]
    console = Console(file=io.StringIO())
    config = load_config(other, (*spanned, f"model.encoder.units={units}"))
    assert run_pipeline(config, console, str(other), until="train") == 0
    (whole,) = read_records(Places.of(config).root)
    assert whole.nodes["train"].key == record.node("train").key
    assert trained.read("model.keras") == TrainedModel.load(whole.nodes["train"].reference).read(
        "model.keras"
    )
