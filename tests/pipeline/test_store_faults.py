"""Whole runs with data, root and serving directory in a store that is slow, busy, lossy, gone or full."""

import shutil
import signal
import threading
import time

import pytest
import tiny
from test_remote import STAGES, remote

from components import files, stores
from pipeline.config import load_config
from pipeline.config.places import Places
from pipeline.plan.planning import make_plan
from pipeline.report.facts import find_runs
from pipeline.store.store import Store
from pipeline.tracking.mlflow_client import open_client

pytestmark = pytest.mark.slow

TIMES = ("history", "checkpoint", "plots")  # parts that hold some


def at_work(stage):
    """The requests in the middle of a stage's work."""
    return {
        "ingest": r"PUT .*/artifacts/ingest/.*\.parquet",
        "tokenize": r"PUT .*/artifacts/tokenize/.*\.parquet",
        "train": r"PUT .*/artifacts/train/checkpoints/.*/00002-",
        "evaluate": r"PUT .*/artifacts/evaluate/[^/]*/[^/]*/",
        "export": r"PUT .*/artifacts/export/[^/]*/[^/]*/",
        "push": r"PUT .*/serving/letters/1/",
    }[stage]


def digests(config):
    """What was made that holds no times, by node and part."""
    loaded = load_config(config)
    places = Places.of(loaded)
    plans = make_plan(loaded, places, Store(places.root))
    return {
        (node.name, part): digest
        for node in plans.nodes[:4]
        for part, digest in node.artifact.manifest.digests.items()
        if part not in TIMES
    }


def check_one_of_everything(config, place):
    store = Store(place / "runs")
    plans = make_plan(load_config(config), Places.of(load_config(config)), store)
    assert [len(store.made(plan.name, plan.key)) for plan in plans] == [1] * 5
    assert files.names(place / "serving" / "letters") == ["1"]
    client = open_client(load_config(config).tracking.uri)
    assert [int(version.version) for version in client.search_model_versions("name='letters'")] == [1]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The digests of a run on a disk."""
    config = tiny.make(tmp_path_factory.mktemp("undisturbed"))
    code, said = tiny.run(config)
    assert code == 0, said
    return digests(config)


@pytest.fixture
def faulty(faulty_s3, tmp_path, empty_database):
    """The proxy, a configuration, and where its things are behind the proxy."""
    proxy, bucket = faulty_s3
    config, place = remote(tmp_path, bucket, "place")
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    return proxy, config, place


@pytest.mark.parametrize("fault", ["slow and lossy", "busy"])
def test_what_passes_does_not_change_a_run(faulty, undisturbed, fault):
    proxy, config, place = faulty
    if fault == "slow and lossy":
        proxy.slow(0.03)
        proxy.lose_every_first()
    else:
        for stage in STAGES:
            proxy.when(at_work(stage), lambda: proxy.busy(10))
    code, said = tiny.run(config)
    proxy.heal()
    assert code == 0, said
    assert digests(config) == undisturbed
    check_one_of_everything(config, place)
    (run,) = find_runs(str(place / "runs"))
    assert run.record.status == "finished"


@pytest.mark.parametrize(
    ("fault", "stages"),
    [("refuse", ("ingest", "train", "evaluate", "push")), ("fill", ("tokenize", "train", "export"))],
)
def test_what_stays_is_named_and_the_same_command_goes_on(faulty, undisturbed, fault, stages, monkeypatch):
    proxy, config, place = faulty
    monkeypatch.setattr(stores, "PATIENCE", 3.0)
    for stage in stages:
        proxy.when(at_work(stage), getattr(proxy, fault))
        code, said = tiny.run(config)
        assert code == 1, (stage, said)
        proxy.heal()
        line = next(line for line in said.splitlines() if line.startswith("failed"))
        assert stage in line.partition("s3://")[0]
        assert str(place) in line
        if (stage, fault) == ("train", "fill"):
            assert "kept: ingest, tokenize, train up to epoch 1" in said
        assert {"refuse": "Check that it runs", "fill": "Make room there"}[fault] in line
        assert "run again" in line
        assert "kept: nothing yet" not in said
    code, said = tiny.run(config)
    assert code == 0, said
    assert digests(config) == undisturbed
    check_one_of_everything(config, place)


@pytest.mark.parametrize("fault", ["busy", "silent"])
def test_ctrl_c_ends_the_waiting_for_a_store(faulty, fault):
    proxy, config, _ = faulty
    reached = threading.Event()

    def fail():
        if fault == "busy":
            proxy.busy(1000)
        else:
            proxy.slow(1000)
        reached.set()

    proxy.when(at_work("tokenize"), fail)
    process = tiny.start("run", config)
    try:
        assert reached.wait(200)
        time.sleep(2)  # until it waits
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=stores.PATIENCE / 2)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130, said
    assert "interrupted" in said
    assert "whatever else the store holds" in said
    assert "go on: " in said
