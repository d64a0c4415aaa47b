"""Whatever process mirrors a run, whenever, however often and however interrupted: MLflow has it once."""

import threading
from dataclasses import replace

import pytest
from made_runs import OF_CHAMPION, MadeRun
from mirrored import Killed, known, listed, losses, record_calls, runs_of, settings
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from components import files
from components.evaluate.verdict import Verdict
from pipeline.report.facts import find_runs
from pipeline.run.record import RunRecord
from pipeline.tracking import mlflow_run
from pipeline.tracking.mirror import Mirror

EPOCHS = [{"epoch": epoch, "loss": 1 / epoch, "seconds": 2.0} for epoch in range(1, 4)]
STAGES = ("ingest", "tokenize", "train", "evaluate", "export")


def whole(root, uri):
    """A run that is over, with all there is."""
    made = MadeRun(root, config=settings(uri), epochs=EPOCHS).make("ingest", "tokenize")
    made.train(1, 2, 3)
    made.make("train", "evaluate", OF_CHAMPION, "export")
    made.end(verdict=Verdict(True, ["exact_match 0.97 >= 0.9 (min)"]).as_json())
    files.write(made.folder.card, b"<p>a card</p>")
    return made


def sync(made, mirror=None, record=None):
    mirror = mirror or Mirror(made.record().config["tracking"]["uri"], made.folder)
    again = mirror.sync(record or made.record(), made.observer.artifact)
    return mirror, again


def missing(made, mirror):
    return list(mirror.missing(made.record(), made.observer.artifact))


@pytest.fixture
def made(tmp_path, uri):
    return whole(tmp_path, uri)


def test_what_is_there_is_not_sent_again(made, uri, monkeypatch):
    first = record_calls(monkeypatch, uri)
    mirror, again = sync(made)
    assert (again, missing(made, mirror)) == (False, [])
    assert first.writes
    expected, count = known(uri, made), len(first.calls)
    assert sync(made, mirror) == (mirror, False)
    assert len(first.calls) == count  # the same process knows
    for _ in range(2):
        other = record_calls(monkeypatch, uri)
        mirror, again = sync(made)
        assert (again, missing(made, mirror), other.writes) == (False, [], [])
        assert {"get_run", "get_metric_history"} <= set(other.calls)
    assert known(uri, made) == expected


@pytest.mark.parametrize("every", [7, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("late", [False, True], ids=["before the call", "after the call"])
def test_a_process_that_is_killed_at_any_call_leaves_what_the_next_one_completes(
    made, uri, monkeypatch, late, every
):
    whole_run = record_calls(monkeypatch, uri)
    sync(made)
    expected = known(uri, made)
    calls = len(whole_run.calls)
    assert calls > 20
    for number in range(1, calls + 1, every):
        for entry in files.entries(made.folder.place):
            if entry.path.name.startswith("tracking"):
                files.delete([entry.path])
        record = _in_experiment(made.record(), f"killed at {number}")
        record_calls(
            monkeypatch, uri, lambda at, name, arguments, n=number: Killed() if at == n else None, late
        )
        with pytest.raises(Killed):
            sync(made, record=record)
        record_calls(monkeypatch, uri)
        mirror, again = sync(made, record=record)
        assert (again, mirror.missing(record, made.observer.artifact)) == (False, ())
        found = known(uri, made)
        for each, other in zip(found, expected, strict=True):
            assert _without_experiment(each) == _without_experiment(other), f"killed at call {number}"
        client = MlflowClient(uri)
        experiment = client.get_experiment_by_name(f"killed at {number}").experiment_id
        assert len(client.search_runs([experiment])) == 2  # with its trial
        third = record_calls(monkeypatch, uri)
        sync(made, record=record)
        assert third.writes == []


def _in_experiment(record, name):
    tracking = {**record.config["tracking"], "experiment": name}
    return replace(record, config={**record.config, "tracking": tracking})


def _without_experiment(found):
    names = [name.rpartition("-")[2] for name, _ in found["data"]]
    params = {name: value for name, value in found["params"].items() if name != "tracking.experiment"}
    held = {name: value for name, value in found["files"].items() if name != "pipeline.yaml"}
    tags = {name: value for name, value in found["tags"].items() if not name.startswith("rnnpipe.files")}
    return {**found, "data": names, "params": params, "files": held, "tags": tags}


def test_processes_that_mirror_at_once_make_one_run(made, uri, monkeypatch):
    """They all look before any of them has made it."""
    together = threading.Barrier(4, timeout=60)
    searched = threading.local()

    def fails(number, name, arguments):
        if name == "create_run" and not getattr(searched, "waited", False):
            searched.waited = True
            together.wait()

    record_calls(monkeypatch, uri, fails)
    record, artifact = made.record(), made.observer.artifact
    mirrors = [Mirror(uri, made.folder) for _ in range(4)]
    threads = [threading.Thread(target=mirror.sync, args=(record, artifact)) for mirror in mirrors]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for mirror in mirrors:
        sync(made, mirror)  # SQLite may have been busy
        assert missing(made, mirror) == []
    expected = known(uri, made)
    runs = MlflowClient(uri).search_runs([runs_of(uri, made)[0].info.experiment_id])
    assert len(runs) == 2
    for each in expected:
        assert len({point[0] for point in each["metrics"]["loss"]}) == len(each["metrics"]["loss"]) == 3
    other = record_calls(monkeypatch, uri)
    sync(made)
    assert other.writes == []


def test_a_run_that_a_process_left_when_it_died_is_not_shown_twice(made, uri):
    client = MlflowClient(uri)
    experiment = client.create_experiment("dates")
    left = client.create_run(experiment, tags={"rnnpipe.run": made.id}).info.run_id
    sync(made)
    assert made.record().tracking == {"uri": uri, "run": left}
    late = client.create_run(experiment, tags={"rnnpipe.run": made.id}).info.run_id
    sync(made)
    assert client.get_run(late).info.lifecycle_stage == "deleted"
    assert len(client.search_runs([experiment])) == 2


def test_only_files_that_have_changed_are_sent_again(made, uri, monkeypatch):
    sync(made)
    files.write(made.folder.card, b"<p>another card</p>")
    sent = []

    def note(number, name, arguments):
        if name == "log_artifact":
            sent.append(arguments[1].rpartition("/")[2])

    other = record_calls(monkeypatch, uri, note)
    sync(made)
    assert sent == ["card.html"]
    assert other.writes == ["log_artifact", "log_batch"]  # the file, and its digest
    run, _ = runs_of(uri, made)
    local = MlflowClient(uri).download_artifacts(run.info.run_id, "card.html")
    with open(local, encoding="utf-8") as file:
        assert file.read() == "<p>another card</p>"


def test_many_files_are_noted_in_many_tags(made, uri, monkeypatch):
    monkeypatch.setattr(mlflow_run, "_FILES_IN_TAG", 2)
    sync(made)
    other = record_calls(monkeypatch, uri)
    sync(made)
    assert other.writes == []
    run, trial = runs_of(uri, made)
    assert {"rnnpipe.files.1", "rnnpipe.files.2"} <= run.data.tags.keys() & trial.data.tags.keys()


def test_a_file_that_is_refused_costs_only_itself_and_is_not_tried_again(made, uri, monkeypatch):
    def refuse(number, name, arguments):
        if name == "log_artifact" and arguments[1].endswith("predictions.jsonl"):
            tried.append(number)
            return PermissionError("413 Request Entity Too Large")
        return None

    tried = []
    record_calls(monkeypatch, uri, refuse)
    mirror, again = sync(made)
    assert not again
    assert missing(made, mirror) == ["evaluate"]
    assert str(mirror.error) == "413 Request Entity Too Large"
    run, trial = runs_of(uri, made)
    assert run.info.status == trial.info.status == "FINISHED"
    assert listed(uri, trial, "evaluate") == {"evaluate/metrics.json", "evaluate/worst.jsonl"}
    sync(made, mirror)
    assert len(tried) == 1
    record_calls(monkeypatch, uri)
    assert missing(made, sync(made)[0]) == []  # another process tries it again
    assert "evaluate/predictions.jsonl" in listed(uri, trial, "evaluate")


def test_what_mlflow_cannot_take_for_a_while_does_not_hold_up_the_rest(made, uri, monkeypatch):
    busy = {"epoch": True}

    def refuse(number, name, arguments):
        if name == "log_batch" and busy["epoch"] and any(point.step == 2 for point in arguments[1]):
            return MlflowException("database is locked")
        return None

    record_calls(monkeypatch, uri, refuse)
    mirror, again = sync(made)
    assert again
    assert missing(made, mirror) == ["epoch 2", "the trial's figures"]
    run, trial = runs_of(uri, made)
    assert losses(uri, trial) == [(1, 1.0), (3, 1 / 3)]
    assert run.info.status == "FINISHED"
    busy["epoch"] = False
    assert sync(made, mirror)[1] is False
    assert missing(made, mirror) == []
    for each in (run, trial):
        assert losses(uri, each) == [(1, 1.0), (2, 0.5), (3, 1 / 3)]


def test_where_nobody_answers_nothing_else_is_tried(made, uri, monkeypatch):
    sync(made)
    files.write(made.folder.card, b"another")
    silent = record_calls(monkeypatch, uri, lambda *call: ConnectionError("refused"))
    mirror, again = sync(made)
    assert again
    assert silent.calls == ["get_run"]
    assert missing(made, mirror)[:3] == ["the run", "its parameters", "pipeline.yaml"]


def test_times_are_those_of_the_record(made, uri):
    sync(made)
    record = made.record()
    run, trial = runs_of(uri, made)
    for each in (run, trial):
        assert each.info.start_time == record.began
        assert each.info.end_time == record.began + round(1000 * record.seconds)
        history = MlflowClient(uri).get_metric_history(each.info.run_id, "loss")
        assert {point.step: point.timestamp for point in history} == record.nodes["train"].epoch_times
    node = record.nodes["evaluate"]
    (measured,) = MlflowClient(uri).get_metric_history(trial.info.run_id, "test/exact_match")
    assert measured.timestamp == round(1000 * (node.began + node.seconds))


def test_a_run_that_was_taken_for_killed_goes_on(tmp_path, uri):
    made = MadeRun(tmp_path, config=settings(uri)).make("ingest")
    assert made.record().status == "killed"
    sync(made)
    assert {each.info.status for each in runs_of(uri, made)} == {"KILLED"}
    sync(made, record=replace(made.record(), status="running"))
    assert {each.info.status for each in runs_of(uri, made)} == {"RUNNING"}
    made.make("tokenize").end()
    sync(made)
    assert {each.info.status for each in runs_of(uri, made)} == {"FINISHED"}


def of_trials(record: RunRecord) -> RunRecord:
    """The record of a sweep: data is shared, training and evaluation are another trial's, too."""
    nodes = {}
    for name, node in record.nodes.items():
        shared = node.stage in ("ingest", "tokenize")
        nodes[name] = replace(node, trials=("1", "2") if shared else node.trials)
        if node.trials and node.stage in ("train", "evaluate"):
            second = replace(node, trial="2", trials=("2",), history=node.history[:2])
            nodes[second.name] = second
    return replace(record, nodes=nodes)


def test_every_trial_is_a_run_of_its_own(made, uri):
    record = of_trials(made.record())

    def artifact(name):
        return made.observer.artifact(name.removesuffix(" 2"))

    mirror = Mirror(uri, made.folder)
    mirror.sync(record, artifact)
    assert mirror.missing(record, artifact) == ()
    run, first, second = runs_of(uri, made)
    assert [each.data.tags["rnnpipe.trial"] for each in (first, second)] == ["1", "2"]
    assert second.info.run_name.endswith(", trial 2")
    assert listed(uri, run) == {"pipeline.yaml", "card.html", "ingest", "tokenize", "evaluate"}
    assert listed(uri, first) == {"train", "evaluate", "export", "plots"}
    assert listed(uri, second) == {"train", "evaluate", "plots"}
    assert {"key.ingest", "key.tokenize"} <= run.data.tags.keys()
    assert {"key.train", "key.evaluate"} <= second.data.tags.keys()
    assert run.data.metrics["model.bytes"] == 77  # of the trial that was exported
    assert "model.bytes" not in second.data.metrics
    assert not {"key.evaluate champion"} & run.data.tags.keys()
    assert len(run.inputs.dataset_inputs) == 2
    other = Mirror(uri, made.folder)
    other.sync(record, artifact)
    assert len(MlflowClient(uri).search_runs([run.info.experiment_id])) == 3


def test_a_run_that_mlflow_has_lost(made, uri):
    made.folder.note_tracking(uri, "f" * 32)
    mirror, again = sync(made)
    assert not again
    assert missing(made, mirror)[0] == "the run"
    assert "lost the run " + "f" * 32 in str(mirror.error)
    assert "delete tracking*.json in " in str(mirror.error)


def test_an_artifact_that_is_damaged_is_named(tmp_path, uri):
    made = whole(tmp_path, uri)
    files.delete([made.made("train").place("history.json")])
    (run,) = find_runs(tmp_path, [made.id])
    mirror = Mirror(uri, made.folder)
    assert mirror.sync(run.record, run.artifacts.get) is False
    assert "train" in mirror.missing(run.record, run.artifacts.get)
    assert str(mirror.error) == "the artifact of train is damaged, or is gone"
