"""The database of a local MLflow, which its library creates in hundreds of steps."""

import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import mlflow.pyfunc
import pytest
from mlflow import MlflowClient

from components.errors import UserError
from pipeline.tracking import database as database_module
from pipeline.tracking.champion import find_champion
from pipeline.tracking.mlflow_client import open_client, ui_command
from pipeline.tracking.registry import is_registered, save_pyfunc

CREATE = """
import os, signal, sys
import sqlalchemy
from pipeline.tracking.champion import find_champion
from pipeline.tracking.mlflow_client import open_client, ui_command
from pipeline.tracking.registry import is_registered, quiet_mlflow
quiet_mlflow()
from mlflow import MlflowClient
last, count = int(sys.argv[3]), 0
@sqlalchemy.event.listens_for(sqlalchemy.engine.Engine, "before_cursor_execute")
def die(*arguments):
    global count
    count += 1
    if count == last:
        os.kill(os.getpid(), signal.SIGKILL)
{"ours": open_client, "mlflow": MlflowClient}[sys.argv[1]](f"sqlite:///{sys.argv[2]}")
"""


def create_and_die(who, database, statement):
    """Has a process create the database, killed before a statement of SQL."""
    command = [sys.executable, "-c", CREATE, who, str(database), str(statement)]
    assert subprocess.run(command, capture_output=True).returncode == -signal.SIGKILL


def works(database):
    """Whether runs can be created and models registered."""
    client = MlflowClient(f"sqlite:///{database}")
    run = client.create_run(client.create_experiment("dates"))
    client.create_registered_model("dates")
    return client.get_run(run.info.run_id).info.status == "RUNNING"


def names(folder):
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


@pytest.mark.parametrize("statement", [30, 520, 1660])  # of some 1680; the second is met at 250 kB
def test_a_kill_while_the_database_is_created_leaves_none(tmp_path, statement):
    database = tmp_path / "mlflow.db"
    create_and_die("ours", database, statement)
    assert [name for name in names(tmp_path) if ".new-" not in name] == []
    open_client(f"sqlite:///{database}")
    assert names(tmp_path) == ["mlflow.db"]
    assert works(database)


@pytest.mark.parametrize("statement", [30, 520])
def test_a_database_that_somebody_began_to_create_is_set_aside(tmp_path, monkeypatch, statement):
    monkeypatch.setattr(database_module, "_QUIET", 0.2)
    database = tmp_path / "mlflow.db"
    create_and_die("mlflow", database, statement)
    size = database.stat().st_size
    open_client(f"sqlite:///{database}")
    kept, aside = names(tmp_path)
    assert kept == "mlflow.db"
    assert aside.startswith("mlflow.db.unfinished-")
    assert (tmp_path / aside).stat().st_size == size
    assert works(database)


def test_an_empty_file_is_an_unfinished_database(tmp_path, monkeypatch):
    monkeypatch.setattr(database_module, "_QUIET", 0.2)
    (tmp_path / "mlflow.db").touch()
    open_client(f"sqlite:///{tmp_path / 'mlflow.db'}")
    assert works(tmp_path / "mlflow.db")


def test_a_database_that_is_being_created_is_waited_for(tmp_path, monkeypatch, empty_database):
    monkeypatch.setattr(database_module, "_QUIET", 2.0)
    database = tmp_path / "mlflow.db"
    database.touch()

    def create():
        """Writes something every half second, for longer than one that is quiet is waited for."""
        for _ in range(6):
            time.sleep(0.5)
            with sqlite3.connect(database) as connection:
                connection.execute(f"CREATE TABLE t{time.monotonic_ns()} (a)")
        shutil.copy(empty_database, database)

    other = threading.Thread(target=create)
    other.start()
    open_client(f"sqlite:///{database}")
    other.join()
    assert names(tmp_path) == ["mlflow.db"]
    assert works(database)


def test_one_that_is_quicker_stays(tmp_path, monkeypatch, empty_database):
    link = database_module.os.link

    def too_late(source, target):
        shutil.copy(empty_database, target)
        with sqlite3.connect(target) as connection:
            connection.execute("CREATE TABLE mark (a)")
        link(source, target)

    monkeypatch.setattr(database_module.os, "link", too_late)
    open_client(f"sqlite:///{tmp_path / 'mlflow.db'}")
    assert names(tmp_path) == ["mlflow.db"]
    with sqlite3.connect(tmp_path / "mlflow.db") as connection:
        assert list(connection.execute("SELECT name FROM sqlite_master WHERE name = 'mark'"))


def test_an_older_database_with_runs_is_kept_and_the_way_out_is_told(tmp_path, empty_database):
    database = tmp_path / "mlflow.db"
    shutil.copy(empty_database, database)
    assert works(database)
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '451aebb31d03'")
    before = database.read_bytes()
    with pytest.raises(UserError) as caught:
        open_client(f"sqlite:///{database}")
    assert "mlflow.db is not empty (runs: 1, registered models: 1, experiments: 1), but its tables" in str(
        caught.value
    )
    assert "are at revision 451aebb31d03, and this MLflow expects" in str(caught.value)
    assert f"`mlflow db upgrade sqlite:///{database}`" in str(caught.value)
    assert database.read_bytes() == before
    assert names(tmp_path) == ["mlflow.db"]


def test_a_file_that_is_no_database(tmp_path):
    database = tmp_path / "mlflow.db"
    database.write_bytes(b"no database" * 1000)
    with pytest.raises(UserError, match=r"mlflow\.db cannot be read: file is not a database\. Expected"):
        open_client(f"sqlite:///{database}")
    assert database.read_bytes() == b"no database" * 1000


def test_those_that_ask_for_the_champion_hear_what_is_wrong_with_the_database(tmp_path):
    database = tmp_path / "mlflow.db"
    database.write_bytes(b"no database" * 1000)
    uri = f"sqlite:///{database}"
    for ask in (
        lambda: find_champion(uri, "dates"),
        lambda: is_registered(uri, "dates", "0"),
        lambda: ui_command(uri),
    ):
        with pytest.raises(
            UserError, match=r"mlflow\.db cannot be read: .* and the next run creates a new one"
        ):
            ask()


def test_two_threads_create_databases_of_their_own(tmp_path):
    """Alembic mixes up the databases of threads that use it at once, up to a crash of the process."""
    with ThreadPoolExecutor() as threads:
        clients = list(
            threads.map(lambda name: open_client(f"sqlite:///{tmp_path}/{name}"), ("a.db", "b.db"))
        )
    for client in clients:
        assert client.create_experiment("x") == "1"


def test_models_are_packed_one_at_a_time(tmp_path, monkeypatch):
    at_work, most = [], []

    def save_model(directory, **_):
        at_work.append(directory)
        most.append(len(at_work))
        time.sleep(0.1)
        at_work.remove(directory)

    monkeypatch.setattr(mlflow.pyfunc, "save_model", save_model)
    with ThreadPoolExecutor() as threads:
        list(threads.map(lambda name: save_pyfunc(tmp_path / name, tmp_path, "a text"), ("a", "b")))
    assert most == [1, 1]
