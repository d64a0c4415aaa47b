"""Dataflow's API slow, unreachable and refusing; jobs that are cancelled, and names that are taken."""

import pytest

pytest.importorskip(
    "google.cloud.dataflow",
    reason="Beam's parts for Google Cloud are not installed, which make test-cluster does",
)

import apache_beam as beam
import tiny
from dataflow_fixtures import config_fixture, dataflow_fixture, ending, private_key, records  # noqa: F401
from google.cloud.dataflow import JobState

from components import files
from components.errors import UserError
from pipeline.config import load_config
from pipeline.engines import dataflow_api, engine_of
from pipeline.engines.dataflow_job import DataflowJob
from pipeline.engines.engine import JobEndedError, JobNote, JobUnreachableError

pytestmark = pytest.mark.cluster


def submitted(config, name="rnnpipe-letters-0123"):
    """A job of one step."""
    return engine_of(load_config(config)).submit(lambda pipeline: pipeline | beam.Create([1]), name)


def test_an_api_that_fails_for_a_while_is_asked_again(dataflow, config):
    dataflow.work = ending("DONE")
    job = submitted(config)
    dataflow.faults = [("GET", status) for status in (503, 429, 0, 500, 404)]
    job.wait()
    assert dataflow.faults == []


def test_an_answer_to_the_submission_that_is_lost_starts_one_job(dataflow, config, monkeypatch):
    from apache_beam.utils import retry

    monkeypatch.setattr(retry.Clock, "sleep", lambda self, seconds: None)
    dataflow.loses_answers = 1
    submitted(config)
    assert len(dataflow.jobs) == 1
    assert sum(request == ("POST", dataflow.path) for request in dataflow.requests) == 2


def test_a_job_that_nobody_can_be_asked_about_is_left_for_the_same_command(dataflow, config, monkeypatch):
    monkeypatch.setattr(dataflow_api, "_PATIENCE", 0.2)
    unreachable = dataflow_api.DataflowApi.state

    def unplugged(api, address):
        dataflow.faults = [("GET", 503)] * 100
        return unreachable(api, address)

    monkeypatch.setattr(dataflow_api.DataflowApi, "state", unplugged)
    code, printed = tiny.run(config, until="ingest")
    assert (code, "left: Dataflow has not answered for" in printed, "attach: " in printed) == (1, True, True)
    assert [record.status for record in records(config)] == ["detached"]

    dataflow.faults = []
    monkeypatch.setattr(dataflow_api.DataflowApi, "state", unreachable)
    dataflow.work = ending("FAILED", "too bad")
    code, printed = tiny.run(config, until="ingest")
    assert (code, "attached to" in printed, "too bad" in printed) == (1, True, True)
    assert [record.status for record in records(config)] == ["failed"]
    assert len(dataflow.jobs) == 1


def test_a_refusal_to_answer_names_itself_at_once(dataflow, config):
    job = submitted(config)
    dataflow.faults = [("GET", 403)]
    with pytest.raises(JobUnreachableError, match="refuses to answer"):
        job.wait()


def test_a_submission_that_is_refused(dataflow, config):
    dataflow.faults = [("POST", 403)]
    with pytest.raises(UserError, match=r"Dataflow did not take the job: .*docs/dataflow\.md"):
        submitted(config)


def test_a_bucket_that_is_not_there(dataflow, config):
    code, printed = tiny.run(config, until="ingest", flags=["--temp_location=gs://no-such-bucket-12/temp"])
    assert (code, "the bucket of gs://no-such-bucket-12/temp cannot be used" in printed) == (1, True), printed
    assert dataflow.jobs == []


def test_no_credentials(dataflow, config, monkeypatch):
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS")
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(config.parent))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    with pytest.raises(UserError, match="gcloud auth application-default login"):
        submitted(config)
    assert dataflow.requests == []


def test_jobs_that_dataflow_does_not_know(dataflow, config):
    engine = engine_of(load_config(config))
    job = submitted(config)
    assert isinstance(engine.find(job.note), DataflowJob)
    elsewhere = engine_of(load_config(config), ["--region=us-central1"])
    assert elsewhere.find(job.note).note == job.note  # where it was submitted, not where jobs go now
    assert engine.find(JobNote("dataflow", job.note.id + "0", job.note.name)) is None
    assert engine.find(JobNote("dataflow", "of another engine", job.note.name)) is None


def test_ctrl_c_cancels_the_job(dataflow, config):
    code, printed = interrupted(dataflow, config)
    (job,) = dataflow.jobs
    assert (code, "was told to stop" in printed) == (130, True), printed
    assert job.requested == JobState.JOB_STATE_CANCELLED
    assert [record.status for record in records(config)] == ["interrupted"]
    # It has not ended yet, and its name is taken.
    code, printed = tiny.run(config, until="ingest")
    assert (code, "is being cancelled" in printed) == (1, True), printed
    while job.state != JobState.JOB_STATE_CANCELLED:
        job.look()
    assert tiny.run(config, until="ingest", detach=True)[0] == 0
    assert len(dataflow.jobs) == 2


def test_ctrl_c_only_leaves_a_detached_job(dataflow, config):
    assert tiny.run(config, until="ingest", detach=True)[0] == 0
    code, printed = interrupted(dataflow, config)
    assert (code, "left: " in printed, "goes on" in printed) == (130, True, True), printed
    assert dataflow.jobs[0].requested == JobState.JOB_STATE_UNKNOWN
    assert [record.status for record in records(config)] == ["detached"]


def test_a_job_that_cannot_be_told_to_stop_is_left_and_named(dataflow, config):
    dataflow.faults = [("PUT", 403)]
    code, printed = interrupted(dataflow, config)
    (job,) = dataflow.jobs
    assert (code, "at your cost" in printed, job.id in printed) == (130, True, True), printed
    assert [record.status for record in records(config)] == ["detached"]


def test_cancelling_what_has_ended_is_no_error(dataflow, config):
    job = submitted(config)
    dataflow.jobs[0].end("CANCELLED")
    job.cancel()
    with pytest.raises(JobEndedError, match="was cancelled"):
        job.wait()


@pytest.mark.parametrize("refuses", [False, True])
def test_a_second_submission_of_a_name_attaches(refuses, dataflow, config):
    dataflow.refuses_names = refuses
    assert tiny.run(config, until="ingest", detach=True)[0] == 0
    (record,) = records(config)
    # As after a launcher that was killed before it could note its job.
    files.delete([files.resolve(load_config(config).root) / "runs" / record.id / "job.json"])
    dataflow.work = ending("FAILED", "too bad")
    code, printed = tiny.run(config, until="ingest")
    assert (code, "too bad" in printed) == (1, True), printed
    assert len(dataflow.jobs) == 1
    assert {record.job.id for record in records(config) if record.job} == {
        f"projects/a-project/locations/europe-west1/jobs/{dataflow.jobs[0].id}"
    }


def interrupted(dataflow, config):
    """Runs it, and interrupts it when its state is asked for the second time."""
    asked = []
    state = dataflow_api.DataflowApi.state

    def interrupting(api, address):
        asked.append(address)
        if len(asked) == 2:
            raise KeyboardInterrupt("interrupted")
        return state(api, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dataflow_api.DataflowApi, "state", interrupting)
        return tiny.run(config, until="ingest")
