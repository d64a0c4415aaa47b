"""Whole runs with root, data and serving directory in an object store, and launchers that are killed."""

import subprocess
import sys
from pathlib import Path

import pytest
import tiny

from components import files
from pipeline.config import load_config
from pipeline.config.places import Places
from pipeline.plan.planning import make_plan
from pipeline.report.compare import compare
from pipeline.report.facts import find_runs
from pipeline.serving.predict import predict
from pipeline.serving.pull import pull
from pipeline.serving.rollback import roll_back
from pipeline.store.store import Store
from pipeline.tracking.track import track

pytestmark = pytest.mark.slow

STAGES = ("ingest", "tokenize", "train", "evaluate", "export")


def remote(folder, bucket, name):
    """Puts the tiny pipeline in a bucket, but for MLflow; returns its configuration, and where."""
    config = tiny.make(folder)
    place = f"{bucket}/{name}"
    for split in ("train", "validation", "test"):
        files.write(files.resolve(f"{place}/data/{split}.tsv"), (folder / f"{split}.tsv").read_bytes())
        (folder / f"{split}.tsv").unlink()
    text = config.read_text(encoding="utf-8")
    for split in ("train", "validation", "test"):
        text = text.replace(f"{folder}/{split}.tsv", f"{place}/data/{split}.tsv")
    text = text.replace(f"root: {folder}/runs", f"root: {place}/runs")
    text = text.replace(f"directory: {folder}/serving", f"directory: {place}/serving")
    config.write_text(text, encoding="utf-8")
    return config, files.resolve(place)


def test_everything_works_from_there(s3, tmp_path):
    config, place = remote(tmp_path, s3, "whole")
    code, said = tiny.run(config)
    assert code == 0, said
    assert f"{place}/serving/letters/1" in said
    loaded = load_config(config)
    places = Places.of(loaded)
    assert not any(plan.in_job for plan in make_plan(loaded, places, Store(places.root)))
    code, said = tiny.run(config)
    assert code == 0, said
    assert "nothing to do" in said
    code, said = tiny.run(config, "train.epochs=3")
    assert code == 0, said
    assert f"{place}/serving/letters/2" in said
    runs = find_runs(str(place / "runs"))
    assert len(compare(runs).runs) == 2
    assert runs[-1].record.tracking["run"]
    assert track(runs[-1]) == []
    (answer,) = predict(str(place / "serving" / "letters"), [b"aaa7\n"])
    assert '"prediction": "a"' in answer
    assert roll_back(place / "serving" / "letters").source == 1
    local = tmp_path / "pulled"
    assert len(list(pull(str(place / "serving"), local))) >= 3
    assert sorted(path.name for path in (local / "letters").iterdir()) == ["1", "2", "3"]
    (again,) = predict(str(local / "letters"), [b"aaa7\n"])
    assert again.split('"score"')[0] == answer.split('"score"')[0]


@pytest.mark.parametrize("where", ["disk", "s3"])
def test_a_launcher_killed_in_each_stage_goes_on(where, request, tmp_path):
    bucket = str(tmp_path / "disk") if where == "disk" else request.getfixturevalue("s3")
    config, place = remote(tmp_path, bucket, "killed")
    for stage in STAGES:
        killed = subprocess.run(
            [sys.executable, str(Path(__file__).with_name("killing.py")), stage, "run", str(config)],
            cwd=Path(__file__).parents[2],
            capture_output=True,
            check=False,
            timeout=300,
        )
        assert killed.returncode == -9, (stage, killed.stdout[-2000:], killed.stderr[-2000:])
    code, said = tiny.run(config)
    assert code == 0, said
    plans = make_plan(load_config(config), Places.of(load_config(config)), Store(place / "runs"))
    assert [len(Store(place / "runs").made(plan.name, plan.key)) for plan in plans] == [1] * 5
    assert files.names(place / "serving" / "letters") == ["1"]
    undisturbed, other = remote(tmp_path / "other", bucket, "undisturbed")
    code, said = tiny.run(undisturbed)
    assert code == 0, said
    others = make_plan(load_config(undisturbed), Places.of(load_config(undisturbed)), Store(other / "runs"))
    for ours, theirs in zip(plans.nodes[:4], others.nodes[:4], strict=True):
        for part, digest in theirs.artifact.manifest.digests.items():
            if part not in ("history", "checkpoint", "plots"):  # they hold times
                assert ours.artifact.manifest.digests[part] == digest, (ours.name, part)


def test_two_launchers_at_once_end_with_one_of_everything(s3, tmp_path):
    config, place = remote(tmp_path, s3, "both")
    both = [tiny.start("run", config) for _ in range(2)]
    said = [process.communicate(timeout=400)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    store = Store(place / "runs")
    plans = make_plan(load_config(config), Places.of(load_config(config)), store)
    assert [len(store.made(plan.name, plan.key)) for plan in plans] == [1] * 5
    assert files.names(place / "serving" / "letters") == ["1"]
    assert [run.record.status for run in find_runs(str(place / "runs"))] == ["finished"] * 2
