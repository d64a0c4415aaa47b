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
from mirrored import listed, losses, record_calls, runs_of, settings
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
from pipeline.tracking import tracker
from pipeline.tracking.champion import find_champion
from pipeline.tracking.mlflow_client import quiet_mlflow
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
    monkeypatch.setattr(tracker, "_LONGEST_PAUSE", 0.5)
    quiet_mlflow()
    return Server(tmp_path)


class Shouting(MadeRun):
    """A run that exports a model which TensorFlow loads."""

    def save_model(self, directory):
        export_saved_model({"serving_default": shout}, [], str(directory))


def training(root, uri, name, epochs):
    """A run that is at its training."""
    return Shouting(root, name, config=settings(uri), epochs=epochs).make("ingest", "tokenize")


def train(tracker, run, *numbers):
    run.train(*numbers)
    update(tracker, run)


def update(tracker, run):
    tracker.update(run.record(), run.observer.artifact)


def arrived(tracker, run):
    """Whether the tracker knows that MLflow has all of a run; that MLflow has it comes a moment earlier."""
    return not tracker._mirror.missing(run.record(), run.observer.artifact)


def sent(run, epochs):
    """Whether the run's trial has so many epochs in MLflow."""
    if not run.folder.tracked("1"):
        return False
    uri = run.record().config["tracking"]["uri"]
    return len(losses(uri, runs_of(uri, run)[1])) == epochs


@pytest.mark.slow
def test_a_server_that_comes_late_is_unreachable_for_a_while_and_at_the_end(server, tmp_path):
    """Two runs: one that outlasts each silence, and one that ends during one."""
    running = training(tmp_path / "running", server.uri, "running", EPOCHS)
    ending = training(tmp_path, server.uri, "ending", EPOCHS[:2])
    with Heartbeat(running.folder.heartbeat):
        lasting = Tracker(server.uri, running.folder, watch=False)
        train(lasting, running, 1, 2)
        time.sleep(1)
        assert running.record().tracking == {}
        with Heartbeat(ending.folder.heartbeat):
            short = Tracker(server.uri, ending.folder, watch=False)
            with server.running():
                wait_for(lambda: sent(running, 2))
                train(short, ending, 1)
                wait_for(lambda: arrived(short, ending))
            train(lasting, running, 3, 4)
            train(short, ending, 2)
        ending.make("train", "evaluate", "export")
        ending.end(served=serve(ending, server.uri, tmp_path))
        update(short, ending)
        (problem,) = short.finish(timeout=5)
        assert f"`rnnpipe track {ending.id}` sends it later" in problem
        named = "epoch 2, train, evaluate, export, the trial's figures, the champion, the end: "
        assert f"did not get {named}" in problem
        (run,) = find_runs(tmp_path, [ending.id])
        (problem,) = track(run, timeout=5)
        assert "did not get the run, its parameters, " in problem
        assert " more: " in problem  # of all that is missing some is named
        assert files.exists(ending.folder.card)

        with server.running():
            train(lasting, running, 5)
            wait_for(lambda: sent(running, 5))
            files.write(running.folder.card, b"<p>a card</p>")
            update(lasting, running.end())
            assert lasting.finish(timeout=60) == []
            found = runs_of(server.uri, running)
            for each in found:
                assert each.info.status == "FINISHED"
                assert losses(server.uri, each) == [(epoch["epoch"], epoch["loss"]) for epoch in EPOCHS]
            assert {"pipeline.yaml", "card.html", "ingest", "tokenize"} == listed(server.uri, found[0])

            for _ in range(2):  # what is there is not sent again, but it is no error
                done = CliRunner().invoke(app, ["track", ending.id, "--root", str(tmp_path)])
                assert done.exit_code == 0, done.output
                run, trial = runs_of(server.uri, ending)
                assert f"MLflow has all of {ending.id} now, as {run.info.run_id}" in done.output
            assert run.info.status == trial.info.status == "FINISHED"
            for each in (run, trial):
                assert losses(server.uri, each) == [(1, 1.0), (2, 0.5)]
            assert run.data.metrics["test/exact_match"] == 0.8
            client = MlflowClient(server.uri)
            assert len(client.search_model_versions("name = 'made'")) == 1
            champion = find_champion(server.uri, "made")
            exported = ending.made("export")
            assert (champion.title, champion.digest) == ("version 1", exported.manifest.digests["model"])
            assert (champion.fetch(tmp_path / "fetched") / "saved_model.pb").is_file()
            served = Served(files.resolve(tmp_path / "serving"), "made")
            assert served.claims.registered(1, server.uri)
            assert {"card.html", "pipeline.yaml"} <= listed(server.uri, run)
            assert {"evaluate", "train"} <= listed(server.uri, trial)
            page = client.download_artifacts(run.info.run_id, "card.html", str(tmp_path))
            with open(page, encoding="utf-8") as file:
                assert "exact_match" in file.read()


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


def test_what_is_sent_again_and_interrupted_is_not_sent_twice(uri, tmp_path, monkeypatch):
    made = MadeRun(tmp_path, config=settings(uri)).make("ingest", "tokenize", "train", "evaluate").end()

    def interrupt(tracker, timeout):
        finish(tracker, timeout)  # so that nothing goes on in the background
        raise KeyboardInterrupt

    finish = Tracker.finish
    with monkeypatch.context() as patched:
        patched.setattr(Tracker, "finish", interrupt)
        with pytest.raises(KeyboardInterrupt):
            track(find_runs(tmp_path, [made.id])[0])
    (run,) = find_runs(tmp_path, [made.id])
    first = run.record.tracking["run"]
    client = record_calls(monkeypatch, uri)
    assert track(run) == []
    assert client.writes == []
    assert made.record().tracking == {"uri": uri, "run": first}
    runs = MlflowClient(uri).search_runs(["1"])
    assert len(runs) == 2  # with its trial
    assert {each.info.status for each in runs} == {"FINISHED"}


def test_a_champion_is_registered_once_and_given_back_where_the_registry_lost_it(uri, tmp_path, monkeypatch):
    made = Shouting(tmp_path, config=settings(uri)).make("ingest", "tokenize", "train", "evaluate", "export")
    made.end(served=serve(made, uri, tmp_path))
    assert track(find_runs(tmp_path, [made.id])[0]) == []
    assert find_champion(uri, "made").title == "version 1"
    client = record_calls(monkeypatch, uri)
    assert track(find_runs(tmp_path, [made.id])[0]) == []
    assert client.writes == []
    MlflowClient(uri).delete_registered_model("made")
    assert track(find_runs(tmp_path, [made.id])[0]) == []
    assert find_champion(uri, "made").digest == made.made("export").manifest.digests["model"]


def test_a_run_that_was_killed_before_mlflow_knew_it(uri, tmp_path):
    made = MadeRun(tmp_path, config=settings(uri)).make("ingest")
    assert made.record().status == "killed"
    done = CliRunner().invoke(app, ["track", made.id, "--root", str(tmp_path)])
    found, _ = runs_of(uri, made)
    assert f"MLflow has all of {made.id} now, as {found.info.run_id}" in done.output
    assert (found.info.run_name, found.info.status) == (made.id, "KILLED")
    assert found.data.tags["stage.ingest"] == "ran"
    assert "card.html" in listed(uri, found)


def test_a_model_that_another_one_has_followed_is_registered_and_no_champion(uri, tmp_path):
    runs = [
        Shouting(tmp_path, name, config=settings(uri)).make(
            "ingest", "tokenize", "train", "evaluate", "export"
        )
        for name in ("a", "b")
    ]
    for run in runs:
        run.end(served=serve(run, uri, tmp_path))
    assert track(find_runs(tmp_path, [runs[0].id])[0]) == []
    assert find_champion(uri, "made") is None
    assert len(MlflowClient(uri).search_model_versions("name = 'made'")) == 1


def test_runs_that_have_nothing_to_send(tmp_path):
    made = MadeRun(tmp_path, config=settings("sqlite:///x.db", enabled=False))
    with pytest.raises(UserError, match=r"tracking\.enabled: false"):
        track(find_runs(tmp_path, [made.id])[0])
    with Heartbeat(made.folder.heartbeat):
        (running,) = find_runs(tmp_path, [made.id])
        with pytest.raises(UserError, match="is still running; it sends by itself"):
            track(running)
    assert made.record().tracking == {}
