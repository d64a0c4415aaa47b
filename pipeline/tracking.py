"""Runs in MLflow, without ever holding a run up.

All calls are made in order by one background thread, through MlflowClient and with the run's id (the fluent
functions go by one active run a thread). While MLflow is away the calls wait; what has not arrived when the
run is over is named, and nothing else comes of it.
"""

from __future__ import annotations

import contextlib
import json
import math
import numbers
import re
import sqlite3
import subprocess
import sys
import time
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from components.errors import UserError
from components.evaluate.verdict import Blessing
from components.events import EpochFinished, Event, StageFinished
from pipeline.delivery import Delivery
from pipeline.mlflow_client import (
    absolute_uri,
    database_path,
    one_line,
    open_client,
    quiet_mlflow,
    without_password,
)

Scalar = str | int | float | bool | None
Status = Literal["FINISHED", "FAILED", "KILLED"]

# MLflow's limits.
_PARAMETER_LENGTH, _TAG_LENGTH, _NAME_LENGTH, _BATCH = 6000, 8000, 250, 100

_FILES = {
    "ingest": ("statistics.json",),
    "tokenize": ("statistics.json",),
    "train": ("history.json",),
    "evaluate": ("metrics.json", "predictions.jsonl"),
    "export": ("validation.json",),
}


class Tracker:
    """One pipeline run as one MLflow run; an events listener.

    Args:
        uri: where MLflow keeps its runs: sqlite:///mlflow.db or a server's address. A relative database path
            is meant from the working directory of this moment.
        experiment: made if it does not exist. Next to a SQLite database its artifacts go to
            mlartifacts/<experiment>.
        run_name: what people call the run.
    """

    def __init__(self, uri: str, experiment: str, run_name: str) -> None:
        self.run_id: str | None = None
        """MLflow's name of the run, once it has arrived."""
        self._database = database_path(uri)
        self._uri = absolute_uri(uri)
        self._experiment = experiment
        self._experiment_id = ""
        self._run_name = run_name
        self._epochs_sent: set[int] = set()
        self._delivery = Delivery(_passing)

    @property
    def url(self) -> str | None:
        """The run's page, if MLflow is a server and the run has arrived there."""
        if self.run_id is None or not self._uri.startswith(("http://", "https://")):
            return None
        return f"{self._uri.rstrip('/')}/#/experiments/{self._experiment_id}/runs/{self.run_id}"

    def start(self, params: Mapping[str, Scalar], tags: Mapping[str, str], config_text: str) -> None:
        """Makes the run.

        Args:
            params: the configuration, flat.
            tags: whatever else tells the run from others; the code's version is added.
            config_text: the configuration as the user would write it, kept as pipeline.yaml.
        """
        # Not in the thread: two threads that import large packages at once may meet half-made modules.
        quiet_mlflow()
        began = _now()
        self._delivery.put("the run", lambda: self._create(began, tags))
        self._delivery.put("its parameters", lambda: self._log(params=params))
        self._delivery.put(
            "pipeline.yaml", lambda: self._client.log_text(self._run, config_text, "pipeline.yaml")
        )

    def __call__(self, event: Event) -> None:
        """Notes an epoch's or a stage's end."""
        if isinstance(event, EpochFinished):
            now, metrics = _now(), {**event.metrics, "seconds": event.seconds}
            self._epochs_sent.add(event.epoch)
            self._delivery.put(
                f"epoch {event.epoch}", lambda: self._log_epoch({"epoch": event.epoch, **metrics}, now)
            )
        elif isinstance(event, StageFinished) and event.stage in _FILES:
            self._put_stage(event.stage, event.directory, event.seconds)

    def reused(self, stage: str, directory: str) -> None:
        """Notes a stage whose artifact was made by an earlier run; what it holds is logged all the same.

        Args:
            stage: which one.
            directory: its artifact.
        """
        self._put_stage(stage, directory, None)

    def judged(self, blessing: Blessing) -> None:
        """Notes the verdict.

        Args:
            blessing: whether the model may be served, and why.
        """
        tags = {
            "blessed": str(blessing.blessed).lower(),
            "blessing": "; ".join(blessing.reasons),
            "champion": blessing.champion,
        }
        text = json.dumps(blessing.as_json(), ensure_ascii=False, indent=1)
        self._delivery.put("the verdict", lambda: self._log(tags={k: v for k, v in tags.items() if v}))
        self._delivery.put(
            "blessing.json", lambda: self._client.log_text(self._run, text, "evaluate/blessing.json")
        )

    def card(self, page: str) -> None:
        """Keeps the run's page with it.

        Args:
            page: HTML.
        """
        self._delivery.put("card.html", lambda: self._client.log_text(self._run, page, "card.html"))

    def register(self, name: str, key: str, saved_model: Path, example: str) -> None:
        """Makes a model the champion; it is logged and registered first, unless a version of it is there.

        Args:
            name: of the registered model.
            key: of the export artifact.
            saved_model: its directory.
            example: a text to ask it.
        """
        self._delivery.put("the champion", lambda: self._register(name, key, saved_model, example))

    def _register(self, name: str, key: str, saved_model: Path, example: str) -> None:
        from pipeline.registry import crown, log_model, register, registered

        found = registered(self._client, name, key)
        if found is None:
            model_id = log_model(self._client, self._run, name, saved_model, example)
            found = register(self._client, name, key, model_id, self._run)
        crown(self._client, name, found.version)

    def finish(self, status: Status, message: str = "", timeout: float = 30.0) -> list[str]:
        """Ends the run, and waits until everything has arrived.

        Args:
            status: how the pipeline run ended.
            message: why, if it did not end well.
            timeout: seconds to wait at most.

        Returns:
            What the user should know: nothing, or one sentence that names what did not arrive.
        """
        ended = _now()
        if message:
            self._delivery.put("the message", lambda: self._log(tags={"message": message}))
        self._delivery.put("the end", lambda: self._client.set_terminated(self._run, status, ended))
        missing = self._delivery.close(timeout)
        if not missing:
            return []
        return [
            f"MLflow at {without_password(self._uri)} did not get {', '.join(missing)}: "
            f"{one_line(self._delivery.error) or f'no answer in {timeout:g} s'}. The artifacts are complete "
            "all the same: `--force export` makes a run that sends everything."
        ]

    @property
    def _run(self) -> str:
        assert self.run_id is not None
        return self.run_id

    def _create(self, began: int, tags: Mapping[str, str]) -> None:
        self._client = open_client(self._uri)
        self._experiment_id = self._find_experiment()
        run = self._client.create_run(self._experiment_id, began, {**tags, **code_version()}, self._run_name)
        self.run_id = run.info.run_id

    def _find_experiment(self) -> str:
        from mlflow.exceptions import MlflowException

        found = self._client.get_experiment_by_name(self._experiment)
        if found is None:
            try:
                return self._client.create_experiment(self._experiment, self._artifact_location())
            except MlflowException:  # somebody else was quicker
                found = self._client.get_experiment_by_name(self._experiment)
                if found is None:
                    raise
        if found.lifecycle_stage == "deleted":
            raise ValueError(
                f"the experiment {self._experiment!r} is deleted; restore it with "
                f"`mlflow experiments restore -x {found.experiment_id}`, or change tracking.experiment"
            )
        return found.experiment_id

    def _artifact_location(self) -> str | None:
        if self._database is None:
            return None  # the server knows
        return (self._database.parent / "mlartifacts" / _name(self._experiment)).as_uri()

    def _put_stage(self, stage: str, directory: str, seconds: float | None) -> None:
        now = _now()
        self._delivery.put(stage, lambda: self._log_stage(stage, Path(directory), seconds, now))

    def _log_stage(self, stage: str, directory: Path, seconds: float | None, now: int) -> None:
        metrics = {} if seconds is None else {f"seconds.{stage}": seconds}
        tags = {
            f"stage.{stage}": "reused" if seconds is None else "ran",
            f"key.{stage}": _read(directory / "artifact.json")["key"],
        }
        if stage == "train":
            history = _read(directory / "history.json")
            metrics["best_epoch"] = history["best_epoch"]
            for epoch in history["epochs"]:
                if epoch["epoch"] not in self._epochs_sent:
                    self._log_epoch(epoch, now)
        elif stage == "evaluate":
            report = _read(directory / "metrics.json")
            metrics |= {f"{report['split']}.{name}": value for name, value in report["metrics"].items()}
            for name, (low, high) in report["intervals"].items():
                metrics |= {f"{report['split']}.{name}.low": low, f"{report['split']}.{name}.high": high}
        elif stage == "export":
            metrics |= _costs(directory)
        self._log(metrics=metrics, tags=tags, now=now)
        for file in _FILES[stage]:
            self._client.log_artifact(self._run, str(directory / file), stage)
        if stage == "evaluate":
            self._client.log_artifacts(self._run, str(directory / "plots"), "plots")

    def _log_epoch(self, epoch: Mapping[str, Any], now: int) -> None:
        metrics = {"epoch_seconds" if name == "seconds" else name: value for name, value in epoch.items()}
        self._log(metrics, step=metrics.pop("epoch"), now=now)

    def _log(
        self,
        metrics: Mapping[str, Any] = {},
        params: Mapping[str, Scalar] = {},
        tags: Mapping[str, str] = {},
        step: int = 0,
        now: int = 0,
    ) -> None:
        from mlflow.entities import Metric, Param, RunTag

        numbers_only = {name: value for name, value in metrics.items() if _is_finite(value)}
        entities: dict[str, list[Any]] = {
            "metrics": [Metric(_name(key), float(value), now, step) for key, value in numbers_only.items()],
            "params": [Param(_name(key), str(value)[:_PARAMETER_LENGTH]) for key, value in params.items()],
            "tags": [RunTag(_name(key), value[:_TAG_LENGTH]) for key, value in tags.items()],
        }
        for kind, values in entities.items():
            for start in range(0, len(values), _BATCH):
                batch = {kind: values[start : start + _BATCH]}
                self._client.log_batch(self._run, **batch, synchronous=True)


def _costs(exported: Path) -> dict[str, float]:
    """Size and latency of a SavedModel, as its validation measured them."""
    found: dict[str, float] = {"model.bytes": _read(exported / "artifact.json")["summary"].get("bytes", 0)}
    for size, measured in _read(exported / "validation.json").get("latency_milliseconds", {}).items():
        found |= {f"latency.batch_{size}.{name}_ms": measured[name] for name in ("p50", "p99")}
    return found


def ui_command(uri: str, host: str = "127.0.0.1", port: int = 5000) -> list[str]:
    """Returns the command that shows the runs in a browser.

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
            f"{database} does not exist; expected the database of earlier runs (tracking.uri: {uri}), which "
            "the first `rnnpipe run` makes."
        )
    store = f"sqlite:///{database}" if database else uri
    options = ["--backend-store-uri", store, "--host", host, "--port", str(port)]
    return [sys.executable, "-m", "mlflow", "ui", *options]


def code_version() -> dict[str, str]:
    """Returns tags for the version of this code: the package's, and the commit if it runs from a checkout."""
    tags = {}
    with contextlib.suppress(PackageNotFoundError):
        tags["rnnpipe.version"] = version("rnnpipe")
    # An installed copy may lie in an environment inside somebody else's checkout.
    if _git("ls-files", "--error-unmatch", Path(__file__).name):
        commit = _git("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
        tags["mlflow.source.git.commit"] = commit.removesuffix("-dirty")
        tags["git.dirty"] = str(commit.endswith("-dirty")).lower()
    return tags


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(Path(__file__).parent), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def _passing(error: Exception) -> bool:
    """Whether MLflow or the way to it is at fault, and not what was sent."""
    if isinstance(error, ImportError):
        return False
    from mlflow.exceptions import MlflowException

    if isinstance(error, MlflowException):
        status = error.get_http_status_code()
        return status == 429 or status >= 500
    missing = isinstance(error, FileNotFoundError | PermissionError)
    return isinstance(error, OSError | sqlite3.OperationalError) and not missing


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def _name(text: str) -> str:
    cleaned = re.sub(r"[^\w.\- :]", "_", text)[:_NAME_LENGTH]
    return cleaned if cleaned.strip(".") else f"_{cleaned}"


def _is_finite(value: Any) -> bool:
    return isinstance(value, numbers.Real) and math.isfinite(value)


def _now() -> int:
    return time.time_ns() // 1_000_000
