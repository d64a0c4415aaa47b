"""Trials of a sweep in child processes: the same bits, in spite of each other's ends."""

import json
import os
import signal
import socket
import threading
import time

import numpy as np
import pytest
import tensorflow as tf
from stage_runner import run_transform
from tiny_training import MODEL, PLAIN, make_texts, train

from components import files
from components.artifacts.artifact import local_file
from components.train import children, devices
from components.train.children import end_children, pool_of
from components.train.config import TrainConfig
from components.train.transform import Train, Trial
from components.work import Failed, Work

CONFIG = TrainConfig.model_validate({**PLAIN, "epochs": 2, "batch_size": 32})


def die(model, inputs):
    """Measures nothing: the process is killed, as for lack of memory."""
    os.kill(os.getpid(), signal.SIGKILL)


def leave(model, inputs):
    os._exit(3)


def fail(model, inputs):
    raise ValueError("the network has no such layer")


@pytest.fixture(scope="module")
def tokens(tmp_path_factory):
    return make_texts(tmp_path_factory.mktemp("texts"))


@pytest.fixture(autouse=True)
def _ends():
    yield
    end_children()


def trial(root, name, seed=3, parallel=2, **options):
    place = files.resolve(root)
    work = Work(place, "train", f"key of {name}", place / "status" / name, node=name)
    return Trial(CONFIG, MODEL, "classification", seed, work, parallel=parallel, **options)


def fit(tokens, trials):
    return dict(run_transform(Train(trials), [(name, {"tokenize": tokens.reference}) for name in trials]))


def reports(trial):
    return [json.loads(files.read(entry.path)) for entry in files.entries(trial.work.status)]


@pytest.mark.slow
def test_a_child_makes_what_this_process_makes(tokens, tmp_path):
    """With one child, which has all cores; it is used again, and what it trained before leaves no trace."""
    trials = {name: trial(tmp_path, name, seed, 1) for name, seed in (("a", 4), ("b", 3))}
    made = fit(tokens, trials)
    alone = train(tokens, tmp_path / "alone", seed=3, epochs=2)
    assert made["b"].summary == alone.summary
    assert made["b"].seconds > 0
    (file,) = (each for each in made["b"].files if each.name == "model.keras")
    assert local_file(files.resolve(tmp_path), file).read_bytes() == alone.read("model.keras")
    workers = {report["worker"] for each in trials.values() for report in reports(each)}
    assert len(workers) == 1
    assert f"(process {os.getpid()})" not in workers.pop()


@pytest.mark.slow
def test_a_dead_child_and_an_error_cost_no_other_trial(tokens, tmp_path):
    trials = {
        "killed": trial(tmp_path, "killed", measuring=die),
        "left": trial(tmp_path, "left", measuring=leave),
        "failed": trial(tmp_path, "failed", measuring=fail),
        "whole": trial(tmp_path, "whole"),
    }
    made = fit(tokens, trials)
    killed = "the process of the trial was killed by SIGKILL, perhaps for lack of memory; "
    killed += "the next run tries it again"
    assert made["killed"] == Failed(killed)
    assert made["left"].error.startswith("the process of the trial ended with exit code 3")
    assert made["failed"] == Failed("the network has no such layer")
    assert made["whole"].summary["epochs"] == 2
    for name, error in (("killed", killed), ("failed", "ValueError: the network has no such layer")):
        (report,) = reports(trials[name])
        assert (report["state"], report["error"]) == ("idle", error)


@pytest.mark.slow
def test_a_child_waits_where_a_library_has_set_a_default_timeout(tokens, tmp_path):
    """Beam's Dataflow client does; sockets made after it do not block."""
    socket.setdefaulttimeout(60)
    try:
        made = fit(tokens, {"a": trial(tmp_path, "a", parallel=1)})
    finally:
        socket.setdefaulttimeout(None)
    assert made["a"].summary["epochs"] == 2


@pytest.mark.slow
def test_a_full_disk_ends_the_job(tokens, tmp_path):
    """It is no affair of one trial: it would meet all of them."""
    with pytest.raises(Exception, match="no space is left on a disk"):
        fit(tokens, {"full": trial(tmp_path, "full", measuring=fill)})


@pytest.mark.slow
def test_a_trial_without_memory_says_what_makes_it_smaller_and_costs_no_other_one(tokens, tmp_path):
    made = fit(tokens, {"large": trial(tmp_path, "large", measuring=hog), "small": trial(tmp_path, "small")})
    assert made["large"].error.startswith("out of memory with train.batch_size 32 (Unable to allocate")
    assert "Set train.batch_size to 16" in made["large"].error
    assert made["small"].summary["epochs"] == 2


def hog(model, inputs):
    return lambda: float(np.ones(1 << 60, np.float32).sum())


def test_what_waits_can_be_cancelled(monkeypatch):
    """Nothing more is trained for a job that has failed."""
    begun = threading.Event(), threading.Event()

    class Child:
        pid = 1

        def __init__(self, threads):
            pass

        def train(self, work, memory):
            begun[0].set()
            begun[1].wait(30)
            return work[2]

        def kill(self):
            pass

    monkeypatch.setattr(children, "_Child", Child)
    pool = children.Pool(1)
    first, second, third = (pool.submit(None, {}, number) for number in range(3))
    assert begun[0].wait(30)
    assert second.cancel()
    assert not first.cancel()
    begun[1].set()
    assert (first.result(30), third.result(30)) == (0, 2)
    pool.end()


def fill(model, inputs):
    raise OSError(28, "No space left on device")


@pytest.mark.slow
def test_children_end_when_they_are_told(tokens, tmp_path):
    future = pool_of(1).submit(trial(tmp_path, "slow", measuring=wait), {"tokenize": tokens.reference}, None)
    deadline = time.monotonic() + 120
    while not (pid := _pid(tmp_path)) and time.monotonic() < deadline:
        time.sleep(0.05)
    end_children()
    assert "killed by SIGKILL" in str(future.exception(30))
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def wait(model, inputs):
    time.sleep(300)


def _pid(root):
    found = [entry.path.name for entry in files.entries(files.resolve(root) / "status" / "slow")]
    return int(found[0].rpartition("-")[2].removesuffix(".json")) if found else 0


def test_trainings_wait_for_memory_but_never_a_single_one(monkeypatch):
    monkeypatch.setattr(children, "free_memory", lambda: 100)
    memory = children._Memory()
    memory.take(1, 500)
    order = []

    def second():
        memory.take(2, 60)
        order.append("admitted")

    thread = threading.Thread(target=second)
    thread.start()
    thread.join(0.2)
    assert order == []
    memory.give_back(1)
    thread.join(10)
    assert order == ["admitted"]
    memory.take(3, 40)  # beside the 60


def test_children_share_the_cores(monkeypatch):
    environment = children._environment(3)
    names = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
    assert [environment[name] for name in names] == ["3"] * 3


def test_the_threads_that_are_noted_are_those_of_the_environment(monkeypatch):
    for name, value in children._environment(3).items():
        monkeypatch.setenv(name, value)
    assert devices.threads() == {"intra_op": 3, "inter_op": 3}
    monkeypatch.setattr(tf.config.threading, "get_intra_op_parallelism_threads", lambda: 5)
    assert devices.device_facts()["threads"] == {"intra_op": 5, "inter_op": 3}
