"""The same job here and on the cluster: what is known of it afterwards must not differ."""

import subprocess
from dataclasses import dataclass

import keras
import numpy as np
import pytest
from jobs import REPOSITORY, Job, on_cluster, put_data
from known import HOLD_TIMES, known, without

from pipeline.report.facts import find_runs
from pipeline.serving.predict import predict

pytestmark = pytest.mark.cluster

CASES = {
    "dates": ("pipeline.yaml", "dates", (600, 60, 60), ("train.epochs=2",)),
    "languages": ("examples/languages.yaml", "languages", (600, 60, 60), ("train.epochs=2",)),
    "echo": ("examples/echo_state_rnn.yaml", "languages", (600, 60, 60), ()),
}
ASKED = {"dates": [b"3. May 1999\n", b"2001-02-03\n"], "languages": [b"Deutschland\n"], "echo": [b"Suomi\n"]}


@dataclass(frozen=True)
class Both:
    """A job that ran here and on the cluster."""

    name: str
    here: Job
    there: Job
    told: dict[str, str]

    @property
    def places(self):
        return [self.here.place, self.there.place, self.here.uri, self.there.uri]

    def known(self, job):
        return known(job.root, job.uri, self.places)


@pytest.fixture(scope="module", params=CASES)
def both(request, bucket, engine, pool, mlflow_server, tmp_path_factory):
    config, data, rows, overrides = CASES[request.param]
    config, folder = REPOSITORY / config, tmp_path_factory.mktemp("here")
    overrides += ("evaluate.bless=always",)
    place, database = f"{bucket}/{request.param}", f"sqlite:///{folder}/mlflow.db"
    put_data(f"{place}/data", REPOSITORY / "data" / data, rows)
    here = Job(config, f"{place}/data", f"{folder}/{request.param}", database, overrides)
    elsewhere = (*overrides, on_cluster(engine, pool))
    there = Job(config, f"{place}/data", place, mlflow_server.uri, elsewhere)
    told = {}
    for where, job in (("here", here), ("there", there)):
        code, told[where] = job.run()
        assert code == 0, told[where]
    return Both(request.param, here, there, told)


def test_record_metrics_card_and_mlflow_do_not_differ(both):
    one, other = both.known(both.here), both.known(both.there)
    for part in one.keys() - {"digests"}:
        assert other[part] == one[part], part


def test_what_is_printed_does_not_differ(both):
    assert without(both.told["there"], both.places) == without(both.told["here"], both.places)


def test_artifacts_hold_the_same_bits(both):
    one, other = both.known(both.here)["digests"], both.known(both.there)["digests"]
    stages = ("ingest", "tokenize") if both.name == "echo" else ("ingest", "tokenize", "train", "evaluate")
    for stage in stages:  # the export freezes libraries' names for things, which processes draw
        for part in one[stage].keys() - HOLD_TIMES:
            assert other[stage][part] == one[stage][part], (stage, part)


def test_weights_do_not_differ(both):
    one, other = (weights(job) for job in (both.here, both.there))
    assert len(one) == len(other) > 0
    for ours, theirs in zip(one, other, strict=True):
        np.testing.assert_allclose(theirs, ours, rtol=0, atol=1e-6 if both.name == "echo" else 0)


def test_answers_do_not_differ(both):
    texts = ASKED[both.name]
    assert list(predict(f"{both.there.serving}/{_name(both.there)}", texts)) == list(
        predict(f"{both.here.serving}/{_name(both.here)}", texts)
    )


def test_what_the_package_requires_is_what_workers_have(both, pool):
    environment = pool.environment
    checked = subprocess.run(
        [environment.python, "-m", "pip", "check"],
        env=environment.variables,
        cwd=environment.folder,
        capture_output=True,
        text=True,
        check=False,
        **environment.user.options,
    )
    assert [line for line in checked.stdout.splitlines() if line.startswith("rnnpipe")] == []
    assert (environment.packages / "pipeline" / "cli.py").is_file()


def _name(job):
    (run,) = find_runs(job.root)
    return run.record.name


def weights(job):
    (run,) = find_runs(job.root)
    return keras.saving.load_model(run.trained.model_file(), compile=False).get_weights()
