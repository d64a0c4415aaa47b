"""A cluster on 127.0.0.1: an engine, a pool of workers, and MLflow, each a process that a test may kill."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import grpc
import psutil
from apache_beam.portability.api import beam_job_api_pb2 as api
from apache_beam.portability.api import beam_job_api_pb2_grpc as services
from remote.servers import free_port, needed
from worker_environment import WorkerEnvironment

_SECONDS = 300.0  # until a server must listen, or a worker be in a stage

_START_WORKER = """\
#!/bin/sh
# Beam's start program unpacks what is staged into one folder of the machine unless it is told otherwise.
exec {program} --semi_persist_dir="$(mktemp -d)" "$@"
"""


class Prism:
    """Beam's portable engine.

    Args:
        folder: of its log.
    """

    def __init__(self, folder):
        self._program = needed("prism")
        self._port, self._log = free_port(), folder / "prism.log"
        self._process = None

    @property
    def endpoint(self):
        """Where it takes jobs."""
        return f"localhost:{self._port}"

    def start(self):
        command = [self._program, "-job_port", str(self._port), "-serve_http=false", "-log_kind", "text"]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        wait_for(lambda: _listens(self._port), self._log)

    def jobs(self):
        """The states of its jobs, by their names and ids."""
        with grpc.insecure_channel(self.endpoint) as channel:
            jobs = services.JobServiceStub(channel).GetJobs(api.GetJobsRequest(), timeout=10).job_info
        return {(job.job_name, job.job_id): api.JobState.Enum.Name(job.state) for job in jobs}

    def kill(self):
        """As by kill -9."""
        self._process.kill()
        self._process.wait()

    stop = kill


class WorkerPool:
    """Starts workers where an engine asks for them.

    Args:
        environment: of the workers.
        program: Beam's start program of workers.
        variables: of their processes, too, such as where their object store is.
        folder: of its log.
    """

    def __init__(self, environment: WorkerEnvironment, program, variables, folder: Path):
        self.environment = environment
        self._variables = variables
        self._port, self._log = free_port(), folder / "workers.log"
        self._process = None
        # The user may not see where it is installed.
        copy = Path(shutil.copy(program, environment.folder / "container"))
        self._starter = environment.folder / "start_worker"
        self._starter.write_text(_START_WORKER.format(program=copy))
        for path in (copy, self._starter):
            path.chmod(0o755)
        plugin = shutil.copy(Path(__file__).with_name("holding.py"), environment.packages)
        Path(plugin).chmod(0o644)

    @property
    def options(self):
        """Those of a runner whose workers it starts."""
        return {
            "environment_type": "EXTERNAL",
            "environment_config": f"localhost:{self._port}",
            "beam_plugins": ["holding"],
        }

    @contextlib.contextmanager
    def holding(self, stage):
        """Has workers wait in a stage until the block ends; gives what waits for one, and returns its pid."""
        home = self.environment.folder / "home"
        hold, held = home / "hold", home / "held"
        held.unlink(missing_ok=True)
        hold.write_text(stage)
        try:
            yield lambda: wait_for(lambda: held.exists() and int(held.read_text()), self._log)
        finally:
            hold.unlink()
            held.unlink(missing_ok=True)

    def start(self):
        command = [self.environment.python, "-m", "apache_beam.runners.worker.worker_pool_main"]
        command += [f"--service_port={self._port}", f"--container_executable={self._starter}"]
        self._process = self.environment.start(command, self._log, **self._variables)
        wait_for(lambda: _listens(self._port), self._log)

    def stop(self):
        """Ends it and its workers."""
        below = psutil.Process(self._process.pid).children(recursive=True)
        self._process.send_signal(signal.SIGINT)  # it then ends its workers
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for process in below:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue


class Mlflow:
    """An MLflow tracking server.

    Args:
        folder: of its database, its files and its log.
    """

    def __init__(self, folder):
        self._folder = folder
        self._port, self._log = free_port(), folder / "mlflow.log"
        self._process = None

    @property
    def uri(self):
        """Where it is."""
        return f"http://127.0.0.1:{self._port}"

    def start(self):
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self._port)]
        command += ["--backend-store-uri", f"sqlite:///{self._folder}/server.db", "--workers", "1"]
        command += ["--artifacts-destination", str(self._folder / "files")]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        wait_for(self._answers, self._log)

    def stop(self):
        self._process.terminate()
        self._process.wait(30)

    def _answers(self):
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=5) as answer:
                return answer.status == 200
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False


def wait_for(holds, log=None, seconds=_SECONDS):
    """Waits until something holds; fails with what a log says where it does not come to hold."""
    deadline = time.monotonic() + seconds
    while not (value := holds()):
        if time.monotonic() > deadline:
            said = log.read_text(errors="replace")[-4000:] if log else ""
            raise AssertionError(f"waited for {seconds:.0f} s in vain\n{said}")
        time.sleep(0.1)
    return value


def _listens(port):
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def is_alive(pid):
    """Whether a process is there, of any user."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
