"""The record of a run, as it is computed from what the run and its workers have left."""

import itertools
import os
import subprocess
import sys

import pytest
from made_runs import COUNTS, OF_CHAMPION, MadeRun

from components import files, reports
from components.errors import UserError
from components.heartbeat import Heartbeat
from components.reports import Progress, Warned, emit
from pipeline.run.folder import RunFolder
from pipeline.run.observe import Observer, read_records


@pytest.fixture(params=["disk", "memory"])
def root(request, tmp_path, monkeypatch):
    monkeypatch.setenv("RNNPIPE_CACHE", str(tmp_path / "cache"))
    return files.resolve(tmp_path if request.param == "disk" else f"memory://records/{tmp_path.name}")


def states(run):
    return {name: node.state for name, node in run.record().nodes.items()}


def test_a_run_is_known_at_every_moment(root):
    run = MadeRun(root)
    with Heartbeat(run.folder.heartbeat):
        assert set(states(run).values()) == {"waiting"}
        with run.work("ingest").attempt("read"):
            emit(Warned("ingest", "there are duplicates"))
            emit(Warned("ingest", "there are duplicates"))
            assert states(run)["ingest"] == "running"
            assert run.record().nodes["ingest"].warnings == ("there are duplicates",)
        run.make("ingest", seconds=1.5)
        node = run.record().nodes["ingest"]
        assert (node.state, node.seconds, node.reason) == ("finished", 1.5, "first run")
        assert run.observer.artifact("ingest").summary["examples"] == COUNTS
        run.make("tokenize").train(1)
        assert run.record().at_work.name == "train"
        train = run.record().node("train")
        assert (train.epochs, train.planned_epochs) == (1, 2)
    run.train(2)
    run.make("train", "evaluate").end(served="serving/made/1")
    (record,) = read_records(root)
    assert record == run.record()
    assert (record.status, record.node("train").epochs) == ("finished", 2)
    assert record.served == "serving/made/1"
    assert [epoch["loss"] for epoch in record.history] == [0.5, 0.4]
    assert record.metrics["exact_match"] == 0.8
    assert states(run)["export"] == "not reached"
    assert record.nodes["evaluate"].reference.digests == run.observer.artifact("evaluate").manifest.digests


def test_no_node_is_seen_to_begin_before_those_ahead_of_it(root, monkeypatch):
    """Also if work goes on while the record is computed."""
    run = MadeRun(root)
    with Heartbeat(run.folder.heartbeat):
        waiting, read = iter(states(run)), RunFolder.reports

        def reports_while_two_begin(folder, node, known):
            seen = read(folder, node, known)
            for name in itertools.islice(waiting, 2):
                with run.work(name).attempt("at work"):
                    pass
            return seen

        monkeypatch.setattr(RunFolder, "reports", reports_while_two_begin)
        for _ in range(2):
            begun = [state != "waiting" for state in states(run).values()]
            assert begun == sorted(begun, reverse=True)
        assert all(begun)


def test_what_another_run_has_made_is_reused(root):
    MadeRun(root, "a").make("ingest", "tokenize", "train").end()
    second = MadeRun(root, "b").make("train")
    record = second.record()
    found = {name: (node.state, node.seconds) for name, node in record.nodes.items()}
    assert found["ingest"] == found["tokenize"] == ("reused", None)
    assert found["train"] == ("finished", 12.0)


def test_how_far_it_is_comes_from_the_newest_report(root, monkeypatch):
    monkeypatch.setattr(reports, "_SECONDS", 0.0)  # what is emitted soon after a report would wait
    run = MadeRun(root)
    with run.work("ingest").attempt("read"):
        for done in (10, 20):
            emit(Progress("ingest", done, 100, "records"))
            progress = run.record().nodes["ingest"].progress
            assert progress == {"done": done, "total": 100, "message": "records"}


def test_an_error_means_nothing_as_long_as_the_job_goes_on(root):
    run = MadeRun(root)
    with pytest.raises(UserError), run.work("ingest").attempt("read"):
        raise UserError("ingest: the disk is full")
    with Heartbeat(run.folder.heartbeat):
        node = run.record().nodes["ingest"]
    assert (node.state, node.error, node.unexpected) == ("running", "ingest: the disk is full", False)
    run.make("ingest")
    assert states(run)["ingest"] == "finished"
    with pytest.raises(ZeroDivisionError), run.work("tokenize").attempt():
        print(1 / 0)
    run.end("failed", "tokenize: division by zero")
    assert states(run) == {
        "ingest": "finished",
        "tokenize": "failed",
        **dict.fromkeys(("train", "evaluate", "export", OF_CHAMPION), "not reached"),
    }
    node = run.record().nodes["tokenize"]
    assert node.unexpected
    assert "ZeroDivisionError" in node.traceback
    assert run.record().at_work == node


def test_a_run_ends_once(root):
    run = MadeRun(root)
    run.end("interrupted", "by Ctrl-C")
    run.end("failed", "of something else")
    assert (run.record().status, run.record().message) == ("interrupted", "by Ctrl-C")


def test_a_run_that_shows_no_sign_of_life_was_killed(root):
    run = MadeRun(root)
    with Heartbeat(run.folder.heartbeat):
        assert run.record().status == "running"
    assert run.record().status == "killed"


def test_a_run_whose_process_is_gone_was_killed(tmp_path):
    run = MadeRun(tmp_path)
    beating = "import sys, time; from components import files; from components.heartbeat import Heartbeat\n"
    beating += "Heartbeat(files.resolve(sys.argv[1])).__enter__(); print('beats', flush=True); time.sleep(60)"
    process = subprocess.Popen(
        [sys.executable, "-c", beating, str(run.folder.heartbeat)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.getcwd()},
    )
    assert process.stdout.readline() == b"beats\n"
    assert run.record().status == "running"
    process.kill()
    process.wait()
    assert run.record().status == "killed"


def test_the_first_one_settles_which_run_of_mlflow_it_is(root):
    run = MadeRun(root)
    assert run.record().tracking == {}
    assert [run.folder.note_tracking("uri", each) for each in ("one", "other")] == ["one", "one"]
    assert run.record().tracking == {"uri": "uri", "run": "one"}
    assert run.folder.tracked("1") == ""
    assert run.folder.note_tracking("uri", "trial", "1") == run.folder.tracked("1") == "trial"
    assert run.folder.tracked() == "one"


def test_a_folder_without_a_start_is_no_run(root):
    folder = RunFolder.new(root)
    files.write(folder.heartbeat, b"{}")
    assert read_records(root) == []


def test_no_runs_no_records(tmp_path):
    assert read_records(files.resolve(tmp_path / "none")) == []


def test_what_another_run_makes_later_is_none_of_a_failed_run(tmp_path):
    failed = MadeRun(tmp_path).make("ingest")
    failed.end("failed", "no luck")
    before = failed.record()
    assert before.nodes["tokenize"].state == "not reached"
    later = MadeRun(tmp_path).make("tokenize")
    assert later.record().nodes["ingest"].state == "reused"
    assert later.record().nodes["tokenize"].state == "finished"
    seen_again = Observer(failed.folder, failed.store).record()
    assert seen_again.nodes["tokenize"].state == "not reached"


def test_tracking_a_killed_run_later_is_no_sign_of_life(tmp_path):
    killed = MadeRun(tmp_path).make("ingest")
    with killed.work("tokenize").attempt("count"):
        pass
    for entry in files.entries(killed.folder.place):
        os.utime(entry.path, (entry.modified - 3600, entry.modified - 3600))
    later = MadeRun(tmp_path).make("tokenize").end()
    killed.folder.note_tracking("sqlite:///mlflow.db", "run")
    record = killed.record()
    assert record.status == "killed"
    assert record.nodes["tokenize"].state == "interrupted"
    assert record.nodes["train"].state == "not reached"
    assert later.record().nodes["tokenize"].state == "finished"


def test_the_node_at_work_is_the_one_with_the_error(tmp_path):
    run = MadeRun(tmp_path).make("ingest", "tokenize")
    with run.work("train").attempt("begin"):
        pass
    with pytest.raises(UserError), run.work(OF_CHAMPION).attempt("predict"):
        raise UserError("no answer")
    assert run.record().at_work.name == OF_CHAMPION
    assert run.end("failed", "no answer").record().at_work.name == OF_CHAMPION
