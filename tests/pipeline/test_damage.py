"""What rnnpipe wrote and somebody has damaged since is named, and passed over: by every command."""

import io
import os

import pytest
import tiny
from made_nodes import carry_out
from made_runs import MadeRun
from rich.console import Console

from components import disks, files, own_files
from components.artifacts.artifact import Manifest
from components.work import Work
from pipeline.config import load_config
from pipeline.config.places import Places
from pipeline.plan.planning import make_plan
from pipeline.report.compare import compare
from pipeline.report.compare_text import comparison_text
from pipeline.report.facts import find_runs
from pipeline.report.pages import card_page
from pipeline.report.runs_table import runs_tables
from pipeline.run.console import plan_table
from pipeline.run.observe import read_records
from pipeline.store.clean import DAY, clean
from pipeline.store.store import Store

DAMAGE = {
    "empty": b"",
    "half": b'{"name": "mad',
    "binary": b"\x00\xff\xfe",
    "list": b"[]",
    "object": b"{}",
    "null": b"null",
    "wrong types": b'{"nodes": [1], "name": [], "files": [[]], "began": null, "status": 1, "run": []}',
    "list of lists": b'[[1], {"a": null}]',
    "deep": b"[" * 100_000,
    "lone surrogate": b'{"name": "\\ud800"}',
    "folder": None,
}


@pytest.fixture
def root(tmp_path, monkeypatch):
    """Two runs and the artifacts of a third under one root."""
    monkeypatch.setenv("RNNPIPE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(own_files, "_named", set())
    config = tiny.make(tmp_path)
    for name in ("a", "b"):
        made = MadeRun(tmp_path / "runs", name)
        made.make("ingest", "tokenize", "train", "evaluate").end()
        made.folder.note_tracking("sqlite:///mlflow.db", name)
    carry_out(Store(files.resolve(tmp_path / "runs")), _planned(config))
    return files.resolve(tmp_path / "runs")


def _planned(config, *overrides):
    loaded = load_config(config, overrides)
    places = Places.of(loaded)
    return make_plan(loaded, places, Store(places.root))


def _put(place, content):
    """Puts content, or a folder that is not empty, in place of a file."""
    files.delete([place])
    if content is None:
        files.write(place / "inside", b"x")
    else:
        files.write(place, content)


def _commands(root):
    """Does what the commands do that read what all runs under a root have left; returns what they show."""
    config = files.local(root.parent) / "pipeline.yaml"
    console = Console(file=io.StringIO(), width=200)
    console.print(plan_table(_planned(config)))
    console.print(plan_table(_planned(config, "name=other", "seed=9")))
    console.print(runs_tables(read_records(root), 150))
    found = find_runs(root)
    console.print(comparison_text(compare(found)) if len(found) > 1 else "one run")
    for run in found:
        card_page(run)
    console.print(str(clean(root, None)))
    console.print(str(clean(root, 1, files.clock(root) + 30 * DAY)))
    return console.file.getvalue()


@pytest.mark.parametrize("content", DAMAGE.values(), ids=DAMAGE)
@pytest.mark.parametrize("name", ["start.json", "end.json", "tracking.json"])
def test_a_damaged_record_stops_no_command(root, name, content, caplog):
    run = read_records(root)[0].id
    place = root / "runs" / run / name
    _put(place, content)
    shown = _commands(root)
    assert f"passed over a damaged file: {place}: " in caplog.text
    assert caplog.text.count(str(place)) == 1
    assert (run in shown) == (name != "start.json")


@pytest.mark.parametrize("content", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_manifest_is_named_and_what_it_lists_is_rebuilt(root, content, caplog):
    config = files.local(root.parent) / "pipeline.yaml"
    place = _planned(config)["ingest"].artifact.reference.manifest
    _put(place, content)
    node = _planned(config)["ingest"]
    assert node.reason.startswith(f"the artifact is damaged: its manifest cannot be read: {place}: ")
    assert node.number == 2
    _commands(root)
    assert (f"passed over a damaged file: {place}: " in caplog.text) == (content is not None)
    carry_out(Store(root), _planned(config))
    assert not any(planned.runs for planned in _planned(config))


@pytest.mark.parametrize("content", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_cache_of_fingerprints_costs_time_only(root, content, caplog, monkeypatch):
    monkeypatch.setattr(files, "_SMALL", -1)
    config = files.local(root.parent) / "pipeline.yaml"
    before = [node.key for node in _planned(config)]
    _put(root / "fingerprints.json", content)
    assert [node.key for node in _planned(config)] == before
    # An empty cache is none, and one that cannot be replaced is read again.
    assert ("fingerprints.json" in caplog.text) == (content != b"{}")
    if content is not None:
        caplog.clear()
        own_files._named.clear()
        _planned(config)
        assert caplog.text == ""


@pytest.mark.parametrize("content", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_report_stops_no_command(root, content, caplog):
    run = MadeRun(root, "c", data="other")
    with run.work("ingest").attempt("read"):
        pass
    (report,) = files.entries(run.folder.status("ingest"))
    _put(report.path, content)
    _put(run.folder.heartbeat, content)
    run.end("failed", "no luck")
    assert run.record().nodes["ingest"].state == "not reached"
    _commands(root)
    assert str(report.path) in caplog.text


def test_what_is_foreign_under_a_root_is_passed_over(root):
    for place in (
        "notes.txt",
        "runs/notes.txt",
        "runs/folder/notes.txt",
        "artifacts/notes.txt",
        "artifacts/train/notes.json",
        "artifacts/train/key/notes.json",
        "artifacts/train/key/a-b-1.json",
        "artifacts/train/checkpoints/notes.txt",
        "artifacts/foreign/key/attempt/file",
    ):
        files.write(root / place, b"x")
    before = _commands(root).partition("deleted")[0]
    assert before.count("made") >= 2
    assert before.count("reused") == 7  # the other pipeline reads the same data


def test_an_artifact_that_cannot_be_read_is_rebuilt(root):
    config = files.local(root.parent) / "pipeline.yaml"
    artifact = _planned(config)["train"].artifact
    place = artifact.place("model.keras")
    size = files.local(place).stat().st_size
    _put(place, None)
    manifest = own_files.load(artifact.reference.manifest, Manifest)
    folder_size = files.local(place).stat().st_size
    assert folder_size != size
    listed = {**manifest.files["model.keras"].__dict__, "size": folder_size}
    values = {**vars(manifest), "files": {"model.keras": type(manifest.files["model.keras"])(**listed)}}
    damaged = type(artifact)(root, Manifest(**values))
    assert Store(root).damage(damaged) == "model.keras cannot be read: Is a directory"


def test_what_others_trust_is_on_the_disk_before_it_has_its_name(root, monkeypatch):
    done = []

    def noted(name, function):
        def note(*arguments, **options):
            done.append(name)
            return function(*arguments, **options)

        monkeypatch.setattr(os, name, note)

    for name in ("fsync", "replace", "link"):
        noted(name, getattr(os, name))
    files.write(root / "whole", b"x")
    assert done == ["fsync", "replace"]
    done.clear()
    files.create(root / "created", b"x")
    assert done == ["fsync", "link", "fsync"]
    done.clear()
    with Work(root, "train", "key").attempt() as attempt:
        attempt.put("model.keras", b"x")
    assert done == ["fsync"]
    done.clear()
    files.upload(files.local(root / "whole"), root / "copy")
    assert done == ["fsync"]
    assert list(disks.unfinished(files.local(root))) == []
