"""Serves a model on this machine by what can: TensorFlow Serving, or MLflow's server of pyfunc models."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from components import files
from components.errors import UserError
from components.export.tf_serving import BINARY, docker_problem, has_binary, start_command
from components.processes import owned_process
from pipeline.ports import check_port
from pipeline.serving.versions import local_copy, versions


@dataclass(frozen=True)
class Serving:
    """A server that is ready to be started.

    Args:
        server: which one.
        why: why this one, for people.
        command: what starts it.
        address: where it answers.
        example: a command that asks it.
        environment: what it needs beside this process's environment.
    """

    server: str
    why: str
    command: list[str]
    address: str
    example: str
    environment: dict[str, str] = field(default_factory=dict)


def choose_server(wanted: str | None = None) -> tuple[str, str]:
    """Finds what can serve here: the binary, else docker, else MLflow.

    Args:
        wanted: the one to use; None for the first that is there.

    Returns:
        Which one, and why.

    Raises:
        UserError: if the wanted one is not there.
    """
    no_binary = "" if has_binary() else f"there is no {BINARY} on the path"
    problems = {"binary": no_binary, "docker": docker_problem(), "mlflow": ""}
    if wanted:
        if problem := problems[wanted]:
            names = ", ".join(name for name, problem in problems.items() if not problem)
            raise UserError(f"received --with {wanted}, but {problem}; expected one of {names}.")
        return wanted, "as asked for"
    if not no_binary:
        return "binary", f"{BINARY} is on the path (it listens on all interfaces)"
    if not problems["docker"]:
        return "docker", f"{no_binary}, but docker"
    return "mlflow", f"{no_binary}, and {problems['docker']}"


@contextmanager
def serving(
    base: str | os.PathLike[str], port: int = 8501, grpc_port: int = 8500, wanted: str | None = None
) -> Iterator[Serving]:
    """Prepares a server for a model; what it needs is removed afterwards.

    Args:
        base: the directory of the model's versions, such as serving/dates.
        port: of its HTTP interface, on 127.0.0.1.
        grpc_port: of TensorFlow Serving's gRPC interface.
        wanted: which server; None for the first that is there.

    Raises:
        UserError: if there is no version, it is not on this machine, the newest is damaged, there is no
            such server, or a port is taken.
    """
    place = files.resolve(base)
    if not files.is_local(place):
        raise UserError(
            f"{base} is not on a disk of this machine, where servers read models from; pull it first: "
            f"rnnpipe pull {base} served, then rnnpipe serve {place.name} --directory served."
        )
    existing = versions(place)
    if not existing:
        raise UserError(
            f"{base} holds no version of a model; expected the directory that models are pushed to, such as "
            "serving/<name>: give the name, or --directory."
        )
    newest = local_copy(existing[max(existing)])
    server, why = choose_server(wanted)
    check_port(port, "--port", "0.0.0.0" if server == "binary" else "127.0.0.1")
    if server != "mlflow":
        check_port(grpc_port, "--grpc-port", "0.0.0.0" if server == "binary" else "127.0.0.1")
    directory = files.local(place)
    if server == "mlflow":
        with tempfile.TemporaryDirectory(prefix="rnnpipe-serve-") as folder:
            yield _mlflow(directory, newest, Path(folder), port, why)
        return
    name, body = place.name, '{"instances": ["your text"]}'
    address = f"http://127.0.0.1:{port}/v1/models/{name}"
    example = f"curl -d '{body}' {address}:predict"
    command = start_command("binary" if server == "binary" else "docker", directory, grpc_port, port)
    yield Serving(server, why, command, address, example)


def _mlflow(base: Path, newest: Path, folder: Path, port: int, why: str) -> Serving:
    """MLflow's server on a pyfunc model that looks for newer versions by itself."""
    from pipeline.tracking.mlflow_client import quiet_mlflow
    from pipeline.tracking.registry import save_pyfunc

    quiet_mlflow()
    shutil.copytree(newest, folder / "model")  # MLflow goes by the directory's name
    save_pyfunc(folder / "pyfunc", folder / "model", "your text")
    command = [sys.executable, "-m", "mlflow", "models", "serve", "--model-uri", str(folder / "pyfunc")]
    command += ["--env-manager", "local", "--host", "127.0.0.1", "--port", str(port)]
    address = f"http://127.0.0.1:{port}/invocations"
    body = '{"dataframe_records": [{"text": "your text"}]}'
    example = f"curl -H 'Content-Type: application/json' -d '{body}' {address}"
    # MLflow starts uvicorn by its name; it is beside Python, which need not be on the path.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    environment = {"RNNPIPE_WATCH": str(base.absolute()), "PATH": path}
    return Serving("mlflow", why, command, address, example, environment)


def run_server(ready: Serving) -> int:
    """Starts a server and waits for its end; see `run_until_ended`."""
    return run_until_ended(ready.command, ready.environment)


def run_until_ended(command: Sequence[str], environment: Mapping[str, str] | None = None) -> int:
    """Runs a program that serves; Ctrl-C, SIGTERM and SIGHUP end it, with all its processes.

    Args:
        command: what starts it.
        environment: what it needs beside this process's environment.

    Returns:
        Its exit code; 0 if it was ended.
    """
    for asked in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(asked, signal.default_int_handler)
    try:
        with owned_process(command, environment) as process:
            return process.wait()
    except KeyboardInterrupt:
        return 0
