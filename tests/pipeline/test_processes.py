"""The same job in this process and on worker processes: what is known of it afterwards must not differ."""

import functools
import re

import pytest
import tiny
from mlflow import MlflowClient

from components import reports
from pipeline.report.facts import find_runs
from pipeline.report.pages import card_page

_TIMES = re.compile(
    r"\d{8}-\d{6}-[0-9a-f]{6}|\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?(\.\d+)?(\+00:00)?|[\d.,]+ (s|ms)\b"
)


def known(folder):
    """What is known of the only run in a folder: record, card and MLflow, without times and places."""
    (run,) = find_runs(folder / "runs")
    record = run.record
    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    tracked = []
    for found in client.search_runs([client.get_experiment_by_name("letters").experiment_id]):
        names = sorted(name for name in found.data.metrics if not _is_time(name))
        history = functools.partial(client.get_metric_history, found.info.run_id)
        tracked.append(
            {
                "metrics": {name: found.data.metrics[name] for name in names},
                "epochs": {name: [(each.step, each.value) for each in history(name)] for name in names},
                "params": {
                    name: value
                    for name, value in found.data.params.items()
                    if str(folder) not in value and not name.startswith("runner.")
                },
                "tags": sorted(name for name in found.data.tags if not name.startswith("mlflow")),
                "files": sorted(_files(client, found.info.run_id)),
                "status": found.info.status,
            }
        )
    card = card_page(run)
    for place in (str(folder), "runner: {type: processes}", "runner: {type: local}"):
        card = card.replace(place, "")
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
        "served": record.served.removeprefix(str(folder)),
        "tracked": sorted(tracked, key=lambda each: len(each["tags"])),
        "card": _without_pictures(card),
    }


def _is_time(name):
    # The SavedModel holds names that are drawn, of some more or fewer bytes.
    return "seconds" in name or "_ms" in name or name.startswith("system/") or name == "model.bytes"


def _files(client, run, folder=None):
    for found in client.list_artifacts(run, folder):
        if found.is_dir:
            yield from _files(client, run, found.path)
        else:
            yield found.path


def _without_pictures(card):
    card = re.sub(r"data:image/png;base64,[^\"']*", "picture", card)
    return re.sub(r"\s+", " ", re.sub(r"\b\d+\.\d\b", "", _TIMES.sub("", card)))


@pytest.fixture(scope="module")
def in_process(tmp_path_factory):
    folder = tmp_path_factory.mktemp("one")
    code, said = tiny.run(tiny.make(folder))
    assert code == 0, said
    return folder, said


def _said(folder, text):
    return re.sub(r"\s+", " ", _TIMES.sub("", text.replace(str(folder), "")))


@pytest.mark.slow
def test_worker_processes_leave_the_same(in_process, tmp_path):
    folder, said = in_process
    code, said_too = tiny.run(tiny.make(tmp_path), "runner.type=processes")
    assert code == 0, said_too
    one, other = known(folder), known(tmp_path)
    for part in one:
        if part == "digests":  # the export freezes libraries' names for things, which processes draw
            for name in ("ingest", "tokenize", "train", "evaluate"):
                for digest in one[part][name].keys() - {"history", "checkpoint"}:  # they hold times
                    assert other[part][name][digest] == one[part][name][digest], (name, digest)
        else:
            assert other[part] == one[part], part
    assert _said(tmp_path, said_too) == _said(folder, said)


def test_without_events_the_record_mlflow_and_the_card_are_the_same(in_process, tmp_path, monkeypatch):
    monkeypatch.setattr(reports, "_listeners", _Deaf())
    folder, _ = in_process
    code, said = tiny.run(tiny.make(tmp_path))
    assert code == 0, said
    one, other = known(folder), known(tmp_path)
    for part in ("status", "nodes", "metrics", "epochs", "history", "verdict", "tracked", "card"):
        assert other[part] == one[part], part


class _Deaf(list):
    """Listeners that are never told anything."""

    def __iter__(self):
        return iter(())
