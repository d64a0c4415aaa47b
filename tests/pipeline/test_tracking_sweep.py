"""A sweep in MLflow: a parent run with a child for every trial."""

import json
from pathlib import Path

import pytest
from made_sweeps import HALVING, UNITS, MadeSweep, tracked
from mirrored import known, listed, losses, record_calls, runs_of
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from components import files
from components.errors import UserError
from components.evaluate.verdict import Verdict
from pipeline.report.facts import find_runs
from pipeline.run.ranking_csv import ranking_csv
from pipeline.tracking.mirror import Mirror
from pipeline.tracking.track import track
from pipeline.tracking.tracker import Tracker

BLESSED = Verdict(True, ["always"]).as_json()


def sync(sweep, mirror=None):
    mirror = mirror or Mirror(sweep.record().config["tracking"]["uri"], sweep.folder)
    assert mirror.sync(sweep.record(), sweep.observer.artifact) is False
    assert mirror.missing(sweep.record(), sweep.observer.artifact) == ()
    return mirror


@pytest.fixture
def sweep(tmp_path, uri):
    """Trial 2 fails, trial 4 is left out after epoch 2, trial 1 is picked."""
    made = MadeSweep(tmp_path, *tracked(uri), UNITS, HALVING).finish(failing=("2",), verdict=BLESSED)
    files.write(made.folder.card, b"<p>a card</p>")
    return made


def test_every_trial_is_a_child_with_its_state(sweep, uri):
    sync(sweep)
    parent, *trials = runs_of(uri, sweep)
    assert [each.info.status for each in trials] == ["FINISHED", "FAILED", "FINISHED", "FINISHED"]
    states = [each.data.tags.get("state") for each in trials]
    assert states == ["finished", "failed", "finished", "stopped at epoch 2"]
    assert [each.data.tags.get("picked") for each in trials] == ["true", None, None, None]
    assert [each.data.tags.get("error") for each in trials] == [None, "it was killed", None, None]
    assert [(each.data.tags["group"], each.data.tags["seed"]) for each in trials] == [
        ("1", "7"),
        ("2", "7"),
        ("3", "7"),
        ("4", "7"),
    ]
    short = sweep.id.rpartition("-")[2]
    assert [each.info.run_name for each in trials] == [
        f"{short}, trial {number}: units {units}" for number, units in ((1, 4), (2, 5), (3, 6), (4, 8))
    ]
    assert parent.info.status == "FINISHED"
    assert (parent.data.tags["picked"], parent.data.tags["trials"]) == ("1", "4")


def test_the_epochs_of_all_rungs_are_one_training(sweep, uri):
    sync(sweep)
    _, first, failed, third, fourth = runs_of(uri, sweep)
    assert losses(uri, first) == [(epoch, 1.0) for epoch in (1, 2, 3, 4)]
    assert losses(uri, third) == [(epoch, 3.0) for epoch in (1, 2, 3, 4)]
    assert losses(uri, fourth) == [(1, 4.0), (2, 4.0)]
    assert "loss" not in failed.data.metrics
    times = [point.timestamp for point in MlflowClient(uri).get_metric_history(first.info.run_id, "loss")]
    assert times == sorted(times)
    record = sweep.record()
    noted = {**record.nodes["train to epoch 2"].epoch_times, **record.nodes["train"].epoch_times}
    assert times == [noted[epoch] for epoch in (1, 2, 3, 4)]


def test_the_score_is_one_metric_that_tells_trials_apart(sweep, uri):
    """Of the weights that a trial has kept, and of the last rung that it has come to."""
    sync(sweep)
    scores = [each.data.metrics.get("validation/loss") for each in runs_of(uri, sweep)]
    assert scores == [1.25, 1.25, None, 3.25, 4.5]


def test_the_first_metric_of_a_trial_is_what_trials_are_ranked_by(sweep, uri):
    """MLflow's parallel coordinates begin with it; what trials share does not tell them apart."""
    sync(sweep)
    _, first, failed, third, _ = runs_of(uri, sweep)
    assert [next(iter(each.data.metrics)) for each in (first, third)] == ["val_loss", "val_loss"]
    assert "seconds.ingest" not in third.data.metrics
    assert failed.data.metrics == {}


def test_swept_settings_are_parameters_that_sort_first(sweep, uri):
    sync(sweep)
    parent, *trials = runs_of(uri, sweep)
    assert [each.data.params["_units"] for each in trials] == ["4", "5", "6", "8"]
    assert [each.data.params["model.encoder.units"] for each in trials] == ["4", "5", "6", "8"]
    differing = {
        name for name in trials[0].data.params if len({each.data.params.get(name) for each in trials}) > 1
    }
    assert sorted(differing) == ["_units", "model.encoder.units"]
    assert min(trials[0].data.params) == "_units"
    assert not any(name.startswith("sweep.") for name in trials[0].data.params)
    assert {"sweep.monitor", "sweep.over.model.encoder.units.0"} <= parent.data.params.keys()
    # The parent is shown as the trial that was picked.
    assert trials[0].data.params.items() <= parent.data.params.items()


def test_parameters_are_those_of_the_trials_own_configuration(tmp_path, uri):
    """A setting may bring others with it: every kind of encoder has its own."""
    kinds = (
        "sweep={over: {model.encoder: [{type: gru, units: 4}, {type: echo_state_rnn, units: 9}]}, repeat: 2}"
    )
    made = MadeSweep(tmp_path, *tracked(uri), kinds).finish()
    sync(made)
    parent, gru, again, echo, _ = runs_of(uri, made)
    assert [each.data.params["_encoder"] for each in (gru, echo)] == [
        "gru",
        "echo_state_rnn",
    ]
    assert [each.data.params["encoder"] for each in (gru, echo)] == ["gru", "echo_state_rnn"]
    assert "model.encoder.spectral_radius" in echo.data.params.keys() - gru.data.params.keys()
    assert "model.encoder.recurrent_activation" in gru.data.params.keys() - echo.data.params.keys()
    for trial, run in zip(made.plan.trials[::2], (gru, echo), strict=True):
        own = trial.config.model_dump(mode="json")["model"]["encoder"]
        told = {name: value for name, value in run.data.params.items() if name.startswith("model.encoder.")}
        assert told == {f"model.encoder.{name}": str(value) for name, value in own.items()}
    assert (gru.data.params["seed"], again.data.params["seed"]) == ("7", "8")
    assert (again.data.tags["group"], again.data.tags["seed"]) == ("1", "8")
    assert again.info.run_name.endswith("trial 1.2: encoder gru, seed 8")
    assert parent.data.params["encoder"] == "gru"
    assert "model.encoder.spectral_radius" not in parent.data.params


def test_the_pick_has_what_was_measured_and_exported_and_the_run_its_figures(sweep, uri):
    sync(sweep)
    parent, pick, _, third, _ = runs_of(uri, sweep)
    assert listed(uri, parent) == {
        "pipeline.yaml",
        "card.html",
        "ranking.csv",
        "ingest",
        "tokenize",
        "evaluate",
    }
    assert listed(uri, parent, "evaluate") == {"evaluate/verdict.json"}
    assert {"train", "plots", "evaluate", "export"} <= listed(uri, pick)
    assert listed(uri, third) == {"train", "plots"}
    assert {"key.train", "key.evaluate", "key.export"} <= pick.data.tags.keys()
    for name in ("test/accuracy", "validation/loss", "best_epoch", "seconds.train", "model.bytes"):
        assert parent.data.metrics[name] == pick.data.metrics[name]
    assert losses(uri, parent) == losses(uri, pick)
    assert next(iter(parent.data.metrics)) == "test/accuracy"
    assert "test/accuracy" not in third.data.metrics
    assert pick.data.metrics["seconds.train"] == 8.0  # of both rungs
    path = MlflowClient(uri).download_artifacts(parent.info.run_id, "ranking.csv")
    assert Path(path).read_text(encoding="utf-8") == ranking_csv(sweep.record())
    path = MlflowClient(uri).download_artifacts(third.info.run_id, "train/history.json")
    assert len(json.loads(Path(path).read_text(encoding="utf-8"))["epochs"]) == 4


def test_times_are_those_of_the_record(sweep, uri):
    sync(sweep)
    record = sweep.record()
    parent, first, failed, third, _ = runs_of(uri, sweep)
    end = record.began + round(1000 * record.seconds)
    assert (parent.info.start_time, parent.info.end_time) == (record.began, end)
    for run, name in ((first, "train to epoch 2"), (failed, "train 2 to epoch 2")):
        assert run.info.start_time == round(1000 * record.nodes[name].work_began)
    assert first.info.end_time == end  # it is evaluated and exported
    node = record.nodes["train 3"]
    assert third.info.end_time == round(1000 * (node.work_began + node.seconds))
    assert failed.info.end_time == round(1000 * record.nodes["train 2 to epoch 2"].work_began)


def test_a_sweep_is_the_same_however_often_it_is_looked_at(tmp_path, uri, monkeypatch):
    """Live, rung by rung; or at once, from what is under the root, by rnnpipe track."""
    made = MadeSweep(tmp_path, *tracked(uri), UNITS, HALVING)
    mirror, steps = sync(made), iter(range(1000))

    def watched(*names, seconds=2.0):
        result = MadeSweep.make(made, *names, seconds=seconds)
        sync(made, mirror if next(steps) % 2 else None)
        return result

    monkeypatch.setattr(made, "make", watched)
    made.finish(failing=("3",), verdict=BLESSED)
    files.write(made.folder.card, b"<p>a card</p>")
    sync(made, mirror)
    live = known(uri, made)
    quiet = record_calls(monkeypatch, uri)
    sync(made)
    assert quiet.writes == []
    monkeypatch.undo()
    runs = [run.info.run_id for run in runs_of(uri, made)]
    for run in runs:
        MlflowClient(uri).delete_run(run)
    for entry in files.entries(made.folder.place):
        if entry.path.name.startswith("tracking"):
            files.delete([entry.path])
    (found,) = find_runs(made.root, [made.id])
    assert track(found) == []
    again = known(uri, made)
    assert not {run.info.run_id for run in runs_of(uri, made)} & set(runs)
    assert [_without_digests(each) for each in again] == [_without_digests(each) for each in live]


def _without_digests(found):
    """Tags hold them in the order in which files came."""
    digests = {}
    for name, value in found["tags"].items():
        if name.startswith("rnnpipe.files."):
            digests |= json.loads(value)
    others = {name: value for name, value in found["tags"].items() if not name.startswith("rnnpipe.files.")}
    return {**found, "tags": others, "digests": digests}


def test_while_it_goes_on_only_trials_that_have_begun_are_shown(tmp_path, uri):
    made = MadeSweep(tmp_path, *tracked(uri), UNITS, HALVING).make("ingest", "tokenize")
    mirror = sync(made)
    assert len(runs_of(uri, made)) == 1
    made.train("1")
    made.train("3", until=1)
    made.fail("2")
    made.queue("4")
    sync(made, mirror)
    _, first, failed, third = runs_of(uri, made)
    assert [each.info.status for each in (first, failed, third)] == ["RUNNING", "FAILED", "RUNNING"]
    assert [each.data.tags.get("state") for each in (first, failed, third)] == [None, "failed", None]
    assert losses(uri, first) == [(1, 1.0), (2, 1.0)]
    assert losses(uri, third) == [(1, 3.0)]
    # What may still change is not sent: MLflow keeps every value of a metric.
    assert not {"validation/loss", "best_epoch"} & first.data.metrics.keys()


def test_a_sweep_that_was_interrupted_is_complete(tmp_path, uri):
    made = MadeSweep(tmp_path, *tracked(uri), UNITS, HALVING).make("ingest", "tokenize")
    made.train("1").train("3", until=1)
    made.end("interrupted", "by Ctrl-C")
    sync(made)
    parent, first, second, third, fourth = runs_of(uri, made)
    assert parent.info.status == "KILLED"
    assert {each.info.status for each in (first, second, third, fourth)} == {"KILLED"}
    assert {each.data.tags["state"] for each in (first, second, third, fourth)} == {"interrupted"}
    assert first.data.metrics["validation/loss"] == 1.5
    assert listed(uri, first) == {"train", "plots"}
    assert "picked" not in parent.data.tags
    assert "ranking.csv" in listed(uri, parent)


def test_trials_that_an_earlier_sweep_has_trained_have_their_curves_too(tmp_path, uri):
    MadeSweep(tmp_path, *tracked(uri), UNITS).finish()
    more = "sweep={over: {model.encoder.units: [4, 5, 6, 8, 9]}}"
    made = MadeSweep(tmp_path, *tracked(uri), more)
    made.train("5")
    made.folder.settle_pick("1")
    made.end()
    sync(made)
    _, *trials = runs_of(uri, made)
    assert [each.data.tags["stage.train"] for each in trials] == ["reused"] * 4 + ["ran"]
    assert losses(uri, trials[2]) == [(epoch, 3.0) for epoch in (1, 2, 3, 4)]
    assert trials[2].info.start_time == trials[2].info.end_time == made.record().began


def test_a_trial_that_mlflow_refuses_costs_no_other_one(sweep, uri, monkeypatch):
    def refuse(number, name, arguments):
        if name == "log_batch" and any(
            param.key == "_units" and param.value == "6" for param in arguments[2]
        ):
            return MlflowException("INVALID: no", error_code=1000)
        return None

    record_calls(monkeypatch, uri, refuse)
    mirror = Mirror(uri, sweep.folder)
    mirror.sync(sweep.record(), sweep.observer.artifact)
    assert mirror.missing(sweep.record(), sweep.observer.artifact) == ("trial 3",)
    parent, first, _, third, fourth = runs_of(uri, sweep)
    assert [each.info.status for each in (parent, first, third, fourth)] == ["FINISHED"] * 4
    assert losses(uri, third) == losses(uri, runs_of(uri, sweep)[3])
    assert len(losses(uri, third)) == 4


def test_what_did_not_arrive_of_many_trials_is_a_short_sentence(tmp_path):
    made = MadeSweep(
        tmp_path,
        "tracking.uri=http://127.0.0.1:9",
        "sweep={over: {model.encoder.units: {integers: [4, 90]}}, trials: 20}",
    )
    made.end("interrupted", "by Ctrl-C")
    tracker = Tracker("http://127.0.0.1:9", made.folder, watch=False)
    tracker.update(made.record(), made.observer.artifact)
    (problem,) = tracker.finish(timeout=60)
    assert "did not get the run, its parameters, trial 1, trial 2, " in problem
    assert " more: " in problem
    assert problem.count("trial ") == 6


def test_a_sweep_that_goes_on_is_not_sent_by_others(tmp_path, uri):
    made = MadeSweep(tmp_path, *tracked(uri), UNITS)
    files.write(made.folder.heartbeat, b"")
    (found,) = find_runs(made.root, [made.id])
    with pytest.raises(UserError, match="is still running"):
        track(found)


@pytest.mark.parametrize("trials", [20, pytest.param(200, marks=pytest.mark.slow)])
def test_the_calls_of_many_trials_are_few(tmp_path, uri, monkeypatch, trials):
    """One search for all of them; of every trial its creation, its figures, its files and its end."""
    many = (
        f"sweep={{over: {{train.optimizer.learning_rate: {{log_uniform: [0.001, 0.1]}}}}, trials: {trials}}}"
    )
    made = MadeSweep(tmp_path, *tracked(uri), many, epochs=3).finish()
    client = record_calls(monkeypatch, uri)
    sync(made)
    assert client.calls.count("search_runs") == 2
    assert client.calls.count("create_run") == trials + 1
    assert client.calls.count("get_run") == 0
    assert len(client.calls) < 9 * trials
    first = runs_of(uri, made)[1]
    assert losses(uri, first) == [(epoch, 1.0) for epoch in (1, 2, 3)]
    other = record_calls(monkeypatch, uri)
    sync(made)
    assert other.writes == []
    assert other.calls.count("search_runs") == 2
    assert other.calls.count("get_run") == 1  # of the experiment
