"""Processes and temporary files that a command has made end with it, however it ends."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import tiny

from components.artifacts.artifact import cache_folder
from components.errors import UserError
from components.processes import owned_process
from pipeline import temporary
from pipeline.ports import check_port
from pipeline.temporary import remove_abandoned, temporary_folder

REPOSITORY = Path(__file__).parents[2]

# A server that answers by a process of its own, as MLflow's does.
SERVER = """\
import subprocess, sys
listen = '''
import socket, sys
server = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True:
    server.accept()[0].close()
'''
subprocess.run([sys.executable, "-c", listen, sys.argv[1]])
"""


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def is_taken(port):
    with socket.socket() as probe:
        probe.settimeout(5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_until(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def python(code, *arguments, **options):
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), **options.pop("env", {})}
    return subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)], env=environment, **options)


@pytest.mark.parametrize("ended_by", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGKILL])
def test_a_server_ends_with_the_command_that_started_it(ended_by):
    port = free_port()
    run = "import sys; from pipeline.serving.server import run_until_ended\n"
    run += "sys.exit(run_until_ended([sys.executable, '-c', *sys.argv[1:]]))"
    command = python(run, SERVER, port)
    wait_until(lambda: is_taken(port))
    command.send_signal(ended_by)
    assert command.wait(60) == (-signal.SIGKILL if ended_by == signal.SIGKILL else 0)
    wait_until(lambda: not is_taken(port))


def test_a_server_that_ends_by_itself_hands_its_code_on():
    run = "import sys; from pipeline.serving.server import run_until_ended\n"
    run += "sys.exit(run_until_ended([sys.executable, '-c', 'import sys; sys.exit(7)']))"
    assert python(run).wait(60) == 7


def test_what_a_block_has_started_ends_with_it(tmp_path):
    port = free_port()
    command = [sys.executable, "-c", SERVER, str(port)]
    with (tmp_path / "log").open("wb") as log, owned_process(command, output=log) as process:
        wait_until(lambda: is_taken(port))
    assert process.poll() is not None
    wait_until(lambda: not is_taken(port))


def test_a_taken_port_is_told_before_anything_is_started(tmp_path):
    config = tiny.make(tmp_path)
    (tmp_path / "mlflow.db").touch()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            UserError, match=rf"--port {port}, but 127.0.0.1:{port} .*another program listens"
        ):
            check_port(port, "--port")
        done = subprocess.run(
            [sys.executable, "-m", "pipeline", "ui", config, "--port", str(port)],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=False,
        )
    check_port(port, "--port")
    assert (done.returncode, done.stdout) == (1, "")
    assert f"received --port {port}, but 127.0.0.1:{port} cannot be listened on" in done.stderr


@pytest.fixture
def temporary_base(tmp_path, monkeypatch):
    base = tmp_path / "tmp"
    base.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(base))
    monkeypatch.delenv("RNNPIPE_CACHE", raising=False)
    return base


def test_a_command_has_its_temporary_files_in_a_folder_of_its_own(temporary_base):
    cache = cache_folder()
    with temporary_folder() as folder:
        assert folder.parent == temporary_base
        made = Path(tempfile.mkdtemp(prefix="beam-pipeline-temp"))
        assert made.parent == folder
        child = "import tempfile; print(tempfile.gettempdir())"
        assert subprocess.check_output([sys.executable, "-c", child], text=True).strip() == str(folder)
        assert cache_folder() == cache
        assert remove_abandoned() == 0
        assert made.is_dir()
    assert list(temporary_base.iterdir()) == []
    assert tempfile.gettempdir() == str(temporary_base)
    assert "RNNPIPE_CACHE" not in os.environ


def test_what_a_killed_command_has_left_is_removed_and_nothing_else(temporary_base):
    (temporary_base / "beam-pipeline-tempabc").mkdir()  # somebody else's
    (temporary_base / "rnnpipe-command-foreign").mkdir()  # without a lock nobody knows whose it is
    work = "import tempfile, time; from pipeline.temporary import temporary_folder\n"
    work += "with temporary_folder() as folder:\n"
    work += "    tempfile.mkdtemp(prefix='beam-pipeline-temp'); print(folder, flush=True); time.sleep(600)"
    alive, killed = (
        python(work, stdout=subprocess.PIPE, text=True, env={"TMPDIR": str(temporary_base)}) for _ in range(2)
    )
    folders = [Path(process.stdout.readline().strip()) for process in (alive, killed)]
    killed.kill()
    killed.wait()
    assert all(list(folder.glob("beam-pipeline-temp*")) for folder in folders)
    with temporary_folder():
        assert [folder.exists() for folder in folders] == [True, False]
    alive.kill()
    alive.wait()
    assert remove_abandoned() == 1
    assert remove_abandoned() == 0
    assert sorted(os.listdir(temporary_base)) == ["beam-pipeline-tempabc", "rnnpipe-command-foreign"]


def test_clean_removes_what_killed_commands_have_left(temporary_base, tmp_path):
    left = temporary_base / f"{temporary._PREFIX}left"
    left.mkdir()
    (left / temporary._LOCK).touch()
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", "clean", "--root", tmp_path / "runs"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        env={**os.environ, "TMPDIR": str(temporary_base)},
        check=False,
    )
    assert "deleted the temporary files of 1 commands that were killed" in done.stdout
    assert not left.exists()
