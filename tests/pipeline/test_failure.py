"""What an engine says of a job that did not come to its end, as people read it."""

import os
import socket

import pytest
from apache_beam.portability.api import beam_job_api_pb2 as api
from made_runs import MadeRun

from components import files
from components.heartbeat import Heartbeat
from components.stores import StoreError
from pipeline.engines.engine import JobEndedError, JobFailedError, JobNote
from pipeline.engines.portable import PortableJob
from pipeline.run.failure import failure_of

_HERE = f"{socket.gethostname()} (process {os.getpid()})"


@pytest.fixture
def training(tmp_path):
    """A run that is at its training."""
    made = MadeRun(tmp_path).make("ingest", "tokenize")
    with Heartbeat(made.folder.heartbeat), made.work("train").attempt("fit"):
        yield made


def told(made, error):
    return failure_of(error, made.record(), made.folder)


def test_a_lost_worker_is_named_with_what_may_have_ended_it_and_what_to_do(training):
    failure = told(training, JobFailedError("SDK worker disconnected\nmain.go:78 +0x95", lost_worker=True))
    assert failure.expected
    assert failure.message.startswith(f"the engine lost the worker {_HERE}: it was killed, perhaps for lack")
    assert "Run again" in failure.message
    assert "lower train.batch_size" in failure.message
    assert failure.message.endswith("The engine says: SDK worker disconnected")


def test_a_worker_that_is_lost_before_it_has_begun_has_no_name(tmp_path):
    made = MadeRun(tmp_path)
    failure = told(made, JobFailedError("lost contact", lost_worker=True))
    assert failure.message.startswith("the engine lost a worker that had not begun any stage: it was killed")


@pytest.mark.parametrize("error", [JobFailedError("out of quota."), JobEndedError("out of quota")])
def test_what_the_engine_says_stands_beside_who_was_at_work(training, error):
    failure = told(training, error)
    assert (failure.message, failure.expected) == (
        f"out of quota. The last worker at work was {_HERE}.",
        True,
    )


@pytest.mark.parametrize(
    ("words", "gist"),
    [
        (
            "failed: Traceback (most recent call last):\n  File x\nValueError: no such coder",
            "ValueError: no such coder.",
        ),
        ("panic in stage.Execute\ngoroutine 95\nerrgroup.go:78 +0x95", "panic in stage.Execute."),
        ("x" * 2000, f"{'x' * 240}…."),
    ],
)
def test_of_many_words_the_line_that_says_most_is_told_and_the_rest_on_demand(tmp_path, words, gist):
    failure = told(MadeRun(tmp_path), JobFailedError(words))
    assert failure.text(verbose=False) == f"{gist}\n--verbose shows the traceback."


def test_the_report_of_a_worker_counts_more_than_the_engines_words(training):
    with pytest.raises(ValueError, match="wrong"), training.work("train").attempt("fit"):
        raise ValueError("wrong")
    failure = told(training, JobFailedError("SDK worker disconnected", lost_worker=True))
    assert failure.message == "ValueError: wrong"


@pytest.mark.parametrize(
    ("words", "lost"),
    [
        (
            "bundle inst014 stage-015 failed:SDK worker disconnected: worker[job-001[x]], context canceled",
            True,
        ),
        ("panic in stage.Execute bundle processing goroutine: send on closed channel, stage: &{ID:1}", True),
        ("bundle inst014 stage-015 failed: ValueError: the worker is at work", False),
    ],
)
def test_the_words_of_engines_that_have_lost_a_worker_are_known(words, lost, monkeypatch):
    job = PortableJob(None, JobNote("portable", "job-001", "x"), "localhost:1")
    monkeypatch.setattr(job, "_state", lambda: api.JobState.FAILED)
    monkeypatch.setattr(job, "_listen", lambda: job._errors.append(words))
    with pytest.raises(JobFailedError) as failed:
        job.wait()
    assert failed.value.lost_worker is lost


def test_a_store_that_hides_what_had_begun_hides_no_error(tmp_path, monkeypatch):
    made = MadeRun(tmp_path)
    record = made.record()

    def fail(*_):
        raise StoreError("s3://place has failed for 30 seconds")

    monkeypatch.setattr(files, "entries", fail)
    error = StoreError("s3://place: refused [while running 'ingest/read/FlatMap(<lambda>)']")
    failure = failure_of(error, record, made.folder)
    assert (failure.message, failure.expected) == ("ingest: s3://place: refused", True)
