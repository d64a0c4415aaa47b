"""What is known of a run afterwards, without times and places, in which no way to it may differ."""

import functools
import re

from mlflow import MlflowClient

from pipeline.report.facts import find_runs
from pipeline.report.pages import card_page

_TIMES = re.compile(
    r"\d{8}-\d{6}-[0-9a-f]{6}|\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?(\.\d+)?(\+00:00)?|[\d.,]+ (s|ms)\b"
)
_RUNNER = re.compile(r"^runner:.*?(?=^\S|\Z)", re.M | re.S)
_COMMANDS = re.compile(
    r"<pre>(?:(?!</pre>).)*tensorflow_model_server.*?</pre>", re.S
)  # a server reads a disk
_SERVER = re.compile(r"there is no tensorflow_model_server[^<\n]*")  # what a machine has is no part of a run
HOLD_TIMES = {"history", "checkpoint"}
"""The parts of a training whose bytes differ every time."""


def known(root, uri, places):
    """What is known of the only run under a root: record, card and MLflow.

    Args:
        root: of the pipeline.
        uri: of MLflow.
        places: what of addresses may differ.
    """
    (run,) = find_runs(root)
    record = run.record
    client = MlflowClient(uri)
    tracked = []
    experiment = client.get_experiment_by_name(record.config["tracking"]["experiment"])
    for found in client.search_runs([experiment.experiment_id]):
        names = sorted(name for name in found.data.metrics if not _is_time(name))
        history = functools.partial(client.get_metric_history, found.info.run_id)
        tracked.append(
            {
                "metrics": {name: found.data.metrics[name] for name in names},
                "epochs": {name: [(each.step, each.value) for each in history(name)] for name in names},
                "params": {
                    name: value
                    for name, value in found.data.params.items()
                    if not any(place in value for place in places) and not name.startswith("runner.")
                },
                "tags": sorted(name for name in found.data.tags if not name.startswith("mlflow")),
                "files": sorted(_files(client, found.info.run_id)),
                "status": found.info.status,
            }
        )
    card = without(_COMMANDS.sub("", card_page(run)), places)
    return {
        "status": record.status,
        "nodes": {
            name: (node.state, node.key, node.number, node.reason, node.warnings, node.error, node.trials)
            for name, node in record.nodes.items()
        },
        "epochs": {name: (node.epochs, node.planned_epochs) for name, node in record.nodes.items()},
        "digests": {name: dict(node.reference.digests) for name, node in record.nodes.items()},
        "metrics": record.metrics,
        "history": [
            {name: value for name, value in epoch.items() if name != "seconds"} for epoch in record.history
        ],
        "verdict": record.verdict,
        "served": without(record.served, places),
        "tracked": sorted(tracked, key=lambda each: len(each["tags"])),
        "card": re.sub(r"data:image/png;base64,[^\"']*", "picture", card),
    }


def without(text, places):
    """A text without places, times and what runs it."""
    for place in places:
        text = text.replace(place, "")
    text = _TIMES.sub("", _SERVER.sub("", _RUNNER.sub("", text)))
    return re.sub(r"\s+", " ", re.sub(r"\b\d+\.\d\b", "", text))


def _is_time(name):
    # The SavedModel holds names that are drawn, of some more or fewer bytes.
    return "seconds" in name or "_ms" in name or name.startswith("system/") or name == "model.bytes"


def _files(client, run, folder=None):
    for found in client.list_artifacts(run, folder):
        if found.is_dir:
            yield from _files(client, run, found.path)
        else:
            yield found.path
