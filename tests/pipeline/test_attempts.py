"""Steps that an engine tries twice, at once or too late: one manifest, and no file of it touched."""

import threading
from dataclasses import replace

import pytest
import tiny
from stage_runner import run_transform

from components import files
from pipeline.config import load_config
from pipeline.config.places import Places
from pipeline.plan.planning import make_plan
from pipeline.run.folder import RunFolder
from pipeline.run.step import Commit, begin, to_do, work_of
from pipeline.stages.stage import NodeWork
from pipeline.store.store import Store

pytestmark = pytest.mark.slow

STAGES = ("ingest", "tokenize", "train", "evaluate", "export")


class Steps:
    """The steps of the nodes of one run, called by hand."""

    def __init__(self, config):
        self.config = config
        self.places = Places.of(config)
        self.store = Store(self.places.root)
        self.folder = RunFolder.new(self.places.root)
        self.plans = make_plan(config, self.places, self.store)
        self.references = {}

    def work(self, name):
        return work_of(self.plans[name], self.folder)

    def begin(self, name):
        plan = replace(self.plans[name], artifact=None)
        return begin(plan, self.work(name), self.references)

    def make(self, name, begun):
        """What the transform makes: attempts of its own each time it is called."""
        node = NodeWork(name, self.config, self.places.sources, self.work(name))
        ((_, made),) = run_transform(self.plans[name].stage.transform([node]), to_do((name, begun)))
        return made

    def commit(self, name, made):
        plans = {name: replace(self.plans[name], artifact=None)}
        step = Commit(plans, {name: self.work(name)}, self.places.sources, self.folder.id)
        ((_, reference),) = step.process((name, made), self.references, {})
        self.references[name] = reference
        return reference

    def state(self, reference):
        """The manifest, and the signature of each of its files."""
        plan = self.plans[reference.stage]
        artifact = plan.stage.kind.load(reference)
        listed = [reference.manifest, *(artifact.place(name) for name in artifact.names())]
        return {str(place): files.signature(place) for place in listed}


def try_again(steps, name):
    """Does the work of a node three times, and commits it in the wrong order and twice."""
    begun = steps.begin(name)
    assert begun.reused is None
    made, straggler = [], steps.make(name, begun)  # it has done its work, and is slow to commit
    if name in ("ingest", "tokenize", "evaluate"):
        threads = [threading.Thread(target=lambda: made.append(steps.make(name, begun))) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    else:  # two at once in one process would share what is global in TensorFlow
        made = [steps.make(name, begun) for _ in range(2)]
    paths = [{file.path for file in one.files} for one in (*made, straggler)]
    assert len(set.union(*paths)) == sum(map(len, paths)), name  # no two attempts share a file's name
    first = steps.commit(name, made[0])
    state = steps.state(first)
    for late in (made[1], straggler, made[0]):  # the last: the commit itself is tried again
        assert steps.commit(name, late) == first
    assert steps.state(first) == state, name
    assert len(steps.store.made(name, first.key)) == 1
    again = steps.begin(name)
    assert again.reused == first
    assert to_do((name, again)) == []


def test_steps_that_are_tried_again_change_nothing(tmp_path):
    steps = Steps(load_config(tiny.make(tmp_path)))
    for name in STAGES:
        try_again(steps, name)
    plans = make_plan(steps.config, steps.places, steps.store)
    assert [plan.reason[:8] for plan in plans] == ["same key"] * 5
    assert not any(plan.in_job for plan in plans)
