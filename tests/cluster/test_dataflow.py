"""Dataflow's unmodified runner on a stand-in for its API: docs/dataflow.md tells what that shows."""

import pytest

pytest.importorskip(
    "google.cloud.dataflow",
    reason="Beam's parts for Google Cloud are not installed, which make test-cluster does",
)

import apache_beam as beam
import tiny
from dataflow_fixtures import Worker, config_fixture, dataflow_fixture, ending, private_key, records  # noqa: F401
from google.cloud.dataflow import JobState

from components import files
from pipeline.config import load_config
from pipeline.engines import engine_of
from pipeline.tracking.mlflow_client import open_client

pytestmark = pytest.mark.cluster

PAGE = "https://console.cloud.google.com/dataflow/jobs/europe-west1/"


def test_a_job_comes_through(dataflow, config, tmp_path):
    dataflow.work = worker = Worker(tmp_path)
    code, printed = tiny.run(config)
    assert code == 0, printed + worker.output
    (record,) = records(config)
    assert (record.status, record.job.engine) == ("finished", "dataflow")
    assert [node.state for node in record.nodes.values()] == ["finished"] * 5
    (job,) = dataflow.jobs
    assert record.job.id == f"projects/a-project/locations/europe-west1/jobs/{job.id}"
    assert record.job.page == f"{PAGE}{job.id}?project=a-project"
    assert "accuracy" in printed
    assert files.names(files.resolve(load_config(config).export.directory) / "letters") == ["1"]
    assert tiny.run(config)[0] == 0
    assert len(dataflow.jobs) == 1


def test_a_sweep_comes_to_its_pick(dataflow, config, tmp_path):
    dataflow.work = worker = Worker(tmp_path)
    sweep = "sweep={over: {model.encoder.units: [4, 8]}, halving: {reduction_factor: 2}}"
    code, printed = tiny.run(config, sweep, "evaluate.bless=always")
    assert code == 0, printed + worker.output
    (record,) = records(config)
    assert [rung.stop for rung in record.rungs] == [1, 0]
    assert record.rungs[0].reached == {"1", "2"}
    assert record.rungs[1].reached == {record.pick}
    assert record.pick == record.rungs[0].ranking[0].group
    assert record.nodes["evaluate"].trials == (record.pick,)
    assert record.served


def test_a_launcher_leaves_and_another_one_attaches(dataflow, config, tmp_path):
    code, printed = tiny.run(config, detach=True)
    assert code == 0, printed
    (job,) = dataflow.jobs
    assert f"{PAGE}{job.id}" in printed
    assert [record.status for record in records(config)] == ["detached"]
    assert tiny.run(config, detach=True)[0] == 0  # it is alive
    assert len(dataflow.jobs) == 1

    dataflow.work = worker = Worker(tmp_path)
    while job.state != JobState.JOB_STATE_RUNNING:
        job.look()
    assert worker.done.wait(300)
    assert job.state == JobState.JOB_STATE_DONE, worker.output
    (record,) = records(config)
    assert (record.status, record.tracking, record.served) == ("detached", {}, "")
    assert [node.state for node in record.nodes.values()] == ["finished"] * 5

    code, printed = tiny.run(config)
    assert code == 0, printed
    assert f"attached to the dataflow job {record.job.name}" in printed
    assert tiny.run(config)[0] == 0  # nothing to do
    (record,) = records(config)
    assert (record.status, record.served) == ("finished", f"{load_config(config).export.directory}/letters/1")
    client = open_client(f"sqlite:///{tmp_path}/mlflow.db")
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    runs = client.search_runs(experiments, "tags.rnnpipe.run LIKE '%'")
    assert [run.info.run_id for run in runs] == [record.tracking["run"]]
    assert [int(version.version) for version in client.search_model_versions()] == [1]
    assert len(dataflow.jobs) == 1


@pytest.mark.parametrize(
    ("state", "errors", "expected"),
    [
        ("FAILED", ["Startup of the worker pool failed: QUOTA_EXCEEDED"], "QUOTA_EXCEEDED"),
        ("FAILED", [], "Dataflow does not say why"),
        ("CANCELLED", [], "was cancelled"),
        ("DRAINED", [], "was drained"),
        ("UPDATED", [], "was updated"),
    ],
)
def test_the_end_of_a_job_is_that_of_its_run(state, errors, expected, dataflow, config):
    dataflow.work = ending(state, *errors)
    code, printed = tiny.run(config, until="ingest")
    assert (code, expected in printed) == (1, True), printed
    (record,) = records(config)
    assert record.status == "failed"
    assert expected in record.message
    assert PAGE in record.message
    assert "go on: " in printed
    dataflow.work = ending("FAILED", "again")
    assert tiny.run(config, until="ingest")[0] == 1
    assert len(dataflow.jobs) == 2  # what has ended is not attached to


def test_what_is_raised_in_a_stage_is_told_as_there(dataflow, config, gcs, tmp_path):
    files.write(files.resolve(f"{gcs}/train.tsv"), b"text\tlabel\n")
    dataflow.work = worker = Worker(tmp_path)
    code, printed = tiny.run(config, until="ingest")
    assert code == 1
    assert "failed in ingest:" in printed, worker.output
    assert "Traceback" not in printed


def test_the_traceback_of_a_worker_says_more_than_who_tried(dataflow, config):
    dataflow.work = ending(
        "FAILED",
        'Traceback (most recent call last):\n  File "x.py", line 1\nRuntimeError: no such thing',
        "Workflow failed. Causes: S01 failed. The work item was attempted on these workers: a, b, c, d",
    )
    job = submitted(config)
    with pytest.raises(Exception, match=r"\nRuntimeError: no such thing \(https://console.*\)\Z") as failed:
        job.wait()
    assert not failed.value.lost_worker


@pytest.mark.parametrize(
    "error",
    [
        "Workflow failed. Root cause: The worker lost contact with the service.",
        "Root cause: SDK disconnect.",
        "SDK worker appears to be dead. Aborting SDK sdk-0-0",
    ],
)
def test_the_loss_of_workers_is_told_from_an_error_in_one(error, dataflow, config):
    dataflow.work = ending("FAILED", error)
    with pytest.raises(Exception, match=error.partition(".")[0]) as failed:
        submitted(config).wait()
    assert failed.value.lost_worker


def submitted(config, name="rnnpipe-letters-0123", *flags):
    """A job of one step, which is only submitted."""
    engine = engine_of(load_config(config), flags)
    return engine.submit(lambda pipeline: pipeline | beam.Create([1]), name)
