"""Workers, engines and launchers that are killed in the middle of a job."""

import os
import signal
import threading

import pytest
from jobs import on_cluster, tiny_job
from mlflow import MlflowClient

from pipeline.engines import portable

pytestmark = pytest.mark.cluster

STAGES = ("ingest", "tokenize", "train", "evaluate", "export")


@pytest.fixture(scope="module")
def undisturbed(bucket, mlflow_server, tmp_path_factory):
    """The bits that a job makes which nothing happens to."""
    job = tiny_job(bucket, "undisturbed", tmp_path_factory.mktemp("job"), mlflow_server.uri)
    code, told = job.run()
    assert code == 0, told
    return job.digests()


def test_a_worker_that_is_killed_in_any_stage(bucket, engine, pool, mlflow_server, undisturbed, tmp_path):
    job = tiny_job(bucket, "workers", tmp_path, mlflow_server.uri, on_cluster(engine, pool))
    for stage in STAGES:
        killed = []
        with pool.holding(stage) as held, meanwhile(lambda: killed.append(kill(held()))):  # noqa: B023
            code, told = job.run()
        assert code == 1, told
        assert f"failed in {stage}: the engine lost the worker " in told
        assert f"(process {killed[0]}): it was killed, perhaps for lack of memory" in told
        assert "Run again; where that happens again, give workers more memory" in told
        kept = ", ".join(STAGES[: STAGES.index(stage)]) or "nothing yet"
        assert f"kept: {kept}{', train up to epoch 1' if stage == 'train' else ''}\n" in told
        assert "go on: python -m pipeline run" in told
    code, told = job.run()
    assert code == 0, told
    assert "first run" in told
    check_once(job, undisturbed, mlflow_server)
    assert [record.status for record in job.records()] == ["failed"] * 5 + ["finished"]


def test_an_engine_that_is_killed_and_knows_no_job_any_more(
    bucket, mortal_engine, pool, mlflow_server, undisturbed, tmp_path, monkeypatch
):
    monkeypatch.setattr(portable, "_PATIENCE", 2.0)
    job = tiny_job(bucket, "engine", tmp_path, mlflow_server.uri, on_cluster(mortal_engine, pool))
    workers = []

    def kill_engine():
        workers.append(held())
        mortal_engine.kill()

    with pool.holding("train") as held, meanwhile(kill_engine):
        code, told = job.run()
    assert code == 1, told
    assert f"failed in train: the engine at {mortal_engine.endpoint} has not answered for 2 s" in told
    assert f"The last worker at work was {os.uname().nodename} (process {workers[0]})." in told
    assert "kept: ingest, tokenize, train up to epoch 1" in told

    code, told = job.run()
    assert (code, f"nothing answers at {mortal_engine.endpoint}" in told) == (1, True), told
    start_again(mortal_engine, pool)
    with pool.holding("evaluate") as held:
        code, told = job.run(detach=True)
        assert code == 0, told
        held()
        mortal_engine.kill()
    start_again(mortal_engine, pool)
    code, told = job.run()
    assert code == 0, told
    *failed, lost, finished = job.records()
    assert [record.status for record in failed] == ["failed"] * 2
    assert (lost.status, finished.status) == ("failed", "finished")
    assert lost.message == f"the engine no longer knows its job {lost.job.id}"
    assert lost.job.id == finished.job.id  # engines number their jobs
    assert lost.job.name != finished.job.name
    check_once(job, undisturbed, mlflow_server)


def start_again(engine, pool):
    """Starts an engine again, and workers: those that it had try to reach it, and take time from others."""
    pool.stop()
    pool.start()
    engine.start()


def check_once(job, undisturbed, server):
    """Everything is there once, and of the same bits as if nothing had happened."""
    assert job.made() == dict.fromkeys(STAGES, 1)
    assert job.served() == ["1"]
    assert job.digests() == undisturbed
    name = job.records()[-1].name
    assert len(MlflowClient(server.uri).search_model_versions(f"name = '{name}'")) == 1


def kill(pid):
    """Kills a process as by kill -9; returns its id."""
    os.kill(pid, signal.SIGKILL)
    return pid


class meanwhile:  # noqa: N801  (reads as a word)
    """Has something done in a thread while the block goes on, and waits for it."""

    def __init__(self, work):
        self._error = None
        self._work = work
        self._thread = threading.Thread(target=self._do)

    def _do(self):
        try:
            self._work()
        except BaseException as error:
            self._error = error

    def __enter__(self):
        self._thread.start()

    def __exit__(self, *error):
        self._thread.join()
        if self._error is not None:
            raise self._error
