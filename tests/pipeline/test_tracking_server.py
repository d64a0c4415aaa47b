"""A real MLflow server that is unreachable at the start, in the middle and at the end of runs."""

import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager

import pytest
import tensorflow as tf
from made_runs import MadeRun
from mlflow import MlflowClient
from typer.testing import CliRunner

from components import files
from components.errors import UserError
from components.export.saved_model import export_saved_model
from components.heartbeat import Heartbeat
from pipeline.cli import app
from pipeline.report.facts import find_runs
from pipeline.serving.claims import Claim
from pipeline.serving.served import Served
from pipeline.serving.versions import Content
from pipeline.tracking import delivery
from pipeline.tracking.mlflow_client import quiet_mlflow
from pipeline.tracking.registry import find_champion
from pipeline.tracking.track import track
from pipeline.tracking.tracker import Tracker

EPOCHS = [{"epoch": epoch, "loss": 1 / epoch, "seconds": 2.0} for epoch in range(1, 6)]


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


def listed(uri, run_id, folder=""):
    return {file.path for file in MlflowClient(uri).list_artifacts(run_id, folder)}


def settings(uri, enabled=True):
    return {"tracking": {"uri": uri, "experiment": "dates", "enabled": enabled}}


class Shouting(MadeRun):
    """A run that exports a model which TensorFlow loads."""

    def save_model(self, directory):
        export_saved_model({"serving_default": shout}, [], str(directory))


def training(root, uri, name, epochs):
    """A run that is at its training."""
    return Shouting(root, name, config=settings(uri), epochs=epochs).make("ingest", "tokenize")


def train(tracker, run, *numbers):
    run.train(*numbers)
    tracker.update(run.record(), run.observer.artifact)


@pytest.mark.slow
def test_a_server_that_comes_late_is_unreachable_for_a_while_and_at_the_end(server, tmp_path):
    """Two runs: one that outlasts each silence, and one that ends during one."""
    running = training(tmp_path / "running", server.uri, "running", EPOCHS)
    tracker = Tracker(server.uri, "dates", "spring", watch=False)
    tracker.start({"a": 1}, {"task": "seq2seq"}, "name: dates\n")
    train(tracker, running, 1, 2)
    time.sleep(1)
    assert tracker.run_id is None
    ending = training(tmp_path, server.uri, "ending", EPOCHS[:2])
    ended = Tracker(server.uri, "dates", ending.id, watch=False)
    with server.running():
        wait_for(lambda: tracker.trial_id and len(losses(server.uri, tracker.trial_id)) == 2)
        ended.start({}, {}, "")
        train(ended, ending, 1)
        wait_for(lambda: ended.trial_id and len(losses(server.uri, ended.trial_id)) == 1)

    train(tracker, running, 3, 4)
    train(ended, ending, 2)
    (problem,) = ended.finish("FINISHED", timeout=5)
    assert f"`rnnpipe track {ending.id}` sends it later" in problem
    assert ended.missing == ["epoch 2", "the trial's figures", "the end"]
    ending.make("train", "evaluate", "export")
    ending.folder.note_tracking(server.uri, ended.run_id, ", ".join(ended.missing))
    ending.end(served=serve(ending, server.uri, tmp_path))
    (run,) = find_runs(tmp_path, [ending.id])
    (problem,) = track(run, timeout=5)
    assert "did not get the run" in problem
    missing = find_runs(tmp_path, [ending.id])[0].record.tracking["missing"]
    assert missing.startswith("the run, its parameters")

    with server.running():
        train(tracker, running, 5)
        tracker.card("<p>a card</p>")
        wait_for(lambda: len(losses(server.uri, tracker.trial_id)) == 5)
        assert tracker.finish("FINISHED", timeout=60) == []
        found = MlflowClient(server.uri).get_run(tracker.run_id)
        assert found.info.status == "FINISHED"
        assert found.data.params == {"a": "1"}
        for run_id in (tracker.trial_id, tracker.run_id):
            assert losses(server.uri, run_id) == [(each["epoch"], each["loss"]) for each in EPOCHS]
        assert {"pipeline.yaml", "card.html", "ingest", "tokenize"} == listed(server.uri, tracker.run_id)

        done = CliRunner().invoke(app, ["track", ending.id, "--root", str(tmp_path)])
        assert done.exit_code == 0, done.output
        assert f"MLflow has all of {ending.id} now, as {ended.run_id}" in done.output
        found = MlflowClient(server.uri).get_run(ended.run_id)
        assert found.info.status == "FINISHED"
        for run_id in (ended.trial_id, ended.run_id):
            assert losses(server.uri, run_id) == [(1, 1.0), (2, 0.5)]
        assert found.data.metrics["test/exact_match"] == 0.8
        champion = find_champion(server.uri, "made")
        exported = ending.made("export")
        assert (champion.title, champion.digest) == ("version 1", exported.manifest.digests["model"])
        assert (champion.fetch(tmp_path / "fetched") / "saved_model.pb").is_file()
        served = Served(files.resolve(tmp_path / "serving"), "made")
        assert served.claims.registered(1, server.uri)
        assert {"card.html", "pipeline.yaml"} <= listed(server.uri, ended.run_id)
        assert {"evaluate", "train"} <= listed(server.uri, ended.trial_id)
        page = MlflowClient(server.uri).download_artifacts(ended.run_id, "card.html", str(tmp_path))
        with open(page, encoding="utf-8") as file:
            assert "exact_match" in file.read()
    with pytest.raises(UserError, match=f"MLflow has all of {ending.id} already"):
        track(find_runs(tmp_path, [ending.id])[0])


def serve(run, uri, folder):
    """Pushes the export of a run; returns where it is served."""
    served = Served(files.resolve(folder / "serving"), "made")
    exported = run.made("export")
    claim = Claim(0, Content.of_export(exported), tracking=uri)
    claim = served.claim(served.look(), claim)
    assert served.complete(claim, exported.saved_model())
    return served.base / str(claim.number)


def wait_for(holds):
    deadline = time.monotonic() + 120
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_what_is_sent_again_and_interrupted_is_not_sent_twice(tmp_path, monkeypatch):
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    made = MadeRun(tmp_path, config=settings(uri)).make("ingest", "tokenize", "train", "evaluate").end()

    def interrupt(tracker, *arguments):
        assert tracker._delivery.close(60) == []  # so that nothing goes on in the background
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Tracker, "finish", interrupt)
        with pytest.raises(KeyboardInterrupt):
            track(find_runs(tmp_path, [made.id])[0])
    (run,) = find_runs(tmp_path, [made.id])
    first = run.record.tracking["run"]
    assert track(run) == []
    assert made.record().tracking == {"uri": uri, "run": first, "missing": ""}
    runs = MlflowClient(uri).search_runs(["1"])
    assert len(runs) == 2  # with its trial
    assert {each.info.status for each in runs} == {"FINISHED"}


def test_a_run_that_was_killed_before_mlflow_knew_it(tmp_path):
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    made = MadeRun(tmp_path, config=settings(uri)).make("ingest")
    assert made.record().status == "killed"
    done = CliRunner().invoke(app, ["track", made.id, "--root", str(tmp_path)])
    found = MlflowClient(uri).get_run(made.record().tracking["run"])
    assert f"MLflow has all of {made.id} now, as {found.info.run_id}" in done.output
    assert (found.info.run_name, found.info.status) == (made.id, "KILLED")
    assert found.data.tags["stage.ingest"] == "ran"


def test_a_model_that_another_one_has_followed_is_not_registered_again(tmp_path):
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    runs = [
        MadeRun(tmp_path, name, config=settings(uri)).make(
            "ingest", "tokenize", "train", "evaluate", "export"
        )
        for name in ("a", "b")
    ]
    for run in runs:
        run.end(served=serve(run, uri, tmp_path))
    assert track(find_runs(tmp_path, [runs[0].id])[0]) == []
    assert find_champion(uri, "made") is None


def test_runs_that_have_nothing_to_send(tmp_path):
    made = MadeRun(tmp_path, config=settings("sqlite:///x.db", enabled=False))
    with pytest.raises(UserError, match=r"tracking\.enabled: false"):
        track(find_runs(tmp_path, [made.id])[0])
    with Heartbeat(made.folder.heartbeat):
        (running,) = find_runs(tmp_path, [made.id])
        with pytest.raises(UserError, match="is still running; it sends by itself"):
            track(running)
    assert made.record().tracking == {}
