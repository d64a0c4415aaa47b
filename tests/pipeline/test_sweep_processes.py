"""Sweeps on worker processes, and what becomes of trials' processes when others end."""

import os
import re
import signal
import subprocess
import sys
import time
from itertools import combinations

import pytest
import tiny
from counted_sweeps import digests, meeting_faults, ranking, sweep_in

OFF = "tracking.enabled=false"
HALVING = ("train.epochs=2", "sweep.halving={reduction_factor: 2}")


@pytest.fixture(autouse=True)
def faults():
    with meeting_faults() as patched:
        yield patched


def pids(record):
    """Of the processes in which trials were trained, and of their workers."""
    workers = [node.worker for node in record.nodes.values() if node.stage == "train"]
    return {int(found[1]) for worker in workers if (found := re.search(r"process (\d+)", worker))}


def wait_until(holds, seconds=120):
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)


def are_gone(processes):
    return not any(is_alive(pid) for pid in processes)


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
        return file.read().rpartition(")")[2].split()[0] != "Z"


def parent_of(pid):
    with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
        return int(file.read().rpartition(")")[2].split()[1])


@pytest.mark.slow
def test_two_workers_train_at_the_same_time_and_end_as_one_does(tmp_path, faults):
    """With halving; a worker trains one trial at a time."""
    alone = sweep_in(tmp_path / "alone", 4, OFF, *HALVING, "sweep.parallel=1")
    faults.setenv("TRIALS", str(alone.folder))
    code, said = alone.run()
    assert code == 0, said
    processes = "runner={type: processes, options: {direct_num_workers: 2}}"
    both = sweep_in(tmp_path / "both", 4, *alone.more, processes)
    faults.setenv("TRIALS", str(both.folder))
    code, said = both.run()
    assert code == 0, said
    (one,), (other,) = alone.records(), both.records()
    assert [rung.stop for rung in other.rungs] == [1, 0]
    assert [rung.reached for rung in other.rungs] == [rung.reached for rung in one.rungs]
    assert other.pick == one.pick
    assert ranking(other) == ranking(one)
    assert digests(other) == digests(one)
    assert (overlap(one), overlap(other)) == (False, True)
    assert len(pids(other)) >= 2
    wait_until(lambda: are_gone(pids(other)))


def overlap(record):
    """Whether two trials of the first rung were trained at the same time, by what they have reported."""
    nodes = [record.nodes[name] for name in record.rungs[0].nodes.values()]
    ends = [node.epoch_times[1] / 1000 for node in nodes]
    spans = [(end - node.history[0]["seconds"], end) for node, end in zip(nodes, ends, strict=True)]
    return any(max(one[0], other[0]) < min(one[1], other[1]) for one, other in combinations(spans, 2))


def started(sweep, *more):
    """Starts a sweep with a training that waits; returns the command's process, and the training's."""
    sweep.fault(1, "wait")
    sets = [part for setting in (*sweep.settings, *more) for part in ("--set", setting)]
    process = tiny.start(
        "run",
        sweep.folder / "pipeline.yaml",
        "--until",
        "train",
        *sets,
        environment={**sweep.environment, "MADE": "1"},
        start_new_session=True,
    )
    wait_until(lambda: sweep.met() or process.poll() is not None)
    assert process.poll() is None, process.communicate()[0]
    return process, int((sweep.folder / "met").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda each: each.name
)
def test_trials_end_with_their_launcher(tmp_path, number):
    sweep = sweep_in(tmp_path, 2, OFF)
    process, child = started(sweep)
    assert parent_of(child) == process.pid
    process.send_signal(number)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == (130 if number == signal.SIGINT else -number), said
    wait_until(lambda: not is_alive(child), 20)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=lambda each: each.name)
def test_trials_end_with_the_launcher_of_their_worker(tmp_path, number):
    sweep = sweep_in(tmp_path, 2, OFF)
    process, child = started(sweep, "runner={type: processes, options: {direct_num_workers: 2}}")
    worker = parent_of(child)
    assert worker != process.pid
    process.send_signal(number)
    process.communicate(timeout=60)
    wait_until(lambda: not is_alive(child) and not is_alive(worker), 60)


@pytest.mark.slow
def test_trials_end_with_a_worker_that_is_killed(tmp_path):
    sweep = sweep_in(tmp_path, 2, OFF)
    process, child = started(sweep, "runner={type: processes, options: {direct_num_workers: 2}}")
    os.kill(parent_of(child), signal.SIGKILL)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "a worker process was killed" in said
    wait_until(lambda: not is_alive(child), 20)


def test_a_child_ends_with_a_worker_that_ends_before_it_has_begun():
    program = (
        "import os, signal\n"
        "from components.train.children import _Child\n"
        "print(_Child(1).pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, check=False)
    wait_until(lambda: not is_alive(int(done.stdout)), 60)
