"""A sweep that is interrupted or extended ends as if asked for at once: no trial twice, and none lost."""

import os
import signal
from datetime import datetime

import pytest
from counted_sweeps import Sweep, digests, meeting_faults, ranking, sweep_in

from components.artifacts.trained_model import TrainedModel
from pipeline.run.record import DONE, NodeRecord
from pipeline.run.threads import with_thread_warning
from pipeline.store.store import Store

MANY = int(os.environ.get("SWEEP_TRIALS", "200"))  # fewer take less long


@pytest.fixture(autouse=True, scope="module")
def _children_meet_faults():
    with meeting_faults():
        yield


def interrupted(sweep, monkeypatch):
    """Interrupts a sweep three times, at its first, second and third quarter; returns its last run."""
    monkeypatch.setenv("TRIALS", str(sweep.folder))
    quarter = sweep.trials // 4
    sweep.fault(quarter, "kill-launcher")
    assert sweep.killed() == -signal.SIGKILL
    assert sweep.met()
    assert sweep.records()[-1].status == "killed"

    sweep.fault(quarter, "fill-disk")
    code, said = sweep.run()
    assert (code, sweep.met()) == (1, True)
    assert "no space is left on a disk" in said
    assert "run again: what is finished is kept" in said

    sweep.fault(quarter, "kill-child")
    code, said = sweep.run()
    assert (code, sweep.met()) == (0, True), said
    record = sweep.records()[-1]
    assert record.status == "finished"
    (failed,) = [node for node in record.nodes.values() if node.state == "failed"]
    assert "killed by SIGKILL" in failed.error
    assert failed.error.endswith("the next run tries it again")
    assert [each.complete for each in record.rungs[-1].ranking] == [True] * (sweep.trials - 1) + [False]

    begun = len(sweep.noted("begun"))
    code, said = sweep.run()
    assert code == 0, said
    assert [node for node, _ in sweep.noted("begun")[begun:]] == [failed.name]
    return sweep.records()[-1]


def check_complete(sweep, record):
    """Every trial is there once, and was trained once, but for those that were at work when it happened."""
    assert record.status == "finished"
    nodes = [node for node in record.nodes.values() if node.stage == "train"]
    assert len(nodes) == len(record.trials) == sweep.trials
    assert {node.state for node in nodes} <= set(DONE)
    store = Store(sweep.root)
    assert {len(store.made("train", node.key)) for node in nodes} == {1}
    made = {node.name: datetime.fromisoformat(manifest(node).made).timestamp() for node in nodes}
    assert {node for node, _ in sweep.noted("ended")} == made.keys()
    assert [node for node, when in sweep.noted("begun") if when > made[node]] == []
    # When the launcher was killed, and when the disk was full, two were at work, of which one may have ended
    # and another one begun before it was committed; and one was killed.
    assert 3 <= len(sweep.noted("begun")) - sweep.trials <= 7
    (rung,) = record.rungs
    assert all(each.complete for each in rung.ranking)
    assert len(rung.ranking) == sweep.trials
    assert record.pick == rung.ranking[0].group


def manifest(node):
    return TrainedModel.load(node.reference).manifest


def test_twelve_trials_of_no_length(tmp_path, monkeypatch):
    """Everything but the training is what it is elsewhere."""
    monkeypatch.setenv("MADE", "1")
    off = "tracking.enabled=false"
    sweep = sweep_in(tmp_path / "interrupted", 12, off)
    record = interrupted(sweep, monkeypatch)
    check_complete(sweep, record)
    undisturbed = sweep_in(tmp_path / "undisturbed", 12, off)
    monkeypatch.setenv("TRIALS", str(undisturbed.folder))
    code, said = undisturbed.run()
    assert code == 0, said
    assert len(undisturbed.noted("begun")) == 12
    (other,) = undisturbed.records()
    assert ranking(record) == ranking(other)
    assert digests(record) == digests(other)


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """Trials that are trained, interrupted and finished."""
    sweep = sweep_in(tmp_path_factory.mktemp("many"), MANY)
    with pytest.MonkeyPatch.context() as patched:
        interrupted(sweep, patched)
        code, said = sweep.run(until=None)
    assert code == 0, said
    return sweep, sweep.records()[-1]


@pytest.mark.slow
def test_no_trial_is_built_twice_and_none_is_lost(many):
    check_complete(*many)


@pytest.mark.slow
def test_many_trials_end_with_the_bits_of_an_undisturbed_sweep(many, tmp_path, monkeypatch):
    _, record = many
    undisturbed = sweep_in(tmp_path, MANY, "tracking.enabled=false")
    monkeypatch.setenv("TRIALS", str(undisturbed.folder))
    code, said = undisturbed.run()
    assert code == 0, said
    assert len(undisturbed.noted("begun")) == MANY
    (other,) = undisturbed.records()
    assert other.pick == record.pick
    assert ranking(record) == ranking(other)
    assert digests(record) == digests(other)


@pytest.mark.slow
def test_mlflow_has_one_child_for_every_trial(many):
    from mlflow import MlflowClient

    sweep, record = many
    client = MlflowClient(f"sqlite:///{sweep.folder}/mlflow.db")
    parent = client.get_run(record.tracking["run"])
    children, token = [], None
    while token is not None or not children:
        page = client.search_runs(
            [parent.info.experiment_id],
            f"tags.mlflow.parentRunId = '{parent.info.run_id}'",
            max_results=500,
            page_token=token,
        )
        children += page
        if not (token := page.token):
            break
    assert len(children) == len(record.trials)
    assert {child.info.status for child in children} == {"FINISHED"}


@pytest.mark.slow
def test_what_is_added_is_trained_and_nothing_else(tmp_path, monkeypatch):
    """Trials, repeats and epochs, one after the other; and a child that is killed on the way."""
    off = ("tracking.enabled=false", "train.batch_size=64")
    sweep = sweep_in(tmp_path / "grown", 2, *off)
    monkeypatch.setenv("TRIALS", str(sweep.folder))
    steps = [
        (2, (), ["train", "train 2"]),
        (3, (), ["train 3"]),
        (3, ("sweep.repeat=2",), ["train 1.2", "train 2.2", "train 3.2"]),
    ]
    for trials, more, trained in steps:
        sweep = Sweep(sweep.folder, trials, (*off, *more))
        begun = len(sweep.noted("begun"))
        code, said = sweep.run()
        assert code == 0, said
        assert sorted(node for node, _ in sweep.noted("begun")[begun:]) == sorted(trained)

    longer = (*off, "sweep.repeat=2", "train.epochs=3")
    sweep = Sweep(sweep.folder, 3, longer)
    sweep.fault(1, "kill-after-epoch")
    code, said = sweep.run()
    assert (code, sweep.met()) == (0, True), said
    nodes = of_training(sweep.records()[-1])
    (killed,) = [node for node in nodes if node.state == "failed"]
    assert [epoch["epoch"] for epoch in killed.history] == [2]
    others = [node for node in nodes if node is not killed]
    assert [[epoch["epoch"] for epoch in node.history] for node in others] == [[2, 3]] * 5
    assert {node.warnings for node in others} == {()}  # nothing was interrupted

    begun = len(sweep.noted("begun"))
    code, said = sweep.run()
    assert code == 0, said
    assert [node for node, _ in sweep.noted("begun")[begun:]] == [killed.name]
    record = sweep.records()[-1]
    again = record.nodes[killed.name]
    assert [epoch["epoch"] for epoch in again.history] == [3]
    assert again.warnings == ("going on after epoch 2 of an earlier run",)

    whole = sweep_in(tmp_path / "whole", 3, *longer)
    monkeypatch.setenv("TRIALS", str(whole.folder))
    code, said = whole.run()
    assert code == 0, said
    (other,) = whole.records()
    assert ranking(record) == ranking(other)
    assert digests(record) == digests(other)
    assert len(digests(other)) == 6
    assert {node.summary["threads"]["intra_op"] for node in of_training(other)} == {share()}


def of_training(record):
    return [node for node in record.nodes.values() if node.stage == "train"]


def share():
    """Of the cores, of one of two children."""
    return max(len(os.sched_getaffinity(0)) // 2, 1)


def test_reused_trials_of_other_threads_are_told():
    def node(trial, state, count):
        summary = {"threads": {"intra_op": count, "inter_op": 9}} if count else {}
        return NodeRecord("train", trial, "key", 1, "", state, summary=summary)

    def warned(*nodes):
        by_name = {node.name: node for node in nodes}
        told = with_thread_warning(by_name, by_name)
        return {name: node.warnings for name, node in told.items() if node.warnings}

    assert warned(node("1", "reused", 2), node("2", "finished", 2), node("3", "reused", None)) == {}
    assert warned(node("1", "reused", 2), node("2", "reused", 1)) == {}
    known = (node("1", "reused", 1), node("2", "reused", 2), node("3", "finished", 1), node("4", "reused", 2))
    assert warned(*known, node("5", "failed", None)) == {
        "train 2": (
            "2 reused trainings, of which this is the first, had another number of threads within operations "
            "(2) than those of this run (1): the last bits of the weights may differ from those of a sweep "
            "with one count",
        )
    }
