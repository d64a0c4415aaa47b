import errno
import http.server
import json
import math
import shutil
import subprocess
import sys
import threading
import time
import urllib.parse
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Metric
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.mlflow_artifacts_repo import MlflowArtifactsRepository

from components.errors import UserError
from components.evaluate.verdict import Blessing
from components.events import EpochFinished, StageFinished, Warned
from pipeline.run import code_version as code_version_module
from pipeline.run.code_version import code_version
from pipeline.tracking import delivery
from pipeline.tracking.delivery import Failure
from pipeline.tracking.mlflow_client import database_path, judge, quiet_mlflow, ui_command
from pipeline.tracking.mlflow_run import params, published
from pipeline.tracking.system_metrics import SystemMetrics
from pipeline.tracking.tracker import Tracker

NOWHERE = "http://user:secret@127.0.0.1:9"  # the port of a service that nobody runs
EPOCHS = [
    {"epoch": 1, "loss": 0.5, "val_loss": 0.75, "seconds": 2.0},
    {"epoch": 2, "loss": 0.25, "val_loss": math.nan, "seconds": 3.0},
]
FILES = {
    "ingest": {
        "statistics.json": {
            "splits": {"train": {"examples": 9}, "validation": {"examples": 0}, "test": {"examples": 3}}
        },
    },
    "tokenize": {"statistics.json": {}},
    "train": {"history.json": {"epochs": EPOCHS, "best_epoch": 2}},
    "evaluate": {
        "metrics.json": {
            "split": "test",
            "examples": 3,
            "metrics": {"exact_match": 0.97},
            "intervals": {"exact_match": [0.95, 0.99]},
        },
        "predictions.jsonl": {},
        "worst.jsonl": {},
        "plots/by_length.png": "a picture",
    },
    "export": {
        "validation.json": {"latency_milliseconds": {"32": {"p50": 4.0, "p99": 9.0, "calls": 20}}},
    },
}


@pytest.fixture
def artifact(tmp_path):
    """Makes a stage's artifact and returns its directory."""

    def make(stage):
        manifest = {
            "key": f"key of {stage}",
            "summary": {"bytes": 77},
        }
        for name, content in {
            **FILES[stage],
            "artifact.json": manifest,
        }.items():
            path = tmp_path / stage / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(content))
        return str(tmp_path / stage)

    return make


SCRIPT = """
import sys
from pipeline.tracking.tracker import Tracker
tracker = Tracker(sys.argv[1], "first", "one of two")
tracker.start({"a": 1}, {}, "")
missing = tracker.finish("FINISHED", timeout=300)
sys.exit(repr(missing) if missing else 0)
"""


@pytest.fixture(scope="session")
def made_by_two(tmp_path_factory):
    """A database that two processes made at once, and what they printed; MLflow takes seconds to make one."""
    database = tmp_path_factory.mktemp("shared") / "new" / "mlflow.db"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, f"sqlite:///{database}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for _ in range(2)
    ]
    return database, [process.communicate()[0] for process in processes]


@pytest.fixture
def uri(tmp_path, made_by_two):
    shutil.copy(made_by_two[0], tmp_path)
    return f"sqlite:///{tmp_path / 'mlflow.db'}"


def finished(tracker, status="FINISHED", message=""):
    """Ends the run, and returns it and its trial."""
    assert tracker.finish(status, message, timeout=300) == []
    client = MlflowClient(tracker._uri)
    return client.get_run(tracker.run_id), client.get_run(tracker.trial_id)


def listed(uri, run, directory=""):
    return {file.path for file in MlflowClient(uri).list_artifacts(run.info.run_id, directory)}


def losses(uri, run):
    history = MlflowClient(uri).get_metric_history(run.info.run_id, "loss")
    return sorted((metric.step, metric.value) for metric in history)


def test_a_whole_run(uri, artifact, tmp_path, capfd):
    tracker = Tracker(uri, "dates/été", "20260321-120000-ab12", "gru")
    params = {"train.epochs": 2, "odd name*[0]": None, "..": True, "long": "x" * 7000}
    tracker.start({**params, **{f"p{i}": i for i in range(150)}}, {"task": "seq2seq"}, "name: dates\n")
    tracker(Warned("train", "which is nothing to log"))
    tracker(StageFinished("ingest", artifact("ingest"), 1.5))
    tracker.stage("tokenize", artifact("tokenize"), None)
    for epoch in EPOCHS:
        metrics = {name: value for name, value in epoch.items() if name != "epoch"}
        tracker(EpochFinished(epoch["epoch"], 2, metrics, epoch["seconds"]))
    for stage in ("train", "evaluate", "export"):
        tracker(StageFinished(stage, artifact(stage), 2.5))
    tracker(StageFinished("champion", "nowhere", 2.5))  # is another run's
    tracker.judged(Blessing(True, ["exact_match 0.97 >= 0.9 (min)"]).as_json())
    run, trial = finished(tracker)

    assert (run.info.run_name, run.info.status) == ("gru 20260321-120000-ab12", "FINISHED")
    assert (trial.info.run_name, trial.info.status) == ("gru ab12, trial 1", "FINISHED")
    assert trial.data.tags["mlflow.parentRunId"] == run.info.run_id
    assert "mlflow.parentRunId" not in run.data.tags
    assert run.data.params == trial.data.params
    assert len(run.data.params) == 154
    assert run.data.params["train.epochs"] == "2"
    assert run.data.params["odd name__0_"] == "None"
    assert run.data.params["_.."] == "True"
    assert run.data.params["long"] == "x" * 6000
    assert run.data.metrics == {
        "test/exact_match": 0.97,
        "seconds.evaluate": 2.5,
        "seconds.export": 2.5,
        "model.bytes": 77,
        "latency.batch_32.p50_ms": 4.0,
        "latency.batch_32.p99_ms": 9.0,
        "best_epoch": 2,
        "seconds.train": 5.0,  # an interrupted run had trained the first epoch
        "seconds.ingest": 1.5,
        "loss": 0.25,
        "val_loss": 0.75,
        "epoch_seconds": 3.0,
    }
    # MLflow's parallel coordinates begin with the metric that came first.
    assert next(iter(run.data.metrics)) == "test/exact_match"
    bounds = {"test/exact_match.low": 0.95, "test/exact_match.high": 0.99}
    assert trial.data.metrics == {**run.data.metrics, **bounds}
    for each in (run, trial):
        assert losses(uri, each) == [(1, 0.5), (2, 0.25)]
        assert each.data.tags["task"] == "seq2seq"
    assert run.data.tags["stage.ingest"] == "ran"
    assert run.data.tags["stage.tokenize"] == "reused"
    assert run.data.tags["key.train"] == "key of train"
    assert run.data.tags["blessed"] == "true"
    assert run.data.tags["blessing"] == "exact_match 0.97 >= 0.9 (min)"
    assert listed(uri, run) == {"pipeline.yaml", "ingest", "tokenize", "evaluate", "export"}
    assert listed(uri, run, "evaluate") == {"evaluate/blessing.json"}
    assert listed(uri, trial) == {"train", "evaluate", "plots"}
    evaluated = {"metrics.json", "predictions.jsonl", "worst.jsonl"}
    assert listed(uri, trial, "evaluate") == {f"evaluate/{name}" for name in evaluated}
    assert listed(uri, trial, "plots") == {"plots/by_length.png"}
    data = {entry.tags[0].value: entry.dataset for entry in run.inputs.dataset_inputs}
    assert set(data) == {"training", "testing"}
    assert len({each.digest for each in data.values()}) == 2
    assert data["testing"].name == "dates/été-testing"
    assert json.loads(data["testing"].profile) == {"num_rows": 3}
    place = Path(urllib.parse.unquote(urllib.parse.urlsplit(run.info.artifact_uri).path))
    assert place.parents[1] == tmp_path / "mlartifacts" / "dates_été"
    assert (place / "pipeline.yaml").read_text() == "name: dates\n"
    assert capfd.readouterr() == ("", "")


def test_reused_stages_are_logged_so_that_runs_compare(uri, artifact):
    tracker = Tracker(uri, "dates", "again")
    tracker.start({}, {}, "")
    for stage in FILES:
        tracker.stage(stage, artifact(stage), None)
    run, _ = finished(tracker)
    assert losses(uri, run) == [(1, 0.5), (2, 0.25)]
    assert run.data.metrics["test/exact_match"] == 0.97
    assert not any(name.startswith("seconds.") for name in run.data.metrics)
    assert {run.data.tags[f"stage.{stage}"] for stage in FILES} == {"reused"}


def test_epochs_trained_before_an_interruption_are_taken_from_the_history(uri, artifact):
    tracker = Tracker(uri, "dates", "resumed")
    tracker.start({}, {}, "")
    tracker(EpochFinished(2, 2, {"loss": 0.25}, 3.0))
    tracker(StageFinished("train", artifact("train"), 2.5))
    for run in finished(tracker):
        assert losses(uri, run) == [(1, 0.5), (2, 0.25)]


def test_a_failed_run(uri):
    tracker = Tracker(uri, "dates", "bad luck")
    tracker.start({}, {}, "")
    run, trial = finished(tracker, "FAILED", "the loss is no number")
    assert run.info.status == trial.info.status == "FAILED"
    assert run.data.tags["message"] == "the loss is no number"


def test_a_run_that_is_sent_again_keeps_its_trial(uri, artifact):
    first = Tracker(uri, "dates", "again")
    first.start({}, {}, "")
    first(EpochFinished(1, 2, {"loss": 0.5}, 2.0))
    run, trial = finished(first, "KILLED")
    second = Tracker(uri, "dates", "again", run_id=run.info.run_id)
    second.start({}, {}, "")
    second(StageFinished("train", artifact("train"), 2.5))
    finished(second)
    assert (second.run_id, second.trial_id) == (run.info.run_id, trial.info.run_id)
    for each in (run, trial):
        assert losses(uri, each) == [(1, 0.5), (2, 0.25)]


def test_parameters_are_what_a_run_does_under_names_that_sort_well():
    config = {
        "seed": 7,
        "model": {"encoder": {"type": "gru", "units": 8}, "pooling": "max", "attention": None},
        "evaluate": {"metrics": ["accuracy"], "bless": {"accuracy": {"min": 0.9}}},
    }
    assert params(config) == {
        "encoder": "gru",
        "pooling": "max",
        "seed": 7,
        "model.encoder.type": "gru",
        "model.encoder.units": 8,
        "model.pooling": "max",
        "model.attention": None,
        "evaluate.metrics.0": "accuracy",
    }


def test_a_password_stays_here():
    config = {"tracking": {"uri": "http://user:secret@127.0.0.1:9", "experiment": "dates"}}
    assert params(published(config)) == {"tracking.uri": "http://127.0.0.1:9", "tracking.experiment": "dates"}
    assert "secret" in config["tracking"]["uri"]


def test_a_run_whose_answer_was_lost_is_found_again(uri, monkeypatch):
    monkeypatch.setattr(delivery, "_FIRST_PAUSE", 0.001)
    create, made = MlflowClient.create_run, []

    def lose_the_answers(client, *arguments):
        made.append(create(client, *arguments))
        if len(made) < 3:
            raise ConnectionError("timed out")
        return made[-1]

    monkeypatch.setattr(MlflowClient, "create_run", lose_the_answers)
    tracker = Tracker(uri, "dates", "20260321-120000-ab12")
    tracker.start({}, {}, "")
    deadline = time.monotonic() + 60
    while tracker.trial_id is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    run, trial = finished(tracker)
    assert [each.info.run_id for each in made] == [run.info.run_id, trial.info.run_id]


def test_an_artifact_that_cannot_be_read_costs_only_itself(uri, tmp_path):
    tracker = Tracker(uri, "dates", "holes")
    tracker.start({"a": 1}, {}, "")
    tracker.stage("train", str(tmp_path / "gone"), None)
    (message,) = tracker.finish("FINISHED", timeout=300)
    assert "did not get train: " in message
    assert "gone/artifact.json" in message
    assert MlflowClient(uri).get_run(tracker.run_id).info.status == "FINISHED"


def test_a_deleted_experiment(uri):
    client = MlflowClient(uri)
    client.delete_experiment(client.create_experiment("dates"))
    tracker = Tracker(uri, "dates", "orphan")
    tracker.start({}, {}, "")
    (message,) = tracker.finish("FINISHED", timeout=300)
    assert "'dates' is deleted; restore it with `mlflow experiments restore -x" in message


def test_a_file_that_is_no_database(tmp_path):
    (tmp_path / "mlflow.db").write_text("something else, " * 100)
    tracker = Tracker(f"sqlite:///{tmp_path / 'mlflow.db'}", "dates", "lost")
    tracker.start({}, {}, "")
    (message,) = tracker.finish("FINISHED", timeout=300)
    assert "file is not a database" in message


def test_a_server_that_is_away_only_costs_a_message(artifact):
    tracker = Tracker(NOWHERE, "dates", "alone")
    tracker.start({"a": 1}, {}, "")
    tracker(EpochFinished(1, 1, {"loss": 0.5}, 2.0))
    tracker(StageFinished("ingest", artifact("ingest"), 1.5))
    (message,) = tracker.finish("FINISHED", timeout=300)
    missing = "the run, its parameters, pipeline.yaml, epoch 1, ingest, the trial's figures, the end: "
    assert message.startswith(f"MLflow at http://127.0.0.1:9 did not get {missing}")
    assert "Connection refused" in message
    assert "secret" not in message
    assert tracker.run_id is None


class Answer(http.server.BaseHTTPRequestHandler):
    """Answers whatever is asked with the server's status."""

    def _answer(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(self.server.status)
        self.end_headers()

    do_GET, do_POST, do_PUT = _answer, _answer, _answer  # noqa: N815

    def log_message(self, *arguments):
        pass


@pytest.fixture
def troubled():
    """Calls of MLflow's client on a server that answers with a status."""
    quiet_mlflow()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    uri = f"http://127.0.0.1:{server.server_port}"

    def errors(status):
        server.status = status
        artifacts = MlflowArtifactsRepository(f"mlflow-artifacts:/{uri[5:]}/a", tracking_uri=uri)
        for call in (
            lambda: MlflowClient(uri).get_run("run"),
            lambda: MlflowClient(uri).log_batch("run", metrics=[Metric("a", 1.0, 0, 0)], synchronous=True),
            lambda: artifacts.log_artifact(__file__),
        ):
            with pytest.raises(Exception, match=str(status)) as raised:
                call()
            yield raised.value

    yield errors
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("status", "kinds"),
    [
        (403, [Failure.WRONG] * 3),
        (404, [Failure.WRONG] * 3),
        (413, [Failure.TROUBLE, Failure.TROUBLE, Failure.WRONG]),  # MLflow's client takes it for a 500
        (429, [Failure.TROUBLE] * 3),
        (500, [Failure.TROUBLE] * 3),
        (503, [Failure.TROUBLE] * 3),
    ],
)
def test_what_a_server_answers_is_no_silence(troubled, status, kinds):
    assert [judge(error) for error in troubled(status)] == kinds


def test_silence_and_faults_of_this_side():
    quiet_mlflow()
    artifacts = MlflowArtifactsRepository("mlflow-artifacts://127.0.0.1:9/a", tracking_uri=NOWHERE)
    for call in (lambda: MlflowClient(NOWHERE).get_run("run"), lambda: artifacts.log_artifact(__file__)):
        with pytest.raises(Exception, match="refused") as refused:
            call()
        assert judge(refused.value) is Failure.AWAY
    assert judge(ConnectionRefusedError()) is Failure.AWAY
    full = OSError(errno.ENOSPC, "no space left on device")
    for error in (FileNotFoundError("artifact.json"), full, ImportError("mlflow"), ValueError()):
        assert judge(error) is Failure.WRONG
    assert judge(MlflowException("database is locked")) is Failure.TROUBLE


def test_what_is_sent_late_is_not_missing_from_the_figures(uri, artifact, monkeypatch):
    """An epoch that MLflow cannot take until the end, which the figures are sent before."""
    monkeypatch.setattr(delivery, "_FIRST_PAUSE", 0.001)
    tracker = Tracker(uri, "dates", "late")
    send, refused = Tracker._send, []

    def send_all_but_the_last_epoch(self, run, **entities):
        if len(refused) < 4 and any(each.step == 2 for each in entities.get("metrics", ())):
            refused.append(run)
            raise MlflowException("database is locked")
        send(self, run, **entities)

    monkeypatch.setattr(Tracker, "_send", send_all_but_the_last_epoch)
    tracker.start({}, {}, "")
    for epoch in EPOCHS:
        tracker(EpochFinished(epoch["epoch"], 2, {"loss": epoch["loss"]}, epoch["seconds"]))
    deadline = time.monotonic() + 60
    while len(refused) < 4:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    for run in finished(tracker):
        assert losses(uri, run) == [(1, 0.5), (2, 0.25)]
    assert refused == [tracker.trial_id] * 4


def test_the_machine_is_watched(uri):
    samples = []
    watch = SystemMetrics(samples.append, interval=0.05)
    watch.start()
    while len(samples) < 2:
        time.sleep(0.01)
    watch.stop()
    count = len(samples)
    assert all(name.startswith("system/") for sample in samples for name in sample)
    assert samples[0]["system/process_memory_usage_megabytes"] > 10
    assert 0 < samples[0]["system/system_memory_usage_percentage"] <= 100

    tracker = Tracker(uri, "dates", "busy")
    tracker.start({}, {}, "")
    for sample in samples[:2]:
        tracker._put_sample(sample)
    run, _ = finished(tracker)
    name = "system/cpu_utilization_percentage"
    assert name not in run.data.metrics
    history = MlflowClient(uri).get_metric_history(tracker.trial_id, name)
    assert [metric.step for metric in history] == [1, 2]
    assert len(samples) == count  # after the end nothing comes


def test_two_processes_make_the_same_database_and_print_nothing(made_by_two):
    database, printed = made_by_two
    assert printed == ["", ""]
    client = MlflowClient(f"sqlite:///{database}")
    runs = client.search_runs([client.get_experiment_by_name("first").experiment_id])
    assert [(run.data.params, run.info.status) for run in runs] == [({"a": "1"}, "FINISHED")] * 4


def test_importing_the_module_is_light():
    check = "import sys, pipeline.tracking; print({'mlflow', 'tensorflow', 'apache_beam'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", check], text=True) == "set()\n"


def test_code_version_in_a_checkout_and_outside(monkeypatch):
    monkeypatch.setattr(code_version_module, "_git", lambda *arguments: "")
    assert "mlflow.source.git.commit" not in code_version()
    answers = {"ls-files": "code_version.py", "describe": "0123abc-dirty"}
    monkeypatch.setattr(code_version_module, "_git", lambda command, *arguments: answers[command])
    assert code_version()["mlflow.source.git.commit"] == "0123abc"
    assert code_version()["git.dirty"] == "true"


def test_database_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert database_path("sqlite:///mlflow.db") == tmp_path / "mlflow.db"
    assert database_path("sqlite:////there/mlflow.db?timeout=3") == Path("/there/mlflow.db")
    assert database_path("http://mlflow.example") is None
    assert database_path("postgresql://user@host/mlflow") is None


def test_ui_command(uri, tmp_path):
    command = ui_command(uri, "0.0.0.0", 5001)
    assert command[:4] == [sys.executable, "-m", "mlflow", "ui"]
    assert command[4:] == ["--backend-store-uri", uri, "--host", "0.0.0.0", "--port", "5001"]


def test_ui_command_with_nothing_to_show(tmp_path):
    with pytest.raises(UserError, match=r"nothing\.db does not exist; expected the database of earlier runs"):
        ui_command(f"sqlite:///{tmp_path / 'nothing.db'}")
    with pytest.raises(UserError, match=r"a server already: open http://127\.0\.0\.1:9 in a browser"):
        ui_command(NOWHERE)
