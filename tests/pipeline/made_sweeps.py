"""Sweeps that are made up: planned for real, with what a job leaves behind, and without any training."""

import json

import tiny
from made_runs import MadeRun

from components.errors import UserError
from components.reports import EpochFinished, emit
from components.work import Work
from pipeline.config import load_config, resolved
from pipeline.config.places import Places
from pipeline.plan.planning import make_plan
from pipeline.run.folder import RunFolder
from pipeline.run.observe import Observer
from pipeline.store.store import Store

UNITS = "sweep={over: {model.encoder.units: [4, 5, 6, 8]}}"
HALVING = "sweep.halving={reduction_factor: 2, min_epochs: 2}"


class MadeSweep(MadeRun):
    """A sweep whose nodes are made one by one.

    Args:
        folder: where the data, the root and all else is.
        overrides: of the tiny configuration.
        losses: by trial, what its validation loss comes to; an epoch's is that and 1 / epoch.
        epochs: of a whole training.
    """

    def __init__(self, folder, *overrides, losses=None, epochs=4, right=320):
        path = folder / "pipeline.yaml"
        if not path.exists():
            tiny.make(folder)
        self.config = load_config(path, (f"train.epochs={epochs}", "evaluate.bless=always", *overrides))
        places = Places.of(self.config)
        self.root, self.store = places.root, Store(places.root)
        self.folder = RunFolder.new(self.root)
        self.id = self.folder.id
        self.plan = make_plan(self.config, places, self.store)
        self._config = resolved(self.config)
        self._data, self._words, self._right, self._resamples = "data", ("ab", "xy"), right, 100
        self._losses = losses or {}
        self.observer = Observer(self.folder, self.store, own=True)
        self.folder.start(self.config.name, self._config, {}, self.plan)

    def planned(self, node):
        """What a node is to do, of the picked trial once it is settled."""
        plan = self.plan[node]
        return plan.choices[self.folder.pick()] if plan.choices else plan

    def work(self, node):
        """What a worker of a node has."""
        plan = self.planned(node)
        return Work(self.root, plan.stage.name, plan.key, self.folder.status(node), node=node)

    def contents(self, plan, attempt):
        """The files of an artifact, and its summary."""
        return self._trained(plan, attempt) if plan.stage.name == "train" else super().contents(plan, attempt)

    def train(self, trial, rung=0, until=None):
        """Has a trial train in a rung; it ends there, unless it is to be left after an epoch."""
        stop, name = self.plan.rungs[rung].stop, self.plan.rungs[rung].nodes[trial]
        before = self.plan.rungs[rung - 1].stop if rung else 0
        last = until or stop or self.config.train.epochs
        with self.work(name).attempt("fit"):
            for epoch in self._epochs_of(trial)[before:last]:
                metrics = {key: value for key, value in epoch.items() if key not in ("epoch", "seconds")}
                emit(EpochFinished("train", epoch["epoch"], stop or self.config.train.epochs, metrics, 2.0))
            if until:
                return self
        return self.make(name, seconds=2.0 * (last - before))

    def queue(self, trial, rung=0):
        """Has a trial wait for a worker."""
        with self.work(self.plan.rungs[rung].nodes[trial]).attempt("begin"):
            return self

    def fail(self, trial, rung=0, error="it was killed"):
        """Has a trial fail in a rung."""
        try:
            with self.work(self.plan.rungs[rung].nodes[trial]).attempt("fit"):
                raise UserError(error)
        except UserError:
            return self

    def finish(self, failing=(), pick=True, **end):
        """Has all trials train as far as they come, and the picked one evaluated and exported."""
        if "ingest" not in self.observer._artifacts:
            self.make("ingest", "tokenize")
        for place, rung in enumerate(self.plan.rungs):
            reached = self.record().rungs[place].reached
            for trial in rung.nodes:
                if trial in reached:
                    self.fail(trial, place) if trial in failing else self.train(trial, place)
        if pick:
            best = next(iter(self.record().rungs[-1].ranking[0].scores))
            self.folder.settle_pick(best)
            self.make("evaluate", "export")
        return self.end(**end)

    def _epochs_of(self, trial):
        loss = self._losses.get(trial, float(trial))
        return [
            {"epoch": epoch, "loss": loss, "val_loss": loss + 1 / epoch, "seconds": 2.0}
            for epoch in range(1, self.config.train.epochs + 1)
        ]

    def _trained(self, plan, attempt):
        rung = next(rung for rung in self.plan.rungs if rung.stop == plan.stop)
        trial = next(trial for trial, name in rung.nodes.items() if name == plan.name)
        epochs = self._epochs_of(trial)[: plan.stop or None]
        history = {"epochs": epochs, "best_epoch": len(epochs)}
        made = [
            attempt.put("history.json", json.dumps(history).encode()),
            attempt.put("model.keras", plan.key.encode()),
            attempt.put("plots/training_curves.png", f"curves of {plan.name}".encode()),
        ]
        return made, {
            "parameters": 1234,
            "weights": "w" * 64,
            "epochs": len(epochs),
            "kept_epoch": len(epochs),
            "loss": epochs[-1]["loss"],
            "val_loss": epochs[-1]["val_loss"],
        }


def tracked(uri, experiment="letters"):
    """Settings under which a sweep is sent to an MLflow."""
    return (f"tracking.uri={uri}", f"tracking.experiment={experiment}")
