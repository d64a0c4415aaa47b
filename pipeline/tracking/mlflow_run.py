"""One run of MLflow: what it has, and the calls that add what it lacks."""

from __future__ import annotations

import contextlib
import hashlib
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from components.artifacts.artifact import Artifact
from pipeline.stages.log import DatasetFacts
from pipeline.tracking.mlflow_client import Failure, failure_of
from pipeline.tracking.part import EPOCH, Part, Point

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

_FILES = "rnnpipe.files."  # what the tags are called that hold digests of files, by path
_FILES_IN_TAG, _METRICS_IN_CALL, _OTHERS_IN_CALL = 50, 500, 100  # MLflow has limits


class MlflowRun:
    """A run of MLflow that parts are sent to.

    MLflow keeps every point of a metric, so that none is sent for a step that has one. Epochs are known by
    the metric that is sent last of theirs, files by their digests, which are noted in tags once they arrived.

    Args:
        client: of MLflow.
        run_id: MLflow's.
        experiment: its name.
        seen: the run as it is at this moment, if that has been read already.
    """

    def __init__(self, client: MlflowClient, run_id: str, experiment: str, seen: Run | None = None) -> None:
        self.id = run_id
        """MLflow's."""
        self._client = client
        self._experiment = experiment
        self._seen = seen
        self._refused: dict[tuple[str, str], Exception] = {}

    def look(self) -> None:
        """Reads what the run has."""
        run, self._seen = self._seen or self._client.get_run(self.id), None
        self._params, self._tags, self._metrics = run.data.params, run.data.tags, run.data.metrics
        history = self._client.get_metric_history(self.id, EPOCH) if EPOCH in self._metrics else []
        self._epochs = {point.step for point in history}
        self._datasets = {(known.dataset.name, known.dataset.digest) for known in run.inputs.dataset_inputs}
        self._end = (run.info.status, run.info.end_time)
        self._files: dict[str, str] = {}
        for name, value in self._tags.items():
            if name.startswith(_FILES):
                with contextlib.suppress(ValueError):  # somebody has changed it
                    self._files |= json.loads(value)

    def send(self, part: Part) -> None:
        """Sends what the run lacks of a part; a file that is refused does not hold up the others.

        Args:
            part: of what the run is to have.

        Raises:
            Exception: of MLflow's client, or because something cannot be read.
        """
        if part.error is not None:
            raise part.error
        self.send_figures([part])
        self._log_datasets(part.datasets)
        self._log_files(part.files)
        if part.end is not None and part.end != self._end:
            status, time = part.end
            if time is not None:
                self._client.set_terminated(self.id, status, time)
            elif status != self._end[0]:
                self._client.update_run(self.id, status)  # it was taken for killed
            self._end = part.end

    def send_figures(self, parts: Sequence[Part]) -> None:
        """Sends what the run lacks of the metrics, parameters and tags of parts, in few calls."""
        metrics = {point: None for part in parts for point in part.metrics if not self._has(point)}
        params = {key: value for part in parts for key, value in part.params.items()}
        tags = {key: value for part in parts for key, value in part.tags.items()}
        self.log(
            list(metrics),
            {key: value for key, value in params.items() if self._params.get(key) != value},
            {key: value for key, value in tags.items() if self._tags.get(key) != value},
        )
        self._params, self._tags = {**self._params, **params}, {**self._tags, **tags}
        self._metrics = {**self._metrics, **{point.name: point.value for point in metrics}}
        self._epochs |= {point.step for point in metrics if point.step}

    def log(
        self, points: Sequence[Point], params: Mapping[str, str] = {}, tags: Mapping[str, str] = {}
    ) -> None:
        """Sends metrics, parameters and tags, whatever is there."""
        from mlflow.entities import Metric, Param, RunTag

        metrics = [Metric(*point) for point in points]
        named, noted = [Param(*item) for item in params.items()], [RunTag(*item) for item in tags.items()]
        many, few = _METRICS_IN_CALL, _OTHERS_IN_CALL
        while metrics or named or noted:
            self._client.log_batch(self.id, metrics[:many], named[:few], noted[:few], synchronous=True)
            metrics, named, noted = metrics[many:], named[few:], noted[few:]

    def _has(self, point: Point) -> bool:
        return point.step in self._epochs if point.step else point.name in self._metrics

    def _log_datasets(self, facts: Sequence[DatasetFacts]) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        inputs = [
            DatasetInput(
                Dataset(
                    name=f"{self._experiment}-{fact.context}",
                    digest=fact.digest,
                    source_type=fact.source.partition("://")[0] if "://" in fact.source else "local",
                    source=json.dumps({"uri": fact.source}),
                    profile=json.dumps({"num_rows": fact.examples}),
                ),
                [InputTag("mlflow.data.context", fact.context)],
            )
            for fact in facts
            if (f"{self._experiment}-{fact.context}", fact.digest) not in self._datasets
        ]
        if inputs:
            self._client.log_inputs(self.id, inputs)

    def _log_files(self, wanted: Mapping[str, bytes | tuple[Artifact, str]]) -> None:
        failed: Exception | None = None
        arrived = dict(self._files)
        for path, source in wanted.items():
            digest = _digest(source)
            if arrived.get(path) == digest:
                continue
            try:
                if error := self._refused.get((path, digest)):
                    raise error
                self._upload(path, source)
                arrived[path] = digest
            except Exception as error:
                failed, failure = error, failure_of(error)
                if failure is Failure.UNREACHABLE:
                    break
                if failure is Failure.PERMANENT:
                    self._refused[path, digest] = error
        if arrived != self._files:
            self._files, items = arrived, sorted(arrived.items())
            starts = range(0, len(items), _FILES_IN_TAG)
            parts = [json.dumps(dict(items[start : start + _FILES_IN_TAG])) for start in starts]
            self.log([], tags={f"{_FILES}{number}": part for number, part in enumerate(parts, start=1)})
        if failed is not None:
            raise failed

    def _upload(self, path: str, source: bytes | tuple[Artifact, str]) -> None:
        """Sends a file under its name in MLflow, which it need not have here."""
        with tempfile.TemporaryDirectory(prefix="rnnpipe-") as folder:
            local = Path(folder, PurePosixPath(path).name)
            if isinstance(source, bytes):
                local.write_bytes(source)
            else:
                artifact, name = source
                local.symlink_to(artifact.file(name).absolute())
            self._client.log_artifact(self.id, str(local), str(PurePosixPath(path).parent).strip(".") or None)


def _digest(source: bytes | tuple[Artifact, str]) -> str:
    """The beginning of the SHA-256 of a file."""
    if isinstance(source, bytes):
        return hashlib.sha256(source).hexdigest()[:16]
    artifact, name = source
    return artifact.manifest.files[name].sha256[:16]
