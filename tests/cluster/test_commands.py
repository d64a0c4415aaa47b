"""What is done with runs on the cluster from where the commands are given, with MLflow in a file there."""

import io
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import tiny
from cluster import wait_for
from jobs import REPOSITORY, Job, on_cluster, put_data, tiny_job
from mlflow import MlflowClient
from remote.servers import free_port
from rich.console import Console

from components import files
from components.carried import FOLDER
from pipeline.config import ConfigError, load_config
from pipeline.config.places import Places
from pipeline.plan.planning import make_plan
from pipeline.report.compare import compare
from pipeline.report.facts import find_runs
from pipeline.run.evaluation import evaluate_model
from pipeline.run.observe import read_records
from pipeline.serving.predict import predict
from pipeline.serving.pull import pull
from pipeline.serving.rollback import roll_back
from pipeline.store.store import Store
from pipeline.tracking.track import track

pytestmark = pytest.mark.cluster


@dataclass(frozen=True)
class Twice:
    """Two jobs with roots of their own and one serving directory: the second measures the first one's model.

    Args:
        first: the one.
        second: the other.
        told: what the second printed.
    """

    first: Job
    second: Job
    told: str

    @property
    def model(self):
        return f"{self.first.serving}/twice"


@pytest.fixture(scope="module")
def twice(bucket, engine, pool, tmp_path_factory):
    folder = tmp_path_factory.mktemp("twice")
    rules = "evaluate.bless={accuracy: {min: 0.5, max_regression: 0.5}}"
    database = f"sqlite:///{folder}/mlflow.db"
    first = tiny_job(bucket, "twice", folder, database, rules, on_cluster(engine, pool))
    code, told = first.run()
    assert code == 0, told
    second = replace(first, overrides=(*first.overrides, "train.epochs=1"), name_of_root="other")
    code, told = second.run()
    assert code == 0, told
    return Twice(first, second, told)


def test_a_champion_is_carried_to_the_workers_of_another_run(twice):
    (record,) = twice.second.records()
    measured = record.nodes["evaluate champion"]
    assert (measured.state, measured.error) == ("finished", "")
    (own,) = twice.first.records()
    assert measured.summary["metrics"] == own.metrics
    assert len(files.names(files.resolve(twice.second.root) / FOLDER)) == 1
    assert twice.first.served() == ["1", "2"]


def test_mlflow_in_a_file_of_the_launchers_gets_everything(twice):
    for job, epochs in ((twice.first, 2), (twice.second, 1)):
        (record,) = job.records()
        client = MlflowClient(job.uri)
        run = client.get_run(record.tracking["run"])
        assert run.info.status == "FINISHED"
        assert len(client.get_metric_history(run.info.run_id, "loss")) == epochs
        assert run.data.metrics["test/accuracy"] == record.metrics["accuracy"]
        assert track(find_runs(job.root)[0]) == []


def test_nothing_is_left_to_do(twice):
    config = load_config(twice.first.config, twice.first.settings)
    places = Places.of(config)
    assert not any(node.in_job for node in make_plan(config, places, Store(places.root)))


def test_runs_are_compared_and_evaluated_on_other_files(twice, tmp_path):
    runs = [*find_runs(twice.first.root), *find_runs(twice.second.root)]
    assert len(compare(runs).runs) == 2
    put_data(f"{twice.first.place}/new", twice.first.config.parent, (20, 20, 20))
    output = io.StringIO()
    new = [f"{twice.first.place}/new/test.tsv"]
    (record,) = twice.first.records()
    code = evaluate_model(
        record.id, new, Console(file=output, width=200), "champion", twice.first.root, verbose=True
    )
    assert code == 0, output.getvalue()
    assert "20 examples" in output.getvalue()
    assert "champion (version 2)" in output.getvalue()


def test_a_version_is_asked_pulled_and_brought_back(twice, tmp_path):
    (answer,) = predict(twice.model, [b"aaa7\n"])
    assert '"prediction": "a"' in answer
    assert roll_back(twice.model).source == 1
    assert len(list(pull(twice.first.serving, tmp_path / "pulled"))) >= 3
    assert sorted(path.name for path in (tmp_path / "pulled" / "twice").iterdir()) == ["1", "2", "3"]
    (again,) = predict(str(tmp_path / "pulled" / "twice"), [b"aaa7\n"])
    assert '"prediction": "a"' in again


def test_mlflows_pages_show_them(twice):
    port = free_port()
    arguments = [f"--set={setting}" for setting in twice.first.settings]
    command = ["ui", str(twice.first.config), "--port", str(port), *arguments]
    shown = tiny.start(*command)
    try:
        wait_for(lambda: _answers(f"http://127.0.0.1:{port}/health"))
        assert shown.poll() is None
    finally:
        shown.terminate()
        shown.communicate(timeout=30)


def _answers(address):
    try:
        with urllib.request.urlopen(address, timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


@pytest.fixture
def shared(pool):
    """A folder that launcher and workers see under the same path, and may write to."""
    before = os.umask(0)
    folder = Path(tempfile.mkdtemp(prefix="rnnpipe-shared-"))
    folder.chmod(0o777)
    yield folder
    os.umask(before)
    shutil.rmtree(folder)


def test_relative_paths_begin_where_the_command_is_given(shared, engine, pool):
    tiny.write_data(shared)
    config = shared / "pipeline.yaml"
    config.write_text(tiny.CLASSIFICATION.format(folder="."), encoding="utf-8")
    command = [sys.executable, "-m", "pipeline", "run", "pipeline.yaml", "--until", "tokenize"]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONSAFEPATH": "1"}
    done = subprocess.run(
        [*command, "--set", on_cluster(engine, pool, shared_files=True)],
        cwd=shared,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (record,) = read_records(files.resolve(shared / "runs"))
    assert [node.state for node in record.nodes.values()] == ["finished"] * 2
    if pool.environment.user.id is not None:
        (manifest,) = (shared / "runs" / "artifacts" / "tokenize").glob("*/*.json")
        assert manifest.stat().st_uid == pool.environment.user.id


def test_files_that_workers_do_not_see_are_refused(engine, pool, tmp_path):
    config = tiny.make(tmp_path)
    with pytest.raises(ConfigError, match=r"root: received '.*', which is on this machine") as refused:
        tiny.run(config, on_cluster(engine, pool))
    assert "or set runner.shared_files to true" in str(refused.value)
    if pool.environment.user.id is None:
        pytest.skip("the workers are the user who runs the tests, as only root can become another one")
    before = engine.jobs()
    code, told = tiny.run(config, on_cluster(engine, pool, shared_files=True))
    assert code == 1
    assert len(engine.jobs()) == len(before) + 1
    assert "does not see the root as the launcher does" in told, told
    assert str(tmp_path) in told
