"""What tests of tracking need: a client that notes what is called, and what MLflow has of a run."""

import hashlib
import urllib.parse
from pathlib import Path

from mlflow import MlflowClient

from pipeline.tracking import mirror
from pipeline.tracking.mlflow_client import open_client

READS = {
    "get_run",
    "get_metric_history",
    "search_runs",
    "get_experiment_by_name",
    "get_logged_model",
    "get_registered_model",
    "list_logged_model_artifacts",
    "search_logged_models",
    "search_model_versions",
    "get_model_version_by_alias",
}


class Killed(BaseException):
    """The process is gone; nobody catches it."""


class Recording:
    """A client that notes its calls, and raises at one of them.

    Args:
        client: of MLflow.
        fails: called with number, name and arguments of a call; returns what is raised, or None.
        late: whether it is raised once the call has been carried out.
    """

    def __init__(self, client, fails=lambda number, name, arguments: None, late=False):
        self.calls = []
        self._client, self._fails, self._late = client, fails, late

    def __getattr__(self, name):
        method = getattr(self._client, name)

        def call(*arguments, **named):
            self.calls.append(name)
            error = self._fails(len(self.calls), name, arguments)
            if error is not None and not self._late:
                raise error
            result = method(*arguments, **named)
            if error is not None:
                raise error
            return result

        return call

    @property
    def writes(self):
        return [name for name in self.calls if name not in READS]


def record_calls(monkeypatch, uri, fails=lambda number, name, arguments: None, late=False):
    """Has mirrors that are opened from now on use one recording client, which is returned."""
    recording = Recording(open_client(uri), fails, late)
    monkeypatch.setattr(mirror, "open_client", lambda _: recording)
    return recording


def settings(uri, enabled=True, experiment="dates"):
    return {"tracking": {"uri": uri, "experiment": experiment, "enabled": enabled}}


def runs_of(uri, run):
    """The run in MLflow, and its trials."""
    client = MlflowClient(uri)
    found = client.get_run(run.record().tracking["run"])
    wanted = f"tags.`mlflow.parentRunId` = '{found.info.run_id}'"
    children = client.search_runs([found.info.experiment_id], wanted)
    return [found, *sorted(children, key=lambda child: child.data.tags["rnnpipe.trial"])]


def losses(uri, run):
    history = MlflowClient(uri).get_metric_history(run.info.run_id, "loss")
    return sorted((metric.step, metric.value) for metric in history)


def listed(uri, run, directory=""):
    return {file.path for file in MlflowClient(uri).list_artifacts(run.info.run_id, directory)}


def known(uri, run):
    """All that MLflow has of a run and its trials, but for drawn ids."""
    return [_known(MlflowClient(uri), each) for each in runs_of(uri, run)]


def _known(client, run):
    place = Path(urllib.parse.unquote(urllib.parse.urlsplit(run.info.artifact_uri).path))
    info = run.info
    return {
        "status": (info.run_name, info.status, info.start_time, info.end_time),
        "params": run.data.params,
        "tags": {name: value for name, value in run.data.tags.items() if not name.startswith("mlflow.")},
        "metrics": {
            name: sorted((each.step, each.timestamp, each.value) for each in _history(client, run, name))
            for name in run.data.metrics
        },
        "files": {
            str(path.relative_to(place)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in place.rglob("*")
            if path.is_file()
        },
        "data": sorted(
            (dataset.dataset.name, dataset.dataset.digest) for dataset in run.inputs.dataset_inputs
        ),
    }


def _history(client, run, name):
    return client.get_metric_history(run.info.run_id, name)
