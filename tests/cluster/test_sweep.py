"""A sweep with halving, here and on the cluster: what comes of its trials must not differ."""

import re
from itertools import combinations

import pytest
from cluster import is_alive, wait_for
from jobs import on_cluster, tiny_job

pytestmark = pytest.mark.cluster

SWEEP = "sweep={over: {model.encoder.units: [4, 5, 6, 8]}, halving: {reduction_factor: 2}, parallel: 2}"
SETTINGS = (SWEEP, "model.encoder.type=simple_rnn", "train.epochs=2", "evaluate.bless=always")


@pytest.fixture(scope="module")
def both(bucket, engine, pool, mlflow_server, tmp_path_factory):
    """The same sweep here and there, and the record of each."""
    jobs = {}
    for where, more in (("here", ()), ("there", (on_cluster(engine, pool),))):
        folder = tmp_path_factory.mktemp(where)
        jobs[where] = tiny_job(bucket, f"sweep-{where}", folder, mlflow_server.uri, *SETTINGS, *more)
        code, told = jobs[where].run()
        assert code == 0, told
    return jobs


def records(both):
    (here,), (there,) = both["here"].records(), both["there"].records()
    return here, there


def test_rungs_ranking_and_pick_do_not_differ(both):
    here, there = records(both)
    assert [rung.stop for rung in there.rungs] == [1, 0]
    assert [rung.ranking for rung in there.rungs] == [rung.ranking for rung in here.rungs]
    assert [rung.reached for rung in there.rungs] == [rung.reached for rung in here.rungs]
    assert there.pick == here.pick
    assert both["there"].served() == ["1"]


def test_the_trained_models_are_the_same_bits(both):
    here, there = records(both)
    trained = [name for rung in here.rungs for name in rung.nodes.values() if here.nodes[name].reference]
    assert len(trained) == 6  # all of the first rung, and half of them to the end
    for name in trained:
        one, other = (record.nodes[name] for record in (here, there))
        assert other.reference.digests["model"] == one.reference.digests["model"], name
        assert other.summary["threads"] == one.summary["threads"]


def test_trials_overlap_in_processes_that_are_gone_afterwards(both):
    _, there = records(both)
    nodes = [there.nodes[name] for name in there.rungs[0].nodes.values()]
    ends = [node.epoch_times[1] / 1000 for node in nodes]
    spans = [(end - node.history[0]["seconds"], end) for node, end in zip(nodes, ends, strict=True)]
    assert any(max(one[0], other[0]) < min(one[1], other[1]) for one, other in combinations(spans, 2))
    processes = {int(re.search(r"process (\d+)", node.worker)[1]) for node in nodes}
    assert len(processes) >= 2  # two children, and their worker where it was the last to report
    wait_for(lambda: not any(map(is_alive, processes)), seconds=60)
