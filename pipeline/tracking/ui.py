"""MLflow's user interface, opened on an experiment."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import webbrowser

from pipeline.ports import check_port
from pipeline.serving.server import run_until_ended
from pipeline.tracking.mlflow_client import ui_command

_WAITED = 120.0  # seconds that the server has to answer
_PAUSE = 0.25


def show_ui(uri: str, experiment: str, port: int, browser: bool | None = None) -> int:
    """Starts MLflow's server, and says where the experiment is as soon as that answers; Ctrl-C ends it.

    Args:
        uri: where MLflow keeps its runs.
        experiment: its name.
        port: to listen on, on 127.0.0.1.
        browser: whether the page is opened there; None: from a terminal on a desktop.

    Returns:
        The exit code.

    Raises:
        UserError: if there is nothing to show, a server shows it already, or the port is taken.
    """
    command, environment = ui_command(uri, port=port)
    check_port(port, "--port")
    print("MLflow is starting (Ctrl-C ends it)", flush=True)
    wanted = _on_a_desktop() if browser is None else browser
    threading.Thread(target=_tell, args=(port, experiment, wanted), daemon=True, name="ui").start()
    return run_until_ended(command, environment)


def experiment_url(port: int, experiment: str, seconds: float = _WAITED) -> str:
    """Waits until a server answers.

    Args:
        port: on 127.0.0.1.
        experiment: its name.
        seconds: how long to wait.

    Returns:
        Where the experiment's runs are shown, or the server's home if it does not know the experiment; empty
        if nobody answers.
    """
    home = f"http://127.0.0.1:{port}"
    asked = urllib.parse.urlencode({"experiment_name": experiment})
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            with urllib.request.urlopen(
                f"{home}/api/2.0/mlflow/experiments/get-by-name?{asked}", timeout=10
            ) as answer:
                number = json.load(answer)["experiment"]["experiment_id"]
                return f"{home}/#/experiments/{number}/runs"
        except urllib.error.HTTPError:
            return home
        except OSError:
            time.sleep(_PAUSE)
    return ""


def _tell(port: int, experiment: str, browser: bool) -> None:
    url = experiment_url(port, experiment)
    print(f"{experiment}: {url}" if url else f"MLflow has not answered for {_WAITED:.0f} s", flush=True)
    if url and browser:
        webbrowser.open(url)


def _on_a_desktop() -> bool:
    """Whether a browser would be a window, and there is somebody to see it."""
    desktop = sys.platform in ("darwin", "win32") or any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY")))
    return desktop and sys.stdout.isatty()
