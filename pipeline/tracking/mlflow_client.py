"""How this package reaches MLflow: by MlflowClient, quietly, and without making anybody wait for long."""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import sys
import warnings
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from components.addresses import sqlite_address, sqlite_path
from components.errors import UserError
from components.redaction import without_password
from pipeline.tracking.database import ready

if TYPE_CHECKING:
    from mlflow import MlflowClient

# Callers try again by themselves, and need to hear soon that they must. Nothing is printed or sent elsewhere.
_ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


# What databases say, through whatever server, where two have created the same row.
_TAKEN = ("unique constraint", "duplicate key", "duplicate entry", "resource_already_exists")


class Failure(Enum):
    """What an error says of the next try."""

    UNREACHABLE = "nobody answers: nothing else can be sent now either"
    TEMPORARY = "this was answered, but cannot be taken now"
    CONFLICT = "another process has created the same thing at this moment: look again"
    PERMANENT = "this can never be sent"


def quiet_mlflow() -> None:
    """Settings that must be made before MLflow is used; it is imported, if it is there."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    with contextlib.suppress(ImportError):  # the first call that needs it says so
        import mlflow  # noqa: F401
    logging.getLogger("mlflow").setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", module="mlflow")


def absolute_uri(uri: str) -> str:
    """The tracking URI with a relative database path meant from the working directory of this moment.

    Records hold no password: one that was read there is completed by MLFLOW_TRACKING_URI, if that is the same
    address.
    """
    whole = os.environ.get("MLFLOW_TRACKING_URI", "")
    if whole != uri and without_password(whole) == uri:
        return whole
    database = database_path(uri)
    return sqlite_address(database) if database else uri


def database_path(uri: str) -> Path | None:
    """Returns the absolute path of the file behind a SQLite address; None for any other address."""
    return sqlite_path(uri)


def open_client(uri: str) -> MlflowClient:
    """Makes a client; a SQLite database is created first if it is not there.

    Raises:
        UserError: if MLflow cannot use the database.
    """
    from mlflow import MlflowClient

    with ready(database_path(uri)):
        return MlflowClient(absolute_uri(uri))


def one_line(error: Exception | None) -> str:
    """What an error says, for a sentence; what others say is shortened."""
    text = without_password(" ".join(str(error or "").split())).rstrip(".")
    if len(text) <= 300 or isinstance(error, UserError):
        return text
    return f"{text[:130]} … {text[-170:]}"  # causes stand at the end


def failure_of(error: Exception) -> Failure:
    """Whether MLflow, or the way to it, or what was sent is at fault.

    Args:
        error: of a call of MLflow's client or of its artifact stores.
    """
    if isinstance(error, ImportError):
        return Failure.PERMANENT
    import requests

    chain = (error, error.__cause__, error.__context__)  # MLflow wraps what went wrong on the way
    if any(isinstance(cause, requests.exceptions.RetryError) for cause in chain):
        return Failure.TEMPORARY  # an answer that asks to come again
    if any(words in str(error).lower() for words in _TAKEN):
        return Failure.CONFLICT
    status = _status(error)
    if status is not None:
        return Failure.TEMPORARY if status == 429 or status >= 500 else Failure.PERMANENT
    # Other errors of the system, a full disk for one, are this machine's.
    silence = (ConnectionError, TimeoutError, requests.RequestException, sqlite3.OperationalError)
    unreachable = any(isinstance(cause, silence) for cause in chain)
    return Failure.UNREACHABLE if unreachable else Failure.PERMANENT


def _status(error: Exception) -> int | None:
    """What was answered, as HTTP has it; None if nobody answered, or was asked."""
    from mlflow.exceptions import MlflowException

    response = getattr(error, "response", None)  # of requests, which brings the artifacts
    if response is not None:
        return int(response.status_code)
    if isinstance(error, MlflowException) and not isinstance(error.__cause__ or error.__context__, OSError):
        return int(error.get_http_status_code())
    return None


def ui_command(uri: str, host: str = "127.0.0.1", port: int = 5000) -> tuple[list[str], dict[str, str]]:
    """Returns the command that shows the runs in a browser, and the environment it needs.

    The address is passed in the environment: a command line is shown to everybody on the machine.

    Args:
        uri: where MLflow keeps its runs.
        host: address to listen on.
        port: port to listen on.

    Raises:
        UserError: if there is nothing to show, or a server shows it already.
    """
    if uri.startswith(("http://", "https://")):
        raise UserError(f"tracking.uri is a server already: open {without_password(uri)} in a browser.")
    database = database_path(uri)
    if database and not database.exists():
        raise UserError(
            f"{database} does not exist; expected the database of earlier runs (tracking.uri: "
            f"{without_password(uri)}), which the first `rnnpipe run` makes."
        )
    with ready(database):  # MLflow's server would try an unfinished one for minutes
        pass
    command = [sys.executable, "-m", "mlflow", "ui", "--host", host, "--port", str(port)]
    return command, {"MLFLOW_BACKEND_STORE_URI": absolute_uri(uri)}
