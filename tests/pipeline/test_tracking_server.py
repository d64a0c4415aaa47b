"""A real MLflow server that goes away at the start, in the middle and at the end of runs."""

import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager

import pytest
import tensorflow as tf
from made_runs import make_run
from mlflow import MlflowClient
from typer.testing import CliRunner

from components.errors import UserError
from components.events import EpochFinished
from components.export.push import Note, push, read_note
from components.export.saved_model import export_saved_model
from pipeline.cli import app
from pipeline.report.facts import find_runs
from pipeline.run.record import read_records, write_record
from pipeline.tracking import delivery
from pipeline.tracking.mlflow_client import quiet_mlflow
from pipeline.tracking.registry import find_champion
from pipeline.tracking.track import track
from pipeline.tracking.tracker import Tracker

EPOCHS = [{"epoch": epoch, "loss": 1 / epoch, "seconds": 2.0} for epoch in range(1, 6)]


KEY = f"{'e':0<64}"


def shout(text):
    return {"prediction": tf.strings.upper(text), "score": tf.cast(tf.strings.length(text), tf.float32)}


class Server:
    """MLflow on 127.0.0.1 with a database of its own; it can be ended and started again."""

    def __init__(self, folder):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self.port}"
        self._folder = folder
        self._process = None

    def start(self):
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--backend-store-uri", f"sqlite:///{self._folder}/server.db", "--workers", "1"]
        command += ["--artifacts-destination", str(self._folder / "files")]
        with (self._folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        deadline = time.monotonic() + 120
        while not self._answers():
            assert self._process.poll() is None, (self._folder / "server.log").read_text()
            assert time.monotonic() < deadline, "the server does not answer"
            time.sleep(0.1)

    def stop(self):
        self._process.terminate()
        self._process.wait(30)

    @contextmanager
    def running(self):
        self.start()
        try:
            yield self
        finally:
            self.stop()

    def _answers(self):
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=5) as answer:
                return answer.status == 200
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setattr(delivery, "_LONGEST_PAUSE", 0.5)
    quiet_mlflow()
    return Server(tmp_path)


def losses(uri, run_id):
    history = MlflowClient(uri).get_metric_history(run_id, "loss")
    return [(metric.step, metric.value) for metric in history]


def files(uri, run_id, folder=""):
    return {file.path for file in MlflowClient(uri).list_artifacts(run_id, folder)}


def settings(uri, enabled=True):
    return {"tracking": {"uri": uri, "experiment": "dates", "enabled": enabled}}


@pytest.mark.slow
def test_a_server_that_comes_late_and_goes_and_is_away_at_the_end(server, tmp_path):
    """Two runs: one that outlasts each absence, and one that ends during one."""
    tracker = Tracker(server.uri, "dates", "spring", watch=False)
    tracker.start({"a": 1}, {"task": "seq2seq"}, "name: dates\n")
    send_epochs(tracker, 1, 2)
    time.sleep(1)
    assert tracker.run_id is None
    ended_id = make_run(tmp_path, "a", 320, config=settings(server.uri))
    ended = Tracker(server.uri, "dates", ended_id, watch=False)
    with server.running():
        wait_for(lambda: tracker.trial_id and len(losses(server.uri, tracker.trial_id)) == 2)
        ended.start({}, {}, "")
        send_epochs(ended, 1)
        wait_for(lambda: ended.trial_id and len(losses(server.uri, ended.trial_id)) == 1)

    send_epochs(tracker, 3, 4)
    send_epochs(ended, 2)
    (problem,) = ended.finish("FINISHED", timeout=5)
    assert f"`rnnpipe track {ended_id}` sends it later" in problem
    assert ended.missing == ["epoch 2", "the trial's figures", "the end"]
    (run,) = find_runs(tmp_path, [ended_id])
    run.record.history = EPOCHS[:2]
    run.record.tracking = {"uri": server.uri, "run": ended.run_id, "missing": ", ".join(ended.missing)}
    run.record.served = str(serve(run, server.uri, tmp_path))
    write_record(tmp_path, run.record)
    (problem,) = track(run, timeout=5)
    assert "did not get the run" in problem
    assert find_runs(tmp_path, [ended_id])[0].record.tracking["missing"].startswith("the run, its parameters")

    with server.running():
        send_epochs(tracker, 5)
        tracker.card("<p>a card</p>")
        wait_for(lambda: len(losses(server.uri, tracker.trial_id)) == 5)
        assert tracker.finish("FINISHED", timeout=60) == []
        found = MlflowClient(server.uri).get_run(tracker.run_id)
        assert found.info.status == "FINISHED"
        assert found.data.params == {"a": "1"}
        for run_id in (tracker.trial_id, tracker.run_id):
            assert losses(server.uri, run_id) == [(each["epoch"], each["loss"]) for each in EPOCHS]
        assert files(server.uri, tracker.run_id) == {"pipeline.yaml", "card.html"}

        done = CliRunner().invoke(app, ["track", ended_id, "--root", str(tmp_path)])
        assert done.exit_code == 0, done.output
        assert f"MLflow has all of {ended_id} now, as {ended.run_id}" in done.output
        found = MlflowClient(server.uri).get_run(ended.run_id)
        assert found.info.status == "FINISHED"
        for run_id in (ended.trial_id, ended.run_id):
            assert losses(server.uri, run_id) == [(1, 1.0), (2, 0.5)]
        assert found.data.metrics["test/exact_match"] == 0.8
        champion = find_champion(server.uri, "made")
        assert (champion.title, champion.key) == ("version 1", KEY)
        assert (champion.fetch(tmp_path / "fetched") / "saved_model.pb").is_file()
        assert read_note(tmp_path / "serving" / "made", 1).registered
        assert {"card.html", "pipeline.yaml"} <= files(server.uri, ended.run_id)
        assert {"evaluate", "train"} <= files(server.uri, ended.trial_id)
        page = MlflowClient(server.uri).download_artifacts(ended.run_id, "card.html", str(tmp_path))
        with open(page, encoding="utf-8") as file:
            assert "exact_match" in file.read()
    with pytest.raises(UserError, match=f"MLflow has all of {ended_id} already"):
        track(find_runs(tmp_path, [ended_id])[0])


def serve(run, uri, folder):
    """Gives a run an export artifact, and pushes it; returns where it is served."""
    staging = run.store.staging("export")
    export_saved_model({"serving_default": shout}, [], str(staging / "model"))
    (staging / "validation.json").write_text(json.dumps({"latency_milliseconds": {}}))
    artifact = run.store.commit(staging, "export", KEY, {}, {"bytes": 1}, seconds=1.0)
    run.record.stages["export"] = {"state": "finished", "key": KEY, "seconds": 1.0}
    base = folder / "serving" / "made"
    return base / str(push(artifact.directory / "model", base, Note(KEY, "model", tracking=uri)))


def send_epochs(tracker, *numbers):
    for number in numbers:
        tracker(EpochFinished(number, 5, {"loss": EPOCHS[number - 1]["loss"]}, 2.0))


def wait_for(holds):
    deadline = time.monotonic() + 120
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_what_is_sent_again_and_interrupted_is_not_sent_twice(tmp_path, monkeypatch):
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    run_id = make_run(tmp_path, "a", 320, config=settings(uri))

    def interrupt(tracker, *arguments):
        assert tracker._delivery.close(60) == []  # so that nothing goes on in the background
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Tracker, "finish", interrupt)
        with pytest.raises(KeyboardInterrupt):
            track(find_runs(tmp_path, [run_id])[0])
    (run,) = find_runs(tmp_path, [run_id])
    first = run.record.tracking["run"]
    assert track(run) == []
    assert run.record.tracking == {"uri": uri, "run": first, "missing": ""}
    runs = MlflowClient(uri).search_runs(["1"])
    assert len(runs) == 2  # with its trial
    assert {each.info.status for each in runs} == {"FINISHED"}


def test_a_run_that_was_killed_before_mlflow_knew_it(tmp_path):
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    run_id = make_run(tmp_path, "a", 320, config=settings(uri))
    (record,) = read_records(tmp_path)
    record.status, record.pid = "running", 2**22 + 1  # no process has such a number
    write_record(tmp_path, record)
    (run,) = find_runs(tmp_path, [run_id])
    assert track(run) == []
    found = MlflowClient(uri).get_run(run.record.tracking["run"])
    assert (found.info.run_name, found.info.status) == (run_id, "KILLED")


def test_runs_that_have_nothing_to_send(tmp_path):
    run_id = make_run(tmp_path, "a", 320, config=settings("sqlite:///x.db", enabled=False))
    with pytest.raises(UserError, match=r"tracking\.enabled: false"):
        track(find_runs(tmp_path, [run_id])[0])
    (record,) = read_records(tmp_path)
    record.status = "running"
    write_record(tmp_path, record)
    with pytest.raises(UserError, match="is still running; it sends by itself"):
        track(find_runs(tmp_path, [run_id])[0])
    assert json.loads((tmp_path / "runs" / f"{run_id}.json").read_text())["tracking"] == {}
