"""Runs in MLflow, without ever holding a run up.

A pipeline run is a parent run with a trial: one configuration that is trained and measured. What training and
evaluation say goes to the trial at once; the parent takes it over at the end, so that pipeline runs compare
where MLflow shows parents only.

All calls are made by one background thread, through MlflowClient and with the run's id (the fluent functions
go by one active run a thread), in their order but for what MLflow cannot take at once. While it is away the
calls wait; what has not arrived when the run is over is named, and can be sent later: pipeline/track.py.
"""

from __future__ import annotations

import contextlib
import json
import math
import numbers
import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from components.events import EpochFinished, Event, StageFinished
from pipeline.tracking.delivery import Delivery
from pipeline.tracking.mlflow_client import (
    absolute_uri,
    database_path,
    judge,
    one_line,
    open_client,
    quiet_mlflow,
    without_password,
)
from pipeline.tracking.stage_logs import DatasetFacts, epochs_seconds, is_logged, stage_log
from pipeline.tracking.system_metrics import SystemMetrics

if TYPE_CHECKING:
    from mlflow.entities import Metric

Scalar = str | int | float | bool | None
Status = Literal["FINISHED", "FAILED", "KILLED"]

# MLflow's limits.
_PARAMETER_LENGTH, _TAG_LENGTH, _NAME_LENGTH, _BATCH = 6000, 8000, 250, 100

_PARENT, _RECORD = "mlflow.parentRunId", "rnnpipe.run"  # tags
_SAMPLES = "system metrics"
_OF_TRIAL = ("train", "evaluate")  # the stages whose files belong to the trial
_FIRST = ("evaluate", "export", "train")  # MLflow's charts begin with the metric that came first


class Tracker:
    """One pipeline run as a parent run in MLflow with a trial; an events listener.

    Args:
        uri: where MLflow keeps its runs: sqlite:///mlflow.db or a server's address. A relative database path
            is meant from the working directory of this moment.
        experiment: made if it does not exist. Next to a SQLite database its artifacts go to
            mlartifacts/<experiment>.
        run: the record's id, which `rnnpipe track` takes.
        model: what kind of model it makes. It leads the name, of which MLflow's tables show the beginning.
        run_id: the run in MLflow, of which something is missing there; None makes a new one.
        watch: whether the machine's own metrics are sent, too.
        again: whether an earlier process may have made the run without hearing of it.
        arrived: called, by another thread, with the id of the run in MLflow once it is there.
    """

    def __init__(
        self,
        uri: str,
        experiment: str,
        run: str,
        model: str = "",
        run_id: str | None = None,
        watch: bool = True,
        again: bool = False,
        arrived: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.run_id = run_id
        """MLflow's name of the run, once it has arrived."""
        self.trial_id: str | None = None
        """MLflow's name of its trial."""
        self.missing: list[str] = []
        """What had not arrived when the run was over, and can be sent later."""
        self._database = database_path(uri)
        self._uri = absolute_uri(uri)
        self._experiment = experiment
        self._record = run
        self._model = model
        self._arrived = arrived
        self._attempted = again
        self._figures: dict[str, dict[str, float]] = {}
        self._epochs: dict[int, Mapping[str, Any]] = {}
        self._epochs_sent: dict[str, set[int]] = {}
        self._samples = 0
        self._delivery = Delivery(judge)
        self._machine = SystemMetrics(self._put_sample) if watch else None

    def start(
        self,
        params: Mapping[str, Scalar],
        tags: Mapping[str, str],
        config_text: str,
        began: float | None = None,
    ) -> None:
        """Makes the run and its trial.

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
        self._delivery.put("its parameters", lambda: self._log_params(params))
        self._delivery.put(
            "pipeline.yaml", lambda: self._client.log_text(self._run, config_text, "pipeline.yaml")
        )
        if self._machine:
            self._machine.start()

    def __call__(self, event: Event) -> None:
        """Notes an epoch's or a stage's end."""
        if isinstance(event, EpochFinished):
            now, epoch = _now(), {"epoch": event.epoch, **event.metrics, "seconds": event.seconds}
            self._epochs.setdefault(event.epoch, epoch)
            self._delivery.put(f"epoch {event.epoch}", lambda: self._log_epochs(self._trial, [epoch], now))
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
        self._delivery.put(
            "the verdict", lambda: self._log(self._run, tags={k: v for k, v in tags.items() if v})
        )
        self._delivery.put(
            "blessing.json", lambda: self._client.log_text(self._run, text, "evaluate/blessing.json")
        )

    def card(self, page: str) -> None:
        """Keeps the run's page with it.

        Args:
            page: HTML.
        """
        self._delivery.put("card.html", lambda: self._client.log_text(self._run, page, "card.html"))

    def register(self, served: Path, example: str) -> None:
        """Makes a model the champion; it is logged and registered first, unless a version of it is there.

        Args:
            served: the directory of the version that is served, whose parent has the model's name.
            example: a text to ask it.
        """
        self._delivery.put("the champion", lambda: self._crown(served, example))

    def _crown(self, served: Path, example: str) -> None:
        from pipeline.tracking.registry import make_champion

        make_champion(self._client, self._uri, self._run, served, example)

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
            self._delivery.put("the message", lambda: self._log(self._run, tags={"message": message}))
        self._delivery.put("the trial's figures", lambda: self._log_figures(end))
        self._delivery.put("the end", lambda: self._end(status, end))
        missing = list(dict.fromkeys(self._delivery.close(timeout)))
        self.missing = [each for each in missing if each != _SAMPLES]
        if not missing:
            return []
        advice = f" The artifacts are complete: `rnnpipe track {self._record}` sends it later."
        lost = f" Some {_SAMPLES} are lost, as they are kept nowhere else." if _SAMPLES in missing else ""
        return [
            f"MLflow at {without_password(self._uri)} did not get {', '.join(missing)}: "
            f"{one_line(self._delivery.error) or f'no answer in {timeout:g} s'}."
            f"{advice if self.missing else ''}{lost}"
        ]

    @property
    def _run(self) -> str:
        assert self.run_id is not None
        return self.run_id

    @property
    def _trial(self) -> str:
        assert self.trial_id is not None
        return self.trial_id

    def _create(self, began: int, tags: Mapping[str, str]) -> None:
        self._client = open_client(self._uri)
        if self.run_id:
            experiment = self._client.get_run(self.run_id).info.experiment_id
        else:
            experiment = self._find_experiment()
            self.run_id = self._made(experiment) or self._make(experiment, began, tags)
            with contextlib.suppress(OSError):  # whoever is told may fail, and the run is there all the same
                self._arrived(self.run_id)
        trials = self._client.search_runs([experiment], f"tags.`{_PARENT}` = '{self.run_id}'")
        if trials:
            self.trial_id = trials[0].info.run_id
            return
        name = f"{self._model} {self._record.rpartition('-')[2]}, trial 1".strip()
        trial = self._client.create_run(experiment, began, {**tags, _PARENT: self._run}, name)
        self.trial_id = trial.info.run_id

    def _made(self, experiment: str) -> str | None:
        """The run, if an earlier attempt made it but never heard of it."""
        attempted, self._attempted = self._attempted, True
        wanted = f"tags.`{_RECORD}` = '{self._record}'"
        found = self._client.search_runs([experiment], wanted) if attempted else []
        return next((run.info.run_id for run in found if _PARENT not in run.data.tags), None)

    def _make(self, experiment: str, began: int, tags: Mapping[str, str]) -> str:
        name = f"{self._model} {self._record}".strip()
        tags = {**tags, _RECORD: self._record}
        return str(self._client.create_run(experiment, began, tags, name).info.run_id)

    def _end(self, status: Status, ended: int) -> None:
        for run in (self._trial, self._run):
            self._client.set_terminated(run, status, ended)

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

    def _log_params(self, params: Mapping[str, Scalar]) -> None:
        for run in (self._run, self._trial):
            self._log(run, params=params)

    def _log_stage(self, stage: str, directory: Path, seconds: float | None, now: int) -> None:
        log = stage_log(stage, directory)
        if seconds is not None:
            log.metrics[f"seconds.{stage}"] = max(seconds, epochs_seconds(log.epochs))
        # Noted before anything is sent: what fails here is not to be missing from the figures at the end.
        self._figures[stage] = log.metrics
        for epoch in log.epochs:
            self._epochs.setdefault(epoch["epoch"], epoch)
        self._log_epochs(self._trial, log.epochs, now)
        self._log(self._trial, metrics=log.metrics | log.intervals, now=now)
        state = "reused" if seconds is None else "ran"
        self._log(self._run, tags={**log.tags, f"stage.{stage}": state})
        if log.datasets:
            self._log_datasets(log.datasets)
        run = self._trial if stage in _OF_TRIAL else self._run
        for file in log.files:
            self._client.log_artifact(run, str(file), stage)
        if log.pictures:
            self._client.log_artifacts(run, str(log.pictures), log.pictures.name)

    def _log_epochs(self, run: str, epochs: Sequence[Mapping[str, Any]], now: int) -> None:
        """Logs the epochs that are not in MLflow yet."""
        sent = self._epochs_sent.pop(run, None)  # and kept again once all is well
        if sent is None:
            sent = {metric.step for metric in self._client.get_metric_history(run, "epoch_seconds")}
        metrics: list[Metric] = []
        for epoch in epochs:
            if epoch["epoch"] not in sent:
                named = {"epoch_seconds" if name == "seconds" else name: each for name, each in epoch.items()}
                metrics += _metrics(named, named.pop("epoch"), now)
        self._send(run, metrics=metrics)
        self._epochs_sent[run] = sent | {epoch["epoch"] for epoch in epochs}

    def _log_figures(self, now: int) -> None:
        """Has the run take over the figures of its trial."""
        metrics: dict[str, float] = {}
        for stage in (*_FIRST, *self._figures):
            metrics |= self._figures.get(stage, {})
        self._log(self._run, metrics, now=now)
        self._log_epochs(self._run, [epoch for _, epoch in sorted(self._epochs.items())], now)

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
        self._delivery.put(_SAMPLES, lambda: self._log(self._trial, sample, step=step, now=now))

    def _log(
        self,
        run: str,
        metrics: Mapping[str, Any] = {},
        params: Mapping[str, Scalar] = {},
        tags: Mapping[str, str] = {},
        step: int = 0,
        now: int = 0,
    ) -> None:
        from mlflow.entities import Param, RunTag

        self._send(
            run,
            metrics=_metrics(metrics, step, now),
            params=[Param(_name(key), str(value)[:_PARAMETER_LENGTH]) for key, value in params.items()],
            tags=[RunTag(_name(key), value[:_TAG_LENGTH]) for key, value in tags.items()],
        )

    def _send(self, run: str, **entities: list[Any]) -> None:
        for kind, values in entities.items():
            for start in range(0, len(values), _BATCH):
                batch = {kind: values[start : start + _BATCH]}
                self._client.log_batch(run, **batch, synchronous=True)


def _metrics(metrics: Mapping[str, Any], step: int, now: int) -> list[Metric]:
    from mlflow.entities import Metric

    return [
        Metric("/".join(map(_name, key.split("/"))), float(value), now, step)
        for key, value in metrics.items()
        if _is_finite(value)
    ]


def _name(text: str) -> str:
    cleaned = re.sub(r"[^\w.\- :]", "_", text)[:_NAME_LENGTH]
    return cleaned if cleaned.strip(".") else f"_{cleaned}"


def _is_finite(value: Any) -> bool:
    return isinstance(value, numbers.Real) and math.isfinite(value)


def _now() -> int:
    return time.time_ns() // 1_000_000
