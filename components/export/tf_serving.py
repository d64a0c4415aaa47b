"""TensorFlow Serving on this machine: whether it is there, and how it is started."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Literal

Kind = Literal["binary", "docker"]

BINARY = "tensorflow_model_server"


def image() -> str:
    """The docker image; the environment variable TF_SERVING_VERSION names another tag than `latest`."""
    return f"tensorflow/serving:{os.environ.get('TF_SERVING_VERSION', 'latest')}"


def has_binary() -> bool:
    """Whether the server is on the path."""
    return shutil.which(BINARY) is not None


def docker_problem() -> str:
    """Why docker cannot serve here, as `there is no docker`; empty if its daemon answers."""
    if shutil.which("docker") is None:
        return "there is no docker"
    return "" if succeeds("docker", "info") else "docker is installed, without a daemon that answers"


def has_image() -> bool:
    """Whether docker has the server's image already."""
    return succeeds("docker", "image", "inspect", image())


def start_command(kind: Kind, base: Path, port: int, rest_port: int) -> list[str]:
    """The command that serves a model on 127.0.0.1, the binary on all interfaces, until it is ended.

    Args:
        kind: the binary or docker.
        base: the directory of the model's versions; its name is the model's.
        port: of the gRPC interface.
        rest_port: of the REST interface.
    """
    name = base.name
    if kind == "binary":
        served = [f"--model_name={name}", f"--model_base_path={base.absolute()}"]
        return [BINARY, *served, f"--port={port}", f"--rest_api_port={rest_port}"]
    published = ["-p", f"127.0.0.1:{port}:8500", "-p", f"127.0.0.1:{rest_port}:8501"]
    mounted = ["-v", f"{base.absolute()}:/models/{name}:ro", "-e", f"MODEL_NAME={name}"]
    # As its first process the image has a shell, which would not pass a signal on.
    return ["docker", "run", "--rm", "--init", *published, *mounted, image()]


def succeeds(*command: str) -> bool:
    """Whether a command ends well within 20 seconds."""
    try:
        return subprocess.run(command, capture_output=True, timeout=20, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False
