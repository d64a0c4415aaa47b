"""Sweeps that are made up: records as an observer computes them, of trainings that never ran."""

from components import files
from pipeline.plan.node import node_name
from pipeline.report.facts import RunFacts
from pipeline.run.record import NodeRecord, RunRecord
from pipeline.run.sweep_record import with_rungs
from pipeline.store.store import Store
from pipeline.sweep.ranking import picked

SEED = 7


class Scored:
    """Trials whose scores come from a function.

    Args:
        settings: of every setting, by path.
        value: (settings, seed, epoch) to what is monitored on validation.
        over: as in the configuration; by default the lists of the values that there are.
        repeat: seeds of every setting.
        epochs: of a whole training.
        halving: (reduction_factor, stops) or None.
        failed: by trial, the epoch in which it fails.
        monitor: what trials are ranked by.
        done: the trials that have been trained; None for all.
    """

    def __init__(
        self,
        settings,
        value,
        over=None,
        repeat=1,
        epochs=6,
        halving=None,
        failed=None,
        monitor="loss",
        done=None,
    ):
        self._value, self._epochs, self._failed, self._monitor = value, epochs, failed or {}, monitor
        self._done = done
        self.trials = [
            {
                "id": str(number) if again == 0 else f"{number}.{again + 1}",
                "group": str(number),
                "seed": SEED + again,
                "settings": each,
                "told": each,
            }
            for number, each in enumerate(settings, start=1)
            for again in range(repeat)
        ]
        values = {key: [] for key in settings[0]}
        for each in settings:
            for key, value in each.items():
                if value not in values[key]:
                    values[key].append(value)
        factor, stops = halving or (0, [])
        sweep = {
            "over": over or values,
            "repeat": repeat,
            "monitor": monitor,
            "halving": {"reduction_factor": factor} if halving else None,
        }
        self.config = {
            "task": "classification",
            "model": {"readout": None},
            "train": {"epochs": epochs},
            "sweep": sweep,
        }
        self.rungs = [
            {"stop": stop, "nodes": {t["id"]: node_name("train", t["id"], stop) for t in self.trials}}
            for stop in [*stops, 0]
        ]

    def record(self, status="finished", **more):
        """The record of it, with what the trials came to."""
        start = {"trials": self.trials, "rungs": self.rungs, "config": self.config}
        nodes = {}
        for rung in self.rungs:
            nodes |= {rung["nodes"][each["id"]]: self._node(each, rung["stop"]) for each in self.trials}
        begun = 0
        for place, rung in enumerate(self.rungs):
            reached = with_rungs(start, nodes)[1][place].reached or ()
            for trial in self.trials:
                if trial["id"] in reached and (self._done is None or trial["id"] in self._done):
                    nodes[rung["nodes"][trial["id"]]] = self._trained(trial, begun, rung["stop"])
            begun = rung["stop"]
        trials, rungs, nodes = with_rungs(start, nodes)
        whole = rungs[-1].reached is not None and self._done is None
        pick = picked(rungs[-1].ranking, self._monitor) if whole else ""
        nodes = {"ingest": NodeRecord("ingest", "1", "k", 1, "first run", "finished"), **nodes}
        return RunRecord(
            "id",
            "name",
            status,
            "2026-11-23",
            config=self.config,
            nodes=nodes,
            trials=trials,
            rungs=rungs,
            pick=pick,
            **more,
        )

    def _node(self, trial, stop, state="waiting", **more):
        number = trial["id"]
        return NodeRecord("train", number, "key", 1, "first run", state, stop=stop, trials=(number,), **more)

    def _trained(self, trial, begun, stop):
        """A training with the epochs of its rung."""
        last = stop or self._epochs
        fails = self._failed.get(trial["id"], last + 1)
        history = tuple(self._epoch(trial, epoch) for epoch in range(begun + 1, min(last, fails - 1) + 1))
        if fails <= last:
            error = f"trial {trial['id']} failed in epoch <{fails}>"
            return self._node(trial, stop, "interrupted", history=history, error=error, given_up=True)
        figures = {name: value for name, value in history[-1].items() if name != "epoch"}
        summary = {**figures, "epochs": last, "kept_epoch": last, "parameters": 9}
        return self._node(trial, stop, "finished", history=history, summary=summary, seconds=1.0)

    def _epoch(self, trial, epoch):
        value = self._value(trial["settings"], trial["seed"], epoch)
        return {"epoch": epoch, "loss": 0.9 * value, f"val_{self._monitor}": value}


def facts(record, root, artifacts=None):
    """What is known of it, with artifacts by name of the node."""
    return RunFacts(record, Store(files.resolve(root)), artifacts or {})
