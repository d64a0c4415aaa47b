import errno
import http.server
import json
import math
import subprocess
import sys
import threading
import time
import urllib.parse
from pathlib import Path

import pytest
from made_runs import OF_CHAMPION, MadeRun
from mirrored import known, listed, losses, record_calls, runs_of, settings
from mlflow import MlflowClient
from mlflow.entities import Metric
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import BAD_REQUEST
from mlflow.store.artifact.mlflow_artifacts_repo import MlflowArtifactsRepository

from components import files
from components.errors import UserError
from components.evaluate.verdict import Verdict
from components.heartbeat import Heartbeat
from components.reports import Warned, emit
from pipeline.report.facts import find_runs
from pipeline.run import code_version as code_version_module
from pipeline.run.code_version import code_version
from pipeline.tracking import system_metrics, tracker
from pipeline.tracking.mlflow_client import Failure, database_path, failure_of, quiet_mlflow, ui_command
from pipeline.tracking.part import params
from pipeline.tracking.system_metrics import SystemMetrics
from pipeline.tracking.tracker import Tracker

NOWHERE = "http://user:secret@127.0.0.1:9"  # the port of a service that nobody runs
EPOCHS = [
    {"epoch": 1, "loss": 0.5, "val_loss": 0.75, "seconds": 2.0},
    {"epoch": 2, "loss": 0.25, "val_loss": math.nan, "seconds": 3.0},
]
STAGES = ("ingest", "tokenize", "train", "evaluate", "export")


SCRIPT = """
import sys
from components import files
from pipeline.run.folder import RunFolder
from pipeline.run.observe import Observer
from pipeline.store.store import Store
from pipeline.tracking.tracker import Tracker
root = files.resolve(sys.argv[2])
folder = RunFolder(root, sys.argv[3])
observer = Observer(folder, Store(root))
tracker = Tracker(sys.argv[1], folder)
tracker.update(observer.record(), observer.artifact)
problems = tracker.finish(timeout=300)
sys.exit(repr(problems) if problems else 0)
"""


def follow(uri, run):
    """A tracker that has seen a run."""
    tracker = Tracker(uri, run.folder, watch=False)
    update(tracker, run)
    return tracker


def update(tracker, run):
    """Has the tracker see what is known of a run now, as the watcher does."""
    tracker.update(run.record(), run.observer.artifact)


def finished(uri, run, tracker=None, **end):
    """Ends the run, and returns it and its trial."""
    tracker = tracker or follow(uri, run)
    update(tracker, run.end(**end))
    assert tracker.finish(timeout=300) == []
    return runs_of(uri, run)


def test_a_whole_run(uri, tmp_path, capfd):
    given = settings(uri, experiment="dates/été")
    MadeRun(tmp_path, "another", config=given).make("ingest")
    config = {
        **given,
        "model": {"encoder": {"type": "gru"}},
        "train": {"epochs": 2, "odd name*[0]": None, "long": "x" * 7000},
        "many": {f"p{i}": i for i in range(150)},
        "..": True,
    }
    made = MadeRun(tmp_path, config=config, epochs=EPOCHS)
    tracker = Tracker(uri, made.folder)
    with Heartbeat(made.folder.heartbeat):
        update(tracker, made)
        made.make("tokenize", seconds=1.5)
        with made.work("train").attempt():
            emit(Warned("train", "which is nothing to log"))
        update(tracker, made)
        for epoch in EPOCHS:
            made.train(epoch["epoch"])
            update(tracker, made)
        made.make("train", "evaluate", "export", seconds=2.5)
        made.make(OF_CHAMPION)  # whose figures are another run's
        update(tracker, made)
    verdict = Verdict(True, ["exact_match 0.97 >= 0.9 (min)"]).as_json()
    run, trial = finished(uri, made, tracker, verdict=verdict)

    short = made.id.rpartition("-")[2]
    assert (run.info.run_name, run.info.status) == (f"gru {made.id}", "FINISHED")
    assert (trial.info.run_name, trial.info.status) == (f"gru {short}, trial 1", "FINISHED")
    assert trial.data.tags["mlflow.parentRunId"] == run.info.run_id
    assert "mlflow.parentRunId" not in run.data.tags
    assert run.data.tags["rnnpipe.run"] == made.id
    assert run.data.params == trial.data.params
    assert len(run.data.params) == 161
    assert run.data.params["encoder"] == "gru"
    assert run.data.params["train.epochs"] == "2"
    assert run.data.params["train.odd name__0_"] == "None"
    assert run.data.params["_.."] == "True"
    assert run.data.params["train.long"] == "x" * 6000
    measured = made.record().metrics
    assert run.data.metrics == {
        **{f"test/{name}": value for name, value in measured.items()},
        "floor/copy/exact_match": 0.25,
        "floor/commonest/exact_match": 0.125,
        "floor/commonest/character_error_rate": 0.75,
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
        assert each.data.tags["pipeline"] == "made"
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
    assert "type: gru" in (place / "pipeline.yaml").read_text()
    assert capfd.readouterr() == ("", "")


def test_reused_stages_are_logged_so_that_runs_compare(uri, tmp_path):
    MadeRun(tmp_path, config=settings(uri), epochs=EPOCHS).make(*STAGES)
    run, _ = finished(uri, MadeRun(tmp_path, config=settings(uri), epochs=EPOCHS))
    assert losses(uri, run) == [(1, 0.5), (2, 0.25)]
    assert run.data.metrics["test/exact_match"] == 0.8
    assert not any(name.startswith("seconds.") for name in run.data.metrics)
    assert {run.data.tags[f"stage.{stage}"] for stage in STAGES} == {"reused"}


def test_a_run_is_the_same_however_often_it_is_looked_at(uri, tmp_path, monkeypatch):
    """Live, with every step looked at several times; or at once, when all is over, from the store alone."""
    monkeypatch.setattr(tracker, "_FIRST_PAUSE", 0.001)
    made = MadeRun(tmp_path, config=settings(uri), epochs=EPOCHS)
    with Heartbeat(made.folder.heartbeat):
        live = follow(uri, made)
        for step in (
            lambda: None,
            lambda: made.make("ingest"),
            lambda: made.make("tokenize"),
            lambda: made.train(1),
            lambda: made.train(2),
            lambda: made.make("train"),
            lambda: made.make("evaluate", OF_CHAMPION),
            lambda: made.make("export"),
        ):
            step()
            for _ in range(20):
                update(live, made)
    finished(uri, made, live)
    expected = known(uri, made)
    assert [point[::2] for point in expected[1]["metrics"]["loss"]] == [(1, 0.5), (2, 0.25)]
    for entry in files.entries(made.folder.place):
        if entry.path.name.startswith("tracking"):
            files.delete([entry.path])  # so that another run is made
    before = runs_with(uri, made)[0]
    MlflowClient(uri).delete_run(before)
    (run,) = find_runs(tmp_path, [made.id])
    once = Tracker(uri, made.folder, watch=False)
    once.update(run.record, run.artifacts.get)
    assert once.finish(timeout=300) == []
    assert made.record().tracking["run"] != before
    assert known(uri, made) == expected


def runs_with(uri, made):
    """The ids of the runs in MLflow that are said to be a run, those of trials left out."""
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("dates").experiment_id
    found = client.search_runs([experiment], f"tags.`rnnpipe.run` = '{made.id}'")
    return [each.info.run_id for each in found]


def test_threads_that_look_at_once_send_everything_once(uri, tmp_path, monkeypatch):
    made = MadeRun(tmp_path, config=settings(uri), epochs=EPOCHS).make("ingest", "tokenize", "train")
    made.train(1, 2)
    client = record_calls(monkeypatch, uri)
    tracker = follow(uri, made)
    record = made.end().record()
    threads = [
        threading.Thread(target=tracker.update, args=(record, made.observer.artifact)) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert tracker.finish(timeout=300) == []
    assert client.calls.count("create_run") == 2
    assert client.calls.count("log_artifact") == 5
    assert client.calls.count("log_inputs") == 1


def test_two_runs_that_note_the_same_data_at_once(uri, tmp_path, monkeypatch):
    """Both look, and find no such data set; the database takes the first one's and refuses the other's."""
    refused = []

    def refuse_once(number, name, arguments):
        if name != "log_inputs" or refused:
            return None
        refused.append(arguments)
        return MlflowException("UNIQUE constraint failed: datasets.name", BAD_REQUEST)

    record_calls(monkeypatch, uri, refuse_once)
    run, _ = finished(uri, MadeRun(tmp_path, config=settings(uri)).make("ingest"))
    assert refused
    assert len(run.inputs.dataset_inputs) == 2


def test_what_lies_in_an_object_store_arrives_under_its_own_name(uri, tmp_path, monkeypatch):
    monkeypatch.setenv("RNNPIPE_CACHE", str(tmp_path / "cache"))
    made = MadeRun("memory://tracked/runs", config=settings(uri), epochs=EPOCHS)
    run, trial = finished(uri, made.make("ingest", "tokenize", "train", "evaluate"))
    assert listed(uri, run, "ingest") == {"ingest/statistics.json"}
    assert listed(uri, trial, "train") == {"train/history.json"}
    assert listed(uri, trial, "plots") == {"plots/training_curves.png", "plots/by_length.png"}
    sources = [json.loads(dataset.dataset.source)["uri"] for dataset in run.inputs.dataset_inputs]
    assert sources[0].startswith("memory://tracked/runs/artifacts/ingest/")


def test_epochs_trained_before_an_interruption_are_taken_from_the_history(uri, tmp_path):
    made = MadeRun(tmp_path, config=settings(uri), epochs=EPOCHS).make("ingest", "tokenize")
    made.train(2)
    tracker = follow(uri, made)
    wait_for(lambda: made.folder.tracked("1") and len(losses(uri, runs_of(uri, made)[1])) == 1)
    for run in finished(uri, made.make("train"), tracker):
        assert losses(uri, run) == [(1, 0.5), (2, 0.25)]


def test_a_failed_run(uri, tmp_path):
    made = MadeRun(tmp_path, config=settings(uri))
    run, trial = finished(uri, made, status="failed", message="the loss is no number")
    assert run.info.status == trial.info.status == "FAILED"
    assert run.data.tags["message"] == "the loss is no number"


def test_a_run_that_is_sent_again_keeps_its_trial(uri, tmp_path):
    made = MadeRun(tmp_path, config=settings(uri), epochs=EPOCHS).make("ingest", "tokenize")
    made.train(1)
    follow(uri, made).finish(timeout=300)
    before = [each.info.run_id for each in runs_of(uri, made)]
    found = finished(uri, made.make("train"))
    assert [each.info.run_id for each in found] == before
    for each in found:
        assert losses(uri, each) == [(1, 0.5), (2, 0.25)]


def test_columns_whose_names_mlflow_does_not_allow_stay_different(uri, tmp_path):
    keep = {"a/b": "x", "a_b": "y", "语/言": "z", "c" * 300 + "1": "u", "c" * 300 + "2": "v"}
    made = MadeRun(tmp_path, config={**settings(uri, experiment="词" * 250), "ingest": {"keep": keep}})
    run, trial = finished(uri, made.make("ingest", "tokenize", "train", "evaluate"))
    for found in (run.data.params, trial.data.params):
        kept = {name: value for name, value in found.items() if name.startswith("ingest.keep.")}
        assert sorted(kept.values()) == ["u", "v", "x", "y", "z"]
        assert kept["ingest.keep.a_b"] == "y"
        assert kept["ingest.keep.语_言"] == "z"
    assert "pipeline.yaml" in listed(uri, run)  # in a folder whose name the disk takes


def test_metrics_whose_names_mlflow_does_not_allow_stay_different(uri, tmp_path):
    epochs = [{"epoch": 1, "a,b": 1.0, "a_b": 2.0, "a;b": 3.0, "d//e": 4.0, "seconds": 1.0}]
    made = MadeRun(tmp_path, config=settings(uri), epochs=epochs).make("ingest", "tokenize")
    made.train(1)
    run, trial = finished(uri, made.make("train"))
    for found in (run.data.metrics, trial.data.metrics):
        alike = [value for name, value in found.items() if name.startswith("a_b")]
        assert sorted(alike) == [1.0, 2.0, 3.0]
        assert (found["a_b"], found["d/_/e"]) == (2.0, 4.0)


def test_parameters_are_what_a_run_does_under_names_that_sort_well():
    config = {
        "seed": 7,
        "model": {"encoder": {"type": "gru", "units": 8}, "pooling": "max", "attention": None},
        "evaluate": {"metrics": ["accuracy"], "bless": {"accuracy": {"min": 0.9}}},
    }
    assert params(config) == {
        "encoder": "gru",
        "pooling": "max",
        "seed": "7",
        "model.encoder.type": "gru",
        "model.encoder.units": "8",
        "model.pooling": "max",
        "model.attention": "None",
        "evaluate.metrics.0": "accuracy",
    }


def test_a_password_stays_here(tmp_path, uri, monkeypatch):
    record_calls(monkeypatch, uri)
    made = MadeRun(tmp_path, config=settings(NOWHERE)).end()
    following = follow(NOWHERE, made)
    assert following.finish(timeout=300) == []
    assert made.record().config["tracking"]["uri"] == "http://127.0.0.1:9"
    assert made.record().tracking["uri"] == "http://127.0.0.1:9"
    run, trial = runs_of(uri, made)
    assert run.data.params["tracking.uri"] == "http://127.0.0.1:9"
    for each in (run, trial):
        assert "secret" not in json.dumps([each.data.params, each.data.tags])
    page = Path(MlflowClient(uri).download_artifacts(run.info.run_id, "pipeline.yaml")).read_text()
    assert "http://127.0.0.1:9" in page
    assert "secret" not in page


def test_a_run_whose_answer_was_lost_is_found_again(uri, tmp_path, monkeypatch):
    monkeypatch.setattr(tracker, "_FIRST_PAUSE", 0.001)
    lost = []

    def lose_two_answers(number, name, arguments):
        if name != "create_run" or len(lost) == 2:
            return None
        lost.append(number)
        return ConnectionError("timed out")

    client = record_calls(monkeypatch, uri, lose_two_answers, late=True)
    made = MadeRun(tmp_path, config=settings(uri))
    following = follow(uri, made)
    wait_for(lambda: len(lost) == 2)
    wait_for(lambda: made.folder.tracked("1"))
    finished(uri, made, following)
    assert client.calls.count("create_run") == 2
    assert len(MlflowClient(uri).search_runs(["1"])) == 2


def test_an_artifact_that_cannot_be_read_costs_only_itself(uri, tmp_path):
    made = MadeRun(tmp_path, config=settings(uri)).make(*STAGES)
    gone = made.made("train").place("history.json")
    files.delete([gone])
    following = follow(uri, made.end())
    (message,) = following.finish(timeout=300)
    assert f"did not get train: {gone} is missing" in message
    assert runs_of(uri, made)[0].info.status == "FINISHED"


def test_a_deleted_experiment(uri, tmp_path):
    client = MlflowClient(uri)
    client.delete_experiment(client.create_experiment("dates"))
    (message,) = follow(uri, MadeRun(tmp_path, config=settings(uri))).finish(timeout=300)
    assert "'dates' is deleted; restore it with `mlflow experiments restore -x" in message


def test_a_file_that_is_no_database(tmp_path):
    (tmp_path / "mlflow.db").write_text("something else, " * 100)
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    (message,) = follow(uri, MadeRun(tmp_path, config=settings(uri))).finish(timeout=300)
    assert "file is not a database" in message
    assert "sends it once that is put right." in message


def test_an_unreachable_server_only_costs_a_message(tmp_path):
    made = MadeRun(tmp_path, config=settings(NOWHERE))
    made.train(1)
    (message,) = follow(NOWHERE, made.make("ingest").end()).finish(timeout=300)
    missing = "the run, its parameters, pipeline.yaml, ingest, epoch 1, the trial's figures, the end: "
    assert message.startswith(f"MLflow at http://127.0.0.1:9 did not get {missing}")
    assert "Connection refused" in message
    assert f"`rnnpipe track {made.id}` sends it later, with the whole address" in message
    assert "secret" not in message
    assert made.record().tracking == {}


def wait_for(holds):
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


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


def test_the_machine_is_watched(uri, tmp_path, monkeypatch):
    machine = SystemMetrics()
    assert machine.sample() == {}  # nothing is known of so short a time
    monkeypatch.setattr(system_metrics, "INTERVAL", 0.0)
    first, second = machine.sample(), machine.sample()
    assert machine.step == 2
    assert first.keys() == second.keys()
    assert all(name.startswith("system/") for name in first)
    assert first["system/process_memory_usage_megabytes"] > 10
    assert 0 < first["system/system_memory_usage_percentage"] <= 100

    monkeypatch.setattr(tracker, "INTERVAL", 0.01)
    monkeypatch.setattr(tracker, "_FIRST_PAUSE", 0.01)
    made = MadeRun(tmp_path, config=settings(uri))
    busy = Tracker(uri, made.folder)
    update(busy, made)
    name = "system/cpu_utilization_percentage"
    client = MlflowClient(uri)

    def history():
        return client.get_metric_history(runs_of(uri, made)[1].info.run_id, name)

    wait_for(lambda: made.folder.tracked("1") and len(history()) > 2)
    run, _ = finished(uri, made, busy)
    assert name not in run.data.metrics
    steps = [point.step for point in history()]
    assert steps == list(range(1, len(steps) + 1))


def test_a_sample_that_mlflow_does_not_take_is_lost_without_a_word(uri, tmp_path, monkeypatch):
    monkeypatch.setattr(system_metrics, "INTERVAL", 0.0)
    monkeypatch.setattr(tracker, "INTERVAL", 0.01)
    monkeypatch.setattr(tracker, "_FIRST_PAUSE", 0.01)
    refused = []

    def refuse(number, name, arguments):
        if name != "log_batch" or not arguments[1] or not arguments[1][0].key.startswith("system/"):
            return None
        refused.append(number)
        return ConnectionError("refused")

    record_calls(monkeypatch, uri, refuse)
    made = MadeRun(tmp_path, config=settings(uri))
    busy = Tracker(uri, made.folder)
    update(busy, made)
    wait_for(lambda: len(refused) > 1)
    assert finished(uri, made, busy)[0].info.status == "FINISHED"


def test_two_processes_make_the_same_database_and_print_nothing(tmp_path):
    uri = f"sqlite:///{tmp_path / 'new' / 'mlflow.db'}"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, uri, str(tmp_path), made.end().id],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for made in (MadeRun(tmp_path, config=settings(uri)) for _ in range(2))
    ]
    assert [process.communicate()[0] for process in processes] == ["", ""]
    client = MlflowClient(uri)
    runs = client.search_runs([client.get_experiment_by_name("dates").experiment_id])
    assert [run.info.status for run in runs] == ["FINISHED"] * 4
    assert all(run.data.params["seed"] == "7" for run in runs)


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
    command, environment = ui_command(uri, "0.0.0.0", 5001)
    assert command[:4] == [sys.executable, "-m", "mlflow", "ui"]
    assert command[4:] == ["--host", "0.0.0.0", "--port", "5001"]
    assert environment["MLFLOW_BACKEND_STORE_URI"] == uri


def test_ui_command_with_nothing_to_show(tmp_path):
    with pytest.raises(UserError, match=r"nothing\.db does not exist; expected the database of earlier runs"):
        ui_command(f"sqlite:///{tmp_path / 'nothing.db'}")
    with pytest.raises(UserError, match=r"a server already: open http://127\.0\.0\.1:9 in a browser"):
        ui_command(NOWHERE)
