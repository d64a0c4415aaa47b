"""Launchers that work on one MLflow at the same moment: all have looked before any has written."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from made_models import content_of, push
from made_runs import MadeRun
from mirrored import Killed, Recording, losses, record_calls, runs_of, settings
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import BAD_REQUEST

from components import files
from pipeline.serving.served import Served
from pipeline.tracking.champion import find_champion
from pipeline.tracking.mirror import Mirror
from pipeline.tracking.registry import DIGEST, make_champion

EPOCHS = [{"epoch": epoch, "loss": 1 / epoch, "seconds": 2.0} for epoch in range(1, 4)]


@pytest.fixture
def base(tmp_path):
    """A served model."""
    model = tmp_path / "model"
    model.mkdir()
    (model / "saved_model.pb").write_text("a")
    base = files.resolve(tmp_path / "serving" / "letters")
    push(model, base, "a")
    return base


def new_run(client):
    experiment = client.get_experiment_by_name("letters")
    identifier = experiment.experiment_id if experiment else client.create_experiment("letters")
    return client.create_run(identifier).info.run_id


@pytest.mark.parametrize("first", ["create_registered_model", "create_model_version"])
def test_three_that_register_what_is_served_make_one_version(uri, base, first):
    together = threading.Barrier(3, timeout=60)

    def wait(number, name, arguments):
        if name == first:
            together.wait()

    def register(run_id):
        client = Recording(MlflowClient(uri), wait)
        make_champion(client, uri, run_id, str(base / "1"), "hello")

    client = MlflowClient(uri)
    if first == "create_model_version":
        client.create_registered_model("letters")
    run_ids = [new_run(client) for _ in range(3)]
    with ThreadPoolExecutor(3) as threads:
        assert list(threads.map(register, run_ids)) == [None] * 3
    (version,) = client.search_model_versions("name = 'letters'")
    assert find_champion(uri, "letters").title == f"version {version.version}"
    assert find_champion(uri, "letters").model == content_of(base / "1", "a").model
    (logged,) = client.search_logged_models([client.get_experiment_by_name("letters").experiment_id])
    assert (logged.artifact_location, logged.source_run_id) == (version.source, version.run_id)
    assert Served(base.parent, "letters").claims.registered(1, uri)


def test_what_was_logged_and_not_registered_is_not_logged_again(uri, base):
    def die(number, name, arguments):
        return Killed() if name == "create_model_version" else None

    client = MlflowClient(uri)
    run_id = new_run(client)
    with pytest.raises(Killed):
        make_champion(Recording(client, die), uri, run_id, str(base / "1"), "hello")
    again = Recording(client)
    make_champion(again, uri, run_id, str(base / "1"), "hello")
    assert "create_logged_model" not in again.calls
    (version,) = client.search_model_versions("name = 'letters'")
    (logged,) = client.search_logged_models([client.get_run(run_id).info.experiment_id])
    assert version.source == logged.artifact_location
    assert logged.tags[DIGEST] == version.tags[DIGEST]


def test_an_alias_that_another_gave_at_the_same_moment_is_given_again(uri, base):
    taken = MlflowException("(sqlite3.IntegrityError) UNIQUE constraint failed: aliases.alias", BAD_REQUEST)
    refused = []

    def refuse(number, name, arguments):
        if name != "set_registered_model_alias" or refused:
            return None
        refused.append(arguments)
        return taken

    client = MlflowClient(uri)
    make_champion(Recording(client, refuse), uri, new_run(client), str(base / "1"), "hello")
    assert len(refused) == 1
    assert find_champion(uri, "letters").title == "version 1"


def test_an_alias_that_is_refused_again_is_an_error(uri, base):
    refused = []

    def refuse(number, name, arguments):
        if name != "set_registered_model_alias":
            return None
        refused.append(arguments)
        return MlflowException("(sqlite3.IntegrityError) UNIQUE constraint failed: a", BAD_REQUEST)

    client = MlflowClient(uri)
    with pytest.raises(MlflowException, match="UNIQUE constraint failed"):
        make_champion(Recording(client, refuse), uri, new_run(client), str(base / "1"), "hello")
    assert len(refused) == 2


@pytest.mark.parametrize("refused", ["create_run", "log_inputs", "log_batch", "get_experiment_by_name"])
def test_what_others_create_at_the_same_moment_is_looked_for_again(uri, tmp_path, monkeypatch, refused):
    """A database takes the first one's row, and refuses those of the others; here three times."""
    times = []

    def refuse(number, name, arguments):
        if name != refused or len(times) == 3:
            return None
        times.append(number)
        return MlflowException(
            "(sqlite3.IntegrityError) UNIQUE constraint failed: datasets.name", BAD_REQUEST
        )

    record_calls(monkeypatch, uri, refuse)
    made = MadeRun(tmp_path, config=settings(uri), epochs=EPOCHS).make("ingest", "tokenize")
    made.train(1, 2, 3)
    made.make("train").end()
    mirror = Mirror(uri, made.folder)
    assert not mirror.sync(made.record(), made.observer.artifact)
    assert mirror.missing(made.record(), made.observer.artifact) == ()
    assert len(times) == 3
    run, trial = runs_of(uri, made)
    assert len(run.inputs.dataset_inputs) == 2
    assert [step for step, _ in losses(uri, trial)] == [1, 2, 3]


def test_three_that_send_the_same_data_all_arrive(uri, tmp_path, monkeypatch):
    together = threading.Barrier(3, timeout=60)
    waited = threading.local()

    def wait(number, name, arguments):
        if name in ("create_experiment", "log_inputs") and name not in vars(waited):
            setattr(waited, name, True)
            together.wait()

    record_calls(monkeypatch, uri, wait)
    runs = [MadeRun(tmp_path / name, name, config=settings(uri)).make("ingest").end() for name in "abc"]
    mirrors = [Mirror(uri, run.folder) for run in runs]
    with ThreadPoolExecutor(3) as threads:
        again = list(
            threads.map(lambda mirror, run: mirror.sync(run.record(), run.observer.artifact), mirrors, runs)
        )
    assert again == [False] * 3
    for mirror, run in zip(mirrors, runs, strict=True):
        assert mirror.missing(run.record(), run.observer.artifact) == ()
        assert len(runs_of(uri, run)[0].inputs.dataset_inputs) == 2
