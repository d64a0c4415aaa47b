"""The tracker's thread, with a mirror of the test's own."""

import threading

import pytest
from made_runs import MadeRun

from pipeline.run.folder import RunFolder
from pipeline.run.record import NodeRecord, RunRecord
from pipeline.tracking import tracker
from pipeline.tracking.tracker import Tracker


class FakeMirror:
    """Has everything that a sync of it gets, unless `fail` says otherwise."""

    uri = "http://user:secret@127.0.0.1:9"

    def __init__(self):
        self.error = None
        self.synced = []
        self.entered, self.fail = threading.Event(), lambda count: False

    def sync(self, record, artifacts):
        self.synced.append(record)
        self.entered.set()
        again = self.fail(len(self.synced))
        self.error = ConnectionError("unreachable") if again else None
        self.arrived = None if again else record
        return again

    def missing(self, record, artifacts):
        return () if self.arrived == record else ("the end",)


@pytest.fixture
def mirror(monkeypatch):
    monkeypatch.setattr(tracker, "_FIRST_PAUSE", 0.001)
    monkeypatch.setattr(tracker, "_LONGEST_PAUSE", 0.001)
    made = FakeMirror()
    monkeypatch.setattr(tracker, "Mirror", lambda uri, folder: made)
    return made


@pytest.fixture
def tracking(mirror, tmp_path):
    return Tracker(mirror.uri, RunFolder.new(MadeRun(tmp_path).root), watch=False)


def record(status="running", **values):
    return RunRecord("a run", "name", status, "2026-11-23T10:00:00+00:00", **values)


def nothing(name):
    return None


def test_the_newest_record_is_mirrored_and_again_while_that_fails(mirror, tracking):
    done = threading.Event()

    def fail(count):
        if count == 5:
            done.set()
        return count < 5

    mirror.fail = fail
    tracking.update(record(), nothing)
    assert done.wait(30)
    tracking.update(record("finished"), nothing)
    assert tracking.finish(30) == []
    assert mirror.synced[-1].status == "finished"


def test_what_changes_all_the_time_is_no_reason_to_ask(mirror, tracking):
    for done in range(50):
        node = NodeRecord("train", "1", "key", 1, "", "running", progress={"done": done})
        tracking.update(record(seconds=float(done), nodes={"train": node}), nothing)
    tracking.finish(30)
    assert len(mirror.synced) <= 2  # of what is there, and at the end
    assert mirror.synced[-1].nodes["train"].progress is None


def test_closing_ends_the_waiting_for_a_better_time(mirror, tracking, monkeypatch):
    monkeypatch.setattr(tracker, "_FIRST_PAUSE", 3600)
    mirror.fail = lambda count: True
    tracking.update(record(), nothing)
    assert mirror.entered.wait(30)
    (problem,) = tracking.finish(30)
    assert problem.startswith("MLflow at http://127.0.0.1:9 did not get the end: unreachable. ")
    assert " sends it later, with the whole address in MLFLOW_TRACKING_URI" in problem


def test_one_that_is_left_ends_with_the_newest_record(mirror, tracking):
    tracking.update(record(), nothing)
    tracking.update(record("failed"), nothing)
    tracking.leave()
    tracking._thread.join(30)
    assert not tracking._thread.is_alive()
    assert mirror.synced[-1].status == "failed"


def test_a_call_that_hangs_is_left_behind(mirror, tracking):
    release = threading.Event()
    mirror.arrived = None
    mirror.fail = lambda count: release.wait()
    tracking.update(record("finished"), nothing)
    (problem,) = tracking.finish(0.1)
    assert "did not get the end: no answer in 0.1 s. " in problem
    release.set()


def test_what_fails_for_good_is_not_tried_until_there_is_something_new(mirror, tracking):
    mirror.arrived = None
    tracking.update(record(), nothing)
    assert mirror.entered.wait(30)
    tracking._closing.wait(0.05)
    assert len(mirror.synced) == 1
    tracking.finish(30)


def test_nothing_to_send(tracking):
    assert tracking.finish(30) == []
