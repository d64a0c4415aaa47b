"""Passwords of MLflow's address: used, and neither written down nor shown."""

import os
import subprocess
import sys

import pytest
import tiny
from made_runs import MadeRun
from mirrored import settings
from typer.testing import CliRunner

from components import files
from pipeline.cli import app
from pipeline.report.facts import find_runs
from pipeline.report.pages import card_page
from pipeline.run.folder import RunFolder
from pipeline.tracking import ui
from pipeline.tracking.mlflow_client import absolute_uri, ui_command
from pipeline.tracking.tracker import Tracker

ADDRESS = "http://user:sec/r@et@127.0.0.1:9"  # the port of a service that nobody runs
PARAMETER = "postgresql://host/runs?password=sec@ret"


def permissions(path):
    return files.local(path).stat().st_mode & 0o777


@pytest.mark.parametrize("uri", [ADDRESS, PARAMETER])
def test_a_record_holds_no_password_and_is_its_owners(tmp_path, uri):
    made = MadeRun(tmp_path, config=settings(uri))
    made.end("failed", f"nobody answers at {uri}")
    for name in ("start.json", "end.json"):
        written = files.read(made.folder.place / name).decode()
        assert "sec" not in written.replace('"seconds"', "")
        assert permissions(made.folder.place / name) == 0o600
    (run,) = find_runs(tmp_path, [made.id])
    assert "sec/r" not in card_page(run)
    assert run.parameters()["tracking.uri"] in ("http://127.0.0.1:9", "postgresql://host/runs?password=***")


def test_a_record_without_a_password_is_as_readable_as_other_files(tmp_path):
    made = MadeRun(tmp_path, config=settings("http://127.0.0.1:9")).end()
    (tmp_path / "other").touch()
    others = permissions(tmp_path / "other")
    assert [permissions(made.folder.place / name) for name in ("start.json", "end.json")] == [others] * 2


def test_a_record_of_an_earlier_release_is_shown_without_its_password(tmp_path):
    made = MadeRun(tmp_path, config=settings("http://127.0.0.1:9")).end()
    start = files.local(made.folder.place / "start.json")
    start.write_text(start.read_text().replace("http://127.0.0.1:9", ADDRESS))
    (run,) = find_runs(tmp_path, [made.id])
    assert run.record.config["tracking"]["uri"] == ADDRESS
    assert run.parameters()["tracking.uri"] == "http://127.0.0.1:9"
    assert "sec/r" not in card_page(run)


def test_a_record_of_another_user_is_passed_over(tmp_path, monkeypatch):
    made = MadeRun(tmp_path, config=settings(ADDRESS)).end()

    def denied(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(files, "read", denied)
    assert RunFolder(made.root, made.id).begun() is None


def test_what_was_not_sent_is_sent_with_the_address_of_the_environment(tmp_path, monkeypatch):
    made = MadeRun(tmp_path, config=settings(ADDRESS)).end()
    tracker = Tracker(ADDRESS, made.folder, watch=False)
    tracker.update(made.record(), made.observer.artifact)
    (message,) = tracker.finish(timeout=300)
    assert message.startswith("MLflow at http://127.0.0.1:9 did not get the run")
    assert "sec/r" not in message
    assert message.endswith(
        f"`rnnpipe track {made.id}` sends it later, with the whole address in MLFLOW_TRACKING_URI, for "
        "records hold no password."
    )
    noted = made.record().config["tracking"]["uri"]
    assert absolute_uri(noted) == "http://127.0.0.1:9"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", ADDRESS)
    assert absolute_uri(noted) == ADDRESS
    assert absolute_uri("http://another") == "http://another"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", PARAMETER)
    assert absolute_uri(noted) == "http://127.0.0.1:9"


@pytest.mark.parametrize("uri", [PARAMETER, "postgresql://user:secret@host/runs"])
def test_the_user_interface_is_given_its_address_in_the_environment(tmp_path, monkeypatch, uri):
    command, environment = ui_command(uri)
    assert "sec" not in " ".join(command)
    assert environment["MLFLOW_BACKEND_STORE_URI"] == uri
    started = []
    monkeypatch.setattr(ui, "run_until_ended", lambda *given: started.append(given) or 0)
    monkeypatch.setattr(ui, "_tell", lambda *_: None)
    config = tiny.make(tmp_path)
    done = CliRunner().invoke(app, ["ui", str(config), "--set", f"tracking.uri={uri}"])
    assert "sec" not in done.output
    assert started == [(command, environment)]


def test_mlflow_takes_the_address_from_the_environment(uri):
    """And shows it in no command line of its own."""
    command, environment = ui_command(uri)
    check = (
        "import sys, mlflow.cli, mlflow.server\n"
        "mlflow.server._run_server = lambda **given: print(given['file_store_path'])\n"
        "mlflow.cli._run_server = mlflow.server._run_server\n"
        "sys.argv = ['mlflow', *sys.argv[1:]]\n"
        "mlflow.cli.cli()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", check, *command[3:]],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    assert done.stdout.splitlines()[-1:] == [uri], done.stderr
    assert environment.keys() - {"MLFLOW_BACKEND_STORE_URI"} <= os.environ.keys()


def test_what_a_failed_run_prints_has_no_password(tmp_path):
    config = tiny.make(tmp_path)
    (tmp_path / "train.tsv").write_text("text\tlabel\n")
    code, said = tiny.run(config, f"tracking.uri={ADDRESS}")
    assert code == 1
    assert "\ngo on: " in said
    assert "--set=tracking.uri=http://127.0.0.1:9" in said
    assert "sec/r" not in said
    for path in (tmp_path / "runs").rglob("*"):
        assert not path.is_file() or b"sec/r" not in path.read_bytes()


def test_an_error_of_the_configuration_has_no_password(tmp_path):
    done = tiny.start("plan", tiny.make(tmp_path), "--set", f"tracking.urls={ADDRESS}")
    said, _ = done.communicate(timeout=100)
    assert done.returncode
    assert "tracking.urls" in said
    assert "sec/r" not in said
