"""What a step does with nodes whose trial has failed."""

from types import SimpleNamespace

import pytest

from components.work import Failed
from pipeline.plan.node import Read
from pipeline.run import step
from pipeline.run.rungs import Decided

REFERENCE = "a reference"


def node(train, choices=()):
    """A node that reads what a training makes."""
    chosen = {trial: node(f"train {trial}") for trial in choices}
    return SimpleNamespace(reads={"train": Read(("model",), node=train)}, choices=chosen)


@pytest.fixture(autouse=True)
def _begins(monkeypatch):
    def begin(plan, work, upstream):
        return upstream[plan.reads["train"].node]

    monkeypatch.setattr(step, "begin", begin)


UPSTREAM = {"train 1": Failed("no memory"), "train 2": REFERENCE}


def begun(plan, decided=None):
    return list(step._begin("evaluate", {"evaluate": plan}, {"evaluate": None}, UPSTREAM, decided))


def test_a_node_of_a_failed_trial_does_not_begin():
    assert begun(node("train 1")) == []
    assert begun(node("train 2")) == [("evaluate", REFERENCE)]


def test_a_node_of_the_pick_begins_though_another_trial_has_failed():
    assert begun(node("train 1", "12"), Decided(pick="2")) == [("evaluate", REFERENCE)]
