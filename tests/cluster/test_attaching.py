"""Launchers that leave, are killed or interrupted while their job goes on, and those that attach."""

import signal

import pytest
from cluster import wait_for
from jobs import on_cluster, tiny_job
from mlflow import MlflowClient

pytestmark = pytest.mark.cluster


def test_two_attach_to_the_job_of_a_launcher_that_was_killed(bucket, engine, pool, mlflow_server, tmp_path):
    job = tiny_job(bucket, "orphan", tmp_path, mlflow_server.uri, on_cluster(engine, pool))
    with pool.holding("train") as held:
        launcher = job.start()
        held()
        launcher.kill()
        launcher.communicate()
        both = [job.start() for _ in range(2)]
        for process in both:
            assert said(process, "attached to")
    told = [process.communicate(timeout=300)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    (record,) = job.records()
    assert record.status == "finished"
    assert record.metrics["accuracy"] > 0.5
    assert sum("orphan" in name for name, _ in engine.jobs()) == 1
    assert job.served() == ["1"]
    assert_mirrored_once(job, record, mlflow_server)


def test_a_detached_job_that_ends_while_nobody_is_attached(bucket, engine, pool, mlflow_server, tmp_path):
    job = tiny_job(bucket, "detached", tmp_path, mlflow_server.uri, on_cluster(engine, pool))
    with pool.holding("ingest") as held:
        code, told = job.run(detach=True)
        assert code == 0, told
        (record,) = job.records()
        assert f"the portable job {record.job.name} ({record.job.id}) goes on without this command" in told
        held()
        assert job.records()[0].status == "detached"
        attached = job.start()
        assert said(attached, f"attached to the portable job {record.job.name}")
        attached.send_signal(signal.SIGINT)
        told = attached.communicate(timeout=60)[0]
        assert attached.returncode == 130, told
        assert f"left: the portable job {record.job.name} goes on" in told
        assert engine.jobs()[record.job.name, record.job.id] == "RUNNING"
    wait_for(lambda: engine.jobs()[record.job.name, record.job.id] == "DONE")
    assert job.records()[0].status == "detached"
    code, told = job.run()
    assert code == 0, told
    (record,) = job.records()
    assert record.status == "finished"
    assert job.served() == ["1"]
    assert_mirrored_once(job, record, mlflow_server)
    code, told = job.run()
    assert (code, "nothing to do" in told) == (0, True), told


def test_an_interrupt_cancels_the_engines_job(bucket, engine, pool, mlflow_server, tmp_path):
    job = tiny_job(bucket, "interrupted", tmp_path, mlflow_server.uri, on_cluster(engine, pool))
    with pool.holding("ingest") as held:
        launcher = job.start()
        held()
        launcher.send_signal(signal.SIGINT)
        told = launcher.communicate(timeout=60)[0]
        assert launcher.returncode == 130, told
        (record,) = job.records()
        assert (
            f"interrupted in ingest: by Ctrl-C; the portable job {record.job.name} was told to stop" in told
        )
        wait_for(lambda: engine.jobs()[record.job.name, record.job.id] == "CANCELLED")
    assert record.status == "interrupted"


def said(process, words):
    """Waits until a launcher says something; false if it ends before."""
    return any(words in line for line in process.stdout)


def assert_mirrored_once(job, record, server):
    """MLflow has the run, its trial and the version, each once, and all epochs."""
    client = MlflowClient(server.uri)
    experiment = client.get_experiment_by_name(record.config["tracking"]["experiment"])
    runs = client.search_runs([experiment.experiment_id])
    assert [run.info.status for run in runs] == ["FINISHED"] * 2
    assert record.tracking["run"] in {run.info.run_id for run in runs}
    for run in runs:
        history = client.get_metric_history(run.info.run_id, "loss")
        assert [point.step for point in history] == [1, 2]
    assert len(client.search_model_versions(f"name = '{record.name}'")) == 1
