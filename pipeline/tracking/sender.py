"""What is sent to MLflow of one run, call by call; the tracker has a background thread make the calls."""

from __future__ import annotations

import contextlib
import json
import math
import numbers
import os
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from components.artifacts.artifact import Artifact
from pipeline.run.record import NodeRecord
from pipeline.stages import stage_named
from pipeline.stages.log import DatasetFacts, epochs_seconds
from pipeline.tracking.mlflow_client import absolute_uri, database_path, open_client

if TYPE_CHECKING:
    from mlflow.entities import Metric

Scalar = str | int | float | bool | None
Status = Literal["FINISHED", "FAILED", "KILLED"]

# MLflow's limits.
_PARAMETER_LENGTH, _TAG_LENGTH, _NAME_LENGTH, _BATCH = 6000, 8000, 250, 100

_PARENT, _RECORD = "mlflow.parentRunId", "rnnpipe.run"  # tags


class Sender:
    """The calls that make a pipeline run in MLflow: a parent run with a trial. Each may be repeated.

    Args:
        uri: where MLflow keeps its runs.
        experiment: made if it does not exist.
        record: the id of the run's record.
        model: what kind of model it makes.
        run_id: the run in MLflow; None makes a new one.
        again: whether an earlier process may have made the run without hearing of it.
        arrived: called with the id of the run in MLflow once it is there.
    """

    def __init__(
        self,
        uri: str,
        experiment: str,
        record: str,
        model: str = "",
        run_id: str | None = None,
        again: bool = False,
        arrived: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.run_id = run_id
        """MLflow's name of the run, once it has arrived."""
        self.trial_id: str | None = None
        """MLflow's name of its trial."""
        self.uri = absolute_uri(uri)
        self._database = database_path(uri)
        self._experiment = experiment
        self._record = record
        self._model = model
        self._arrived = arrived
        self._attempted = again
        self._figures: dict[str, dict[str, float]] = {}
        self._epochs: dict[int, Mapping[str, Any]] = {}
        self._epochs_sent: dict[str, set[int]] = {}

    def create(self, began: int, tags: Mapping[str, str]) -> None:
        """Makes the run and its trial, or finds them.

        Args:
            began: when the run began, in milliseconds since 1970, as all times here.
            tags: what else identifies the run.
        """
        self._client = open_client(self.uri)
        if self.run_id:
            experiment = self._client.get_run(self.run_id).info.experiment_id
        else:
            experiment = self._find_experiment()
            self.run_id = self._made(experiment) or self._make(experiment, began, tags)
            with contextlib.suppress(Exception):  # what is done with the id must not reach this thread
                self._arrived(self.run_id)
        trials = self._client.search_runs([experiment], f"tags.`{_PARENT}` = '{self.run_id}'")
        if trials:
            self.trial_id = trials[0].info.run_id
            return
        name = f"{self._model} {self._record.rpartition('-')[2]}, trial 1".strip()
        trial = self._client.create_run(experiment, began, {**tags, _PARENT: self._run}, name)
        self.trial_id = trial.info.run_id

    def log_params(self, params: Mapping[str, Scalar]) -> None:
        """Logs the configuration, flat."""
        for run in (self._run, self._trial):
            self._log(run, params=params)

    def log_text(self, text: str, name: str) -> None:
        """Keeps a text with the run, as a file."""
        self._client.log_text(self._run, text, name)

    def log_tags(self, tags: Mapping[str, str]) -> None:
        """Logs tags of the run."""
        self._log(self._run, tags=tags)

    def note_epoch(self, epoch: Mapping[str, Any]) -> None:
        """Keeps an epoch for the run's figures, whatever becomes of it on its way to the trial."""
        self._epochs.setdefault(int(epoch["epoch"]), epoch)

    def log_epoch(self, epoch: Mapping[str, Any], now: int) -> None:
        """Logs an epoch of the trial, unless it is there."""
        self._log_epochs(self._trial, [epoch], now)

    def log_node(self, node: NodeRecord, artifact: Artifact, now: int) -> None:
        """Logs an artifact, whether this run made it or reused it."""
        made_by = stage_named(node.stage)
        stage, log = made_by.name, made_by.log(artifact)
        if node.seconds is not None:
            log.metrics[f"seconds.{stage}"] = max(node.seconds, epochs_seconds(log.epochs))
        # Noted before anything is sent: what fails here is not to be missing from the figures at the end.
        self._figures[stage] = log.metrics
        for epoch in log.epochs:
            self.note_epoch(epoch)
        self._log_epochs(self._trial, log.epochs, now)
        self._log(self._trial, metrics=log.metrics | log.intervals, now=now)
        state = "reused" if node.seconds is None else "ran"
        self._log(self._run, tags={**log.tags, f"stage.{stage}": state})
        if log.datasets:
            self._log_datasets(log.datasets)
        self._log_files(self._trial if made_by.of_trial else self._run, log.files)

    def log_sample(self, sample: Mapping[str, float], step: int, now: int) -> None:
        """Logs metrics of the machine."""
        self._log(self._trial, sample, step=step, now=now)

    def make_champion(self, served: str | os.PathLike[str], example: str) -> None:
        """Makes a served model the champion; see `registry.make_champion`."""
        from pipeline.tracking.registry import make_champion

        make_champion(self._client, self.uri, self._run, served, example)

    def log_figures(self, now: int) -> None:
        """Has the run take over the figures of its trial."""
        metrics: dict[str, float] = {}
        for stage in sorted(self._figures, key=lambda name: not stage_named(name).leads):
            metrics |= self._figures[stage]
        self._log(self._run, metrics, now=now)
        self._log_epochs(self._run, [epoch for _, epoch in sorted(self._epochs.items())], now)

    def end(self, status: Status, ended: int) -> None:
        """Ends the trial and the run."""
        for run in (self._trial, self._run):
            self._client.set_terminated(run, status, ended)

    @property
    def _run(self) -> str:
        assert self.run_id is not None
        return self.run_id

    @property
    def _trial(self) -> str:
        assert self.trial_id is not None
        return self.trial_id

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

    def _find_experiment(self) -> str:
        from mlflow.exceptions import MlflowException

        found = self._client.get_experiment_by_name(self._experiment)
        if found is None:
            try:
                return self._client.create_experiment(self._experiment, self._artifact_location())
            except MlflowException:  # another process was quicker
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

    def _log_files(self, run: str, files: Mapping[str, Path]) -> None:
        """Sends files under their names in MLflow, which they need not have here."""
        with tempfile.TemporaryDirectory(prefix="rnnpipe-") as folder:
            for name, path in files.items():
                link = Path(folder, name)
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(path.absolute())
            self._client.log_artifacts(run, folder)

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

    def _log_datasets(self, datasets: Sequence[DatasetFacts]) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag
        from mlflow.exceptions import MlflowException

        inputs = [
            DatasetInput(
                Dataset(
                    name=f"{self._experiment}-{each.context}",
                    digest=each.digest,
                    source_type=each.source.partition("://")[0] if "://" in each.source else "local",
                    source=json.dumps({"uri": each.source}),
                    profile=json.dumps({"num_rows": each.examples}),
                ),
                [InputTag("mlflow.data.context", each.context)],
            )
            for each in datasets
        ]
        try:
            self._client.log_inputs(self._run, inputs)
        except MlflowException as error:
            if error.error_code != "BAD_REQUEST":
                raise
            # Another run has made the same data set at the same moment; now it is there.
            self._client.log_inputs(self._run, inputs)

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
