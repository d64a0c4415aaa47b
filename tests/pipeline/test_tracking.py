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
from made_runs import OF_CHAMPION, MadeRun
from mlflow import MlflowClient
from mlflow.entities import Metric
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import BAD_REQUEST
from mlflow.store.artifact.mlflow_artifacts_repo import MlflowArtifactsRepository

from components import files
from components.errors import UserError
from components.evaluate.verdict import Verdict
from components.reports import Warned, emit
from pipeline.report.facts import find_runs
from pipeline.run import code_version as code_version_module
from pipeline.run.code_version import code_version
from pipeline.tracking import delivery
from pipeline.tracking.delivery import Failure
from pipeline.tracking.mlflow_client import database_path, failure_of, quiet_mlflow, ui_command
from pipeline.tracking.mlflow_run import params, published
from pipeline.tracking.sender import Sender
from pipeline.tracking.system_metrics import SystemMetrics
from pipeline.tracking.tracker import Tracker

NOWHERE = "http://user:secret@127.0.0.1:9"  # the port of a service that nobody runs
EPOCHS = [
    {"epoch": 1, "loss": 0.5, "val_loss": 0.75, "seconds": 2.0},
    {"epoch": 2, "loss": 0.25, "val_loss": math.nan, "seconds": 3.0},
]
STAGES = ("ingest", "tokenize", "train", "evaluate", "export")


def update(tracker, run):
    """Has the tracker see what is known of a run now, as the watcher does."""
    tracker.update(run.record(), run.observer.artifact)


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
    client = MlflowClient(tracker._sender.uri)
    return client.get_run(tracker.run_id), client.get_run(tracker.trial_id)


def listed(uri, run, directory=""):
    return {file.path for file in MlflowClient(uri).list_artifacts(run.info.run_id, directory)}


def losses(uri, run):
    history = MlflowClient(uri).get_metric_history(run.info.run_id, "loss")
    return sorted((metric.step, metric.value) for metric in history)


def test_a_whole_run(uri, tmp_path, capfd):
    MadeRun(tmp_path, "another").make("ingest")
    made = MadeRun(tmp_path, epochs=EPOCHS).make("tokenize", seconds=1.5)
    tracker = Tracker(uri, "dates/été", "20260321-120000-ab12", "gru")
    params = {"train.epochs": 2, "odd name*[0]": None, "..": True, "long": "x" * 7000}
    tracker.start({**params, **{f"p{i}": i for i in range(150)}}, {"task": "seq2seq"}, "name: dates\n")
    with made.work("train").attempt():
        emit(Warned("train", "which is nothing to log"))
    update(tracker, made)
    for epoch in EPOCHS:
        made.train(epoch["epoch"])
        update(tracker, made)
    made.make("train", "evaluate", "export", seconds=2.5)
    made.make(OF_CHAMPION)  # whose figures are another run's
    update(tracker, made)
    tracker.decided(Verdict(True, ["exact_match 0.97 >= 0.9 (min)"]).as_json())
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
    measured = made.record().metrics
    assert run.data.metrics == {
        **{f"test/{name}": value for name, value in measured.items()},
        "seconds.tokenize": 1.5,
        "seconds.evaluate": 2.5,
        "seconds.export": 2.5,
        "model.bytes": 77,
        "latency.batch_32.p50_ms": 4.0,
        "latency.batch_32.p99_ms": 9.0,
        "best_epoch": 2,
        "seconds.train": 5.0,  # an interrupted run had trained the first epoch
        "loss": 0.25,
        "val_loss": 0.75,
        "epoch_seconds": 3.0,
    }
    # MLflow's parallel coordinates begin with the metric that came first.
    assert next(iter(run.data.metrics)) == "test/exact_match"
    assert run.data.metrics["test/exact_match"] == 0.8
    low, high = (trial.data.metrics[f"test/exact_match.{end}"] for end in ("low", "high"))
    assert 0.7 < low < 0.8 < high < 0.9
    bounds = {f"test/{name}.{end}" for name in measured for end in ("low", "high")}
    assert trial.data.metrics.keys() == run.data.metrics.keys() | bounds
    for each in (run, trial):
        assert losses(uri, each) == [(1, 0.5), (2, 0.25)]
        assert each.data.tags["task"] == "seq2seq"
    assert run.data.tags["stage.ingest"] == "reused"
    assert run.data.tags["stage.tokenize"] == "ran"
    assert run.data.tags["key.train"] == made.record().nodes["train"].key
    assert run.data.tags["blessed"] == "true"
    assert run.data.tags["verdict"] == "exact_match 0.97 >= 0.9 (min)"
    assert listed(uri, run) == {"pipeline.yaml", "ingest", "tokenize", "evaluate", "export"}
    assert listed(uri, run, "evaluate") == {"evaluate/verdict.json"}
    assert listed(uri, trial) == {"train", "evaluate", "plots"}
    evaluated = {"metrics.json", "predictions.jsonl", "worst.jsonl"}
    assert listed(uri, trial, "evaluate") == {f"evaluate/{name}" for name in evaluated}
    assert listed(uri, trial, "plots") == {"plots/training_curves.png", "plots/by_length.png"}
    data = {entry.tags[0].value: entry.dataset for entry in run.inputs.dataset_inputs}
    assert set(data) == {"training", "testing"}
    digests = made.made("ingest").manifest.digests
    assert {each.digest for each in data.values()} == {digests["train"][:16], digests["test"][:16]}
    assert data["testing"].name == "dates/été-testing"
    assert json.loads(data["testing"].profile) == {"num_rows": 3}
    place = Path(urllib.parse.unquote(urllib.parse.urlsplit(run.info.artifact_uri).path))
    assert place.parents[1] == tmp_path / "mlartifacts" / "dates_été"
    assert (place / "pipeline.yaml").read_text() == "name: dates\n"
    assert capfd.readouterr() == ("", "")


def test_reused_stages_are_logged_so_that_runs_compare(uri, tmp_path):
    MadeRun(tmp_path, epochs=EPOCHS).make(*STAGES)
    tracker = Tracker(uri, "dates", "again")
    tracker.start({}, {}, "")
    update(tracker, MadeRun(tmp_path, epochs=EPOCHS))
    run, _ = finished(tracker)
    assert losses(uri, run) == [(1, 0.5), (2, 0.25)]
    assert run.data.metrics["test/exact_match"] == 0.8
    assert not any(name.startswith("seconds.") for name in run.data.metrics)
    assert {run.data.tags[f"stage.{stage}"] for stage in STAGES} == {"reused"}


def known(uri, tracker):
    """What MLflow has of a run and of its trial, without times and drawn ids."""
    found = []
    for run in finished(tracker):
        client = MlflowClient(uri)
        histories = {
            name: sorted((each.step, each.value) for each in client.get_metric_history(run.info.run_id, name))
            for name in run.data.metrics
        }
        folders = ("", *STAGES, "plots")
        own = ("mlflow.", "rnnpipe.run")
        found.append(
            {
                "metrics": list(histories.items()),
                "tags": {name: each for name, each in run.data.tags.items() if not name.startswith(own)},
                "params": run.data.params,
                "files": {folder: listed(uri, run, folder) for folder in folders},
                "data": sorted(
                    (each.dataset.name, each.dataset.digest) for each in run.inputs.dataset_inputs
                ),
            }
        )
    return found


def test_a_run_is_the_same_however_often_it_is_looked_at(uri, tmp_path):
    """Live, with every step looked at several times; or at once, when all is over, from the store alone."""
    made = MadeRun(tmp_path, epochs=EPOCHS)
    live, once, often = (Tracker(uri, "dates", name, watch=False) for name in ("live", "once", "often"))
    for tracker in (live, once, often):
        tracker.start({"a": 1}, {"task": "seq2seq"}, "name: dates")
    for step in (
        lambda: None,
        lambda: made.make("ingest"),
        lambda: made.make("tokenize"),
        lambda: made.train(1),
        lambda: made.train(2),
        lambda: made.make("train"),
        lambda: made.make("evaluate", OF_CHAMPION),
        lambda: made.make("export"),
        lambda: made.end(),
    ):
        step()
        update(live, made)
        update(live, made)
    (run,) = find_runs(tmp_path, [made.id])
    once.update(run.record, run.artifact)
    for _ in range(20):
        update(often, made)
    expected = known(uri, live)
    assert known(uri, once) == expected
    assert known(uri, often) == expected
    assert dict(expected[1]["metrics"])["loss"] == [(1, 0.5), (2, 0.25)]


def test_two_threads_that_look_at_once_send_everything_once(uri, tmp_path, monkeypatch):
    made = MadeRun(tmp_path, epochs=EPOCHS).make("ingest", "tokenize", "train").end()
    made.train(1, 2)
    labels = []
    put = delivery.Delivery.put
    monkeypatch.setattr(
        delivery.Delivery, "put", lambda self, label, send: (labels.append(label), put(self, label, send))
    )
    tracker = Tracker(uri, "dates", "twice", watch=False)
    tracker.start({}, {}, "")
    record = made.record()
    threads = [
        threading.Thread(target=tracker.update, args=(record, made.observer.artifact)) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    finished(tracker)
    assert labels[3:8] == ["ingest", "tokenize", "epoch 1", "epoch 2", "train"]
    assert labels[8:] == ["the trial's figures", "the end"]


def test_two_runs_that_note_the_same_data_at_once(uri, tmp_path, monkeypatch):
    """Both look, and find no such data set; the database takes the first one's and refuses the other's."""
    log_inputs, refused = MlflowClient.log_inputs, []

    def refuse_once(client, *arguments):
        if not refused:
            refused.append(arguments)
            raise MlflowException("UNIQUE constraint failed: datasets.name", BAD_REQUEST)
        log_inputs(client, *arguments)

    monkeypatch.setattr(MlflowClient, "log_inputs", refuse_once)
    tracker = Tracker(uri, "dates", "second", watch=False)
    tracker.start({}, {}, "")
    update(tracker, MadeRun(tmp_path).make("ingest"))
    run, _ = finished(tracker)
    assert refused
    assert len(run.inputs.dataset_inputs) == 2


def test_what_lies_in_an_object_store_arrives_under_its_own_name(uri, tmp_path, monkeypatch):
    monkeypatch.setenv("RNNPIPE_CACHE", str(tmp_path / "cache"))
    made = MadeRun("memory://tracked/runs", epochs=EPOCHS).make("ingest", "tokenize", "train", "evaluate")
    tracker = Tracker(uri, "dates", "remote")
    tracker.start({}, {}, "")
    update(tracker, made)
    run, trial = finished(tracker)
    assert listed(uri, run, "ingest") == {"ingest/statistics.json"}
    assert listed(uri, trial, "train") == {"train/history.json"}
    assert listed(uri, trial, "plots") == {"plots/training_curves.png", "plots/by_length.png"}
    sources = [json.loads(each.dataset.source)["uri"] for each in run.inputs.dataset_inputs]
    assert sources[0].startswith("memory://tracked/runs/artifacts/ingest/")


def test_epochs_trained_before_an_interruption_are_taken_from_the_history(uri, tmp_path):
    made = MadeRun(tmp_path, epochs=EPOCHS).make("ingest", "tokenize")
    made.train(2)
    tracker = Tracker(uri, "dates", "resumed")
    tracker.start({}, {}, "")
    update(tracker, made)
    update(tracker, made.make("train"))
    for run in finished(tracker):
        assert losses(uri, run) == [(1, 0.5), (2, 0.25)]


def test_a_failed_run(uri):
    tracker = Tracker(uri, "dates", "bad luck")
    tracker.start({}, {}, "")
    run, trial = finished(tracker, "FAILED", "the loss is no number")
    assert run.info.status == trial.info.status == "FAILED"
    assert run.data.tags["message"] == "the loss is no number"


def test_a_run_that_is_sent_again_keeps_its_trial(uri, tmp_path):
    made = MadeRun(tmp_path, epochs=EPOCHS).make("ingest", "tokenize")
    made.train(1)
    first = Tracker(uri, "dates", "again")
    first.start({}, {}, "")
    update(first, made)
    run, trial = finished(first, "KILLED")
    second = Tracker(uri, "dates", "again", run_id=run.info.run_id)
    second.start({}, {}, "")
    update(second, made.make("train"))
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
    made = MadeRun(tmp_path).make(*STAGES)
    tracker = Tracker(uri, "dates", "holes")
    tracker.start({"a": 1}, {}, "")
    gone = made.made("train").place("history.json")
    files.delete([gone])
    update(tracker, made)
    (message,) = tracker.finish("FINISHED", timeout=300)
    assert f"did not get train: {gone} is missing" in message
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


def test_an_unreachable_server_only_costs_a_message(tmp_path):
    made = MadeRun(tmp_path)
    made.train(1)
    tracker = Tracker(NOWHERE, "dates", "alone")
    tracker.start({"a": 1}, {}, "")
    update(tracker, made.make("ingest"))
    (message,) = tracker.finish("FINISHED", timeout=300)
    missing = "the run, its parameters, pipeline.yaml, ingest, epoch 1, the trial's figures, the end: "
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
        (403, [Failure.PERMANENT] * 3),
        (404, [Failure.PERMANENT] * 3),
        # MLflow's client takes it for a 500.
        (413, [Failure.TEMPORARY, Failure.TEMPORARY, Failure.PERMANENT]),
        (429, [Failure.TEMPORARY] * 3),
        (500, [Failure.TEMPORARY] * 3),
        (503, [Failure.TEMPORARY] * 3),
    ],
)
def test_what_a_server_answers_is_no_silence(troubled, status, kinds):
    assert [failure_of(error) for error in troubled(status)] == kinds


def test_silence_and_faults_of_this_side():
    quiet_mlflow()
    artifacts = MlflowArtifactsRepository("mlflow-artifacts://127.0.0.1:9/a", tracking_uri=NOWHERE)
    for call in (lambda: MlflowClient(NOWHERE).get_run("run"), lambda: artifacts.log_artifact(__file__)):
        with pytest.raises(Exception, match="refused") as refused:
            call()
        assert failure_of(refused.value) is Failure.UNREACHABLE
    assert failure_of(ConnectionRefusedError()) is Failure.UNREACHABLE
    full = OSError(errno.ENOSPC, "no space left on device")
    for error in (FileNotFoundError("artifact.json"), full, ImportError("mlflow"), ValueError()):
        assert failure_of(error) is Failure.PERMANENT
    assert failure_of(MlflowException("database is locked")) is Failure.TEMPORARY


def test_what_is_sent_late_is_not_missing_from_the_figures(uri, tmp_path, monkeypatch):
    """An epoch that MLflow cannot take until the end, which the figures are sent before."""
    monkeypatch.setattr(delivery, "_FIRST_PAUSE", 0.001)
    tracker = Tracker(uri, "dates", "late")
    send, refused = Sender._send, []

    def send_all_but_the_last_epoch(self, run, **entities):
        if len(refused) < 4 and any(each.step == 2 for each in entities.get("metrics", ())):
            refused.append(run)
            raise MlflowException("database is locked")
        send(self, run, **entities)

    monkeypatch.setattr(Sender, "_send", send_all_but_the_last_epoch)
    tracker.start({}, {}, "")
    made = MadeRun(tmp_path, epochs=EPOCHS)
    made.train(1, 2)
    update(tracker, made)
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
