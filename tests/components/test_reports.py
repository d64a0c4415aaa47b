"""What nodes at work in one process report, each to its own status object."""

import json
import threading
from itertools import pairwise
from types import SimpleNamespace

import pytest

from components import files, reports
from components.errors import UserError
from components.reports import EpochFinished, Progress, Warned, emit, listening
from components.work import Work


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    monkeypatch.setattr(reports, "_SECONDS", 0.0)


@pytest.fixture
def work(tmp_path):
    """Makes the work of a node of the train stage."""
    root = files.resolve(tmp_path)
    return lambda node: Work(root, "train", node, root / "status" / node, node=node)


def status_of(work):
    (entry,) = files.entries(work.status)
    return json.loads(files.read(entry.path))


def report(number):
    """What a training reports, which does not know whose it is."""
    emit(Progress("train", number, 10, f"step {number}"))
    emit(EpochFinished("train", number, 2, {"loss": number / 10}, 1.0))
    emit(Warned("train", f"warning {number}"))


def is_of(status, node, number):
    assert status["node"] == node
    assert status["progress"] == {"done": number, "total": 10, "message": f"step {number}"}
    (epoch,) = status["history"]
    assert epoch.pop("at") > 0
    assert epoch == {"epoch": number, "loss": number / 10, "seconds": 1.0}
    assert status["warnings"] == [f"warning {number}"]
    return True


def test_two_nodes_at_work_in_two_threads_report_to_their_own(work):
    nodes, events = [work("train"), work("train 2")], []
    both = threading.Barrier(2, timeout=30)

    def run(number, node):
        with node.attempt("fit"):
            both.wait()  # both have begun
            report(number)
            both.wait()  # and none has ended

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(nodes, start=1)]
    with listening(events.append):
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for number, node in enumerate(nodes, start=1):
        assert is_of(status_of(node), node.node, number)
    assert sorted({(event.stage, getattr(event, "message", "")) for event in events}) == [
        ("train", ""),
        ("train", "step 1"),
        ("train", "warning 1"),
        ("train 2", ""),
        ("train 2", "step 2"),
        ("train 2", "warning 2"),
    ]


def test_an_attempt_that_hands_on_results_before_its_end_reports_to_its_own(work):
    """As engines do, which have the next step work on a result while the step that made it waits."""
    first, second = work("train"), work("evaluate 2")

    def step():
        with first.attempt("predict"):
            yield 1
            report(1)
            yield 2

    for number in step():
        with second.attempt("measure"):
            if number == 2:
                report(2)
    assert is_of(status_of(first), "train", 1)
    assert is_of(status_of(second), "evaluate 2", 2)


def test_after_an_attempt_nobody_is_reported_to(work):
    node, events = work("train"), []
    with pytest.raises(UserError), node.attempt("fit"):
        raise UserError("no luck")
    with listening(events.append):
        emit(Warned("elsewhere", "of nobody"))
    assert events == [Warned("elsewhere", "of nobody")]
    assert (status_of(node)["warnings"], status_of(node)["error"]) == ([], "no luck")


def test_what_nobody_wants_to_know_is_not_reported_to_the_attempt_around_it(work, tmp_path):
    node = work("train")
    with node.attempt("fit"):
        with Work(files.resolve(tmp_path), "tokenize", "key").attempt():
            emit(Warned("tokenize", "of another"))
        emit(Warned("train", "of its own"))
    assert status_of(node)["warnings"] == ["of its own"]


def test_attempts_at_the_same_node_in_one_process_share_its_status(work):
    node = work("train")
    for number in (1, 2):
        with node.attempt("fit"):
            emit(EpochFinished("train", number, 2, {"loss": 0.5}, 1.0))
            assert status_of(node)["state"] == "running"
    status = status_of(node)
    assert [epoch["epoch"] for epoch in status["history"]] == [1, 2]
    assert status["epochs"] == 2


def test_long_work_is_reported_less_often(work, monkeypatch):
    now, puts = [1000.0], []
    monkeypatch.setattr(reports, "_SECONDS", 2.0)
    monkeypatch.setattr(reports, "time", SimpleNamespace(time=lambda: now[0]))
    monkeypatch.setattr(files, "write", lambda place, data: puts.append(now[0]))
    with work("train").attempt("fit"):
        for _ in range(4000):
            now[0] += 1.0
            emit(Progress("train", 1, 10))
    pauses = [after - before for before, after in pairwise(puts)]
    assert set(pauses[:40]) == {2.0}
    assert max(pauses) == pauses[-1] == 30.0
    assert pauses == sorted(pauses)
