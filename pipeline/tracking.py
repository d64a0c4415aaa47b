"""Runs in MLflow, without ever holding a run up.

All calls are made in order by one background thread, through MlflowClient and with the run's id (the fluent
functions go by one active run a thread). While MLflow is away the calls wait; what has not arrived when the
run is over is named, and can be sent later: pipeline/track.py.
"""

from __future__ import annotations

import json
import math
import numbers
import re
import sqlite3
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from components.errors import UserError
from components.events import EpochFinished, Event, StageFinished
from components.export.push import amend_note, latest_version, read_note
from pipeline.delivery import Delivery
from pipeline.mlflow_client import (
    absolute_uri,
    database_path,
    one_line,
    open_client,
    quiet_mlflow,
    without_password,
)
from pipeline.stage_logs import DatasetFacts, is_logged, stage_log
from pipeline.system_metrics import SystemMetrics

Scalar = str | int | float | bool | None
Status = Literal["FINISHED", "FAILED", "KILLED"]

# MLflow's limits.
_PARAMETER_LENGTH, _TAG_LENGTH, _NAME_LENGTH, _BATCH = 6000, 8000, 250, 100


_SAMPLES = "system metrics"


class Tracker:
    """One pipeline run as one MLflow run; an events listener.

    Args:
        uri: where MLflow keeps its runs: sqlite:///mlflow.db or a server's address. A relative database path
            is meant from the working directory of this moment.
        experiment: made if it does not exist. Next to a SQLite database its artifacts go to
            mlartifacts/<experiment>.
        run_name: what people call the run; also what `rnnpipe track` takes.
        run_id: the run in MLflow, of which something is missing there; None makes a new one.
        watch: whether the machine's own metrics are sent, too.
    """

    def __init__(
        self, uri: str, experiment: str, run_name: str, run_id: str | None = None, watch: bool = True
    ) -> None:
        self.run_id = run_id
        """MLflow's name of the run, once it has arrived."""
        self.missing: list[str] = []
        """What had not arrived when the run was over, and can be sent later."""
        self._database = database_path(uri)
        self._uri = absolute_uri(uri)
        self._experiment = experiment
        self._experiment_id = ""
        self._run_name = run_name
        self._epochs_sent: set[int] = set()
        self._samples = 0
        self._delivery = Delivery(_passing)
        self._machine = SystemMetrics(self._put_sample) if watch else None

    @property
    def url(self) -> str | None:
        """The run's page, if MLflow is a server and the run has arrived there."""
        if self.run_id is None or not self._uri.startswith(("http://", "https://")):
            return None
        return f"{self._uri.rstrip('/')}/#/experiments/{self._experiment_id}/runs/{self.run_id}"

    def start(
        self,
        params: Mapping[str, Scalar],
        tags: Mapping[str, str],
        config_text: str,
        began: float | None = None,
    ) -> None:
        """Makes the run.

        Args:
            params: the configuration, flat.
            tags: whatever else tells the run from others.
            config_text: the configuration as the user would write it, kept as pipeline.yaml.
            began: when the run began, in seconds since 1970. Default: now.
        """
        # Not in the thread: two threads that import large packages at once may meet half-made modules.
        quiet_mlflow()
        start = _now() if began is None else int(1000 * began)
        self._delivery.put("the run", lambda: self._create(start, tags))
        self._delivery.put("its parameters", lambda: self._log(params=params))
        self._delivery.put(
            "pipeline.yaml", lambda: self._client.log_text(self._run, config_text, "pipeline.yaml")
        )
        if self._machine:
            self._machine.start()

    def __call__(self, event: Event) -> None:
        """Notes an epoch's or a stage's end."""
        if isinstance(event, EpochFinished):
            now, epoch = _now(), {"epoch": event.epoch, **event.metrics, "seconds": event.seconds}
            self._delivery.put(f"epoch {event.epoch}", lambda: self._log_epochs([epoch], now))
        elif isinstance(event, StageFinished):
            self.stage(event.stage, event.directory, event.seconds)

    def stage(self, stage: str, directory: str, seconds: float | None) -> None:
        """Notes an artifact; what it holds is logged whether this run made it or reused it.

        Args:
            stage: which one.
            directory: its artifact.
            seconds: how long the stage took; None if an earlier run made it.
        """
        if not is_logged(stage):
            return
        now = _now()
        self._delivery.put(stage, lambda: self._log_stage(stage, Path(directory), seconds, now))

    def judged(self, blessing: Mapping[str, Any]) -> None:
        """Notes the verdict.

        Args:
            blessing: a Blessing as JSON has it.
        """
        tags = {
            "blessed": str(blessing["blessed"]).lower(),
            "blessing": "; ".join(blessing["reasons"]),
            "champion": blessing["champion"],
        }
        text = json.dumps(blessing, ensure_ascii=False, indent=1)
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

    def register(self, served: Path, saved_model: Path, example: str) -> None:
        """Makes a model the champion; it is logged and registered first, unless a version of it is there.

        Args:
            served: the directory of the version that is served, whose parent has the model's name.
            saved_model: the same model's directory among the artifacts.
            example: a text to ask it.
        """
        self._delivery.put("the champion", lambda: self._register(served, saved_model, example))

    def _register(self, served: Path, saved_model: Path, example: str) -> None:
        from pipeline.registry import KEY, MODEL, crown, log_model, register, registered

        base, version = served.parent, int(served.name)
        note = read_note(base, version)
        if note is None:
            return  # it has been removed since
        found = registered(self._client, base.name, note.key)
        if found is None:
            model_id = log_model(self._client, self._run, base.name, saved_model, example)
            tags = {KEY: note.key, MODEL: note.model}
            found = register(self._client, base.name, tags, model_id, self._run)
        if version == latest_version(base):  # another model may have followed
            crown(self._client, base.name, found.version)
        amend_note(base, version, registered=True)

    def finish(
        self, status: Status, message: str = "", timeout: float = 30.0, ended: float | None = None
    ) -> list[str]:
        """Ends the run, and waits until everything has arrived.

        Args:
            status: how the pipeline run ended.
            message: why, if it did not end well.
            timeout: seconds to wait at most.
            ended: when the run ended, in seconds since 1970. Default: now.

        Returns:
            What the user should know: nothing, or one sentence that names what did not arrive.
        """
        if self._machine:
            self._machine.stop()
        end = _now() if ended is None else int(1000 * ended)
        if message:
            self._delivery.put("the message", lambda: self._log(tags={"message": message}))
        self._delivery.put("the end", lambda: self._client.set_terminated(self._run, status, end))
        missing = list(dict.fromkeys(self._delivery.close(timeout)))
        self.missing = [each for each in missing if each != _SAMPLES]  # which nobody keeps
        if not missing:
            return []
        return [
            f"MLflow at {without_password(self._uri)} did not get {', '.join(missing)}: "
            f"{one_line(self._delivery.error) or f'no answer in {timeout:g} s'}. The artifacts are complete: "
            f"`rnnpipe track {self._run_name}` sends it later."
        ]

    @property
    def _run(self) -> str:
        assert self.run_id is not None
        return self.run_id

    def _create(self, began: int, tags: Mapping[str, str]) -> None:
        self._client = open_client(self._uri)
        if self.run_id:
            self._experiment_id = self._client.get_run(self.run_id).info.experiment_id
            arrived = self._client.get_metric_history(self.run_id, "epoch_seconds")
            self._epochs_sent = {metric.step for metric in arrived}
            return
        self._experiment_id = self._find_experiment()
        run = self._client.create_run(self._experiment_id, began, dict(tags), self._run_name)
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

    def _log_stage(self, stage: str, directory: Path, seconds: float | None, now: int) -> None:
        log = stage_log(stage, directory)
        metrics = log.metrics | ({} if seconds is None else {f"seconds.{stage}": seconds})
        tags = log.tags | {f"stage.{stage}": "reused" if seconds is None else "ran"}
        self._log_epochs(log.epochs, now)
        self._log(metrics=metrics, tags=tags, now=now)
        if log.datasets:
            self._log_datasets(log.datasets)
        for file in log.files:
            self._client.log_artifact(self._run, str(file), stage)
        if log.pictures:
            self._client.log_artifacts(self._run, str(log.pictures), log.pictures.name)

    def _log_epochs(self, epochs: Sequence[Mapping[str, Any]], now: int) -> None:
        """Logs the epochs that are not in MLflow yet."""
        for epoch in epochs:
            if epoch["epoch"] in self._epochs_sent:
                continue
            metrics = {"epoch_seconds" if name == "seconds" else name: value for name, value in epoch.items()}
            self._log(metrics, step=metrics.pop("epoch"), now=now)
            self._epochs_sent.add(epoch["epoch"])

    def _log_datasets(self, datasets: Sequence[DatasetFacts]) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        inputs = [
            DatasetInput(
                Dataset(
                    name=f"{self._experiment}-{each.context}",
                    digest=each.digest,
                    source_type="local",
                    source=json.dumps({"uri": each.source}),
                    profile=json.dumps({"num_rows": each.examples}),
                ),
                [InputTag("mlflow.data.context", each.context)],
            )
            for each in datasets
        ]
        self._client.log_inputs(self._run, inputs)

    def _put_sample(self, sample: dict[str, float]) -> None:
        now = _now()
        self._samples += 1
        step = self._samples
        self._delivery.put(_SAMPLES, lambda: self._log(metrics=sample, step=step, now=now))

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
            "metrics": [
                Metric(key if key.startswith("system/") else _name(key), float(value), now, step)
                for key, value in numbers_only.items()
            ],
            "params": [Param(_name(key), str(value)[:_PARAMETER_LENGTH]) for key, value in params.items()],
            "tags": [RunTag(_name(key), value[:_TAG_LENGTH]) for key, value in tags.items()],
        }
        for kind, values in entities.items():
            for start in range(0, len(values), _BATCH):
                batch = {kind: values[start : start + _BATCH]}
                self._client.log_batch(self._run, **batch, synchronous=True)


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


def _name(text: str) -> str:
    cleaned = re.sub(r"[^\w.\- :]", "_", text)[:_NAME_LENGTH]
    return cleaned if cleaned.strip(".") else f"_{cleaned}"


def _is_finite(value: Any) -> bool:
    return isinstance(value, numbers.Real) and math.isfinite(value)


def _now() -> int:
    return time.time_ns() // 1_000_000
