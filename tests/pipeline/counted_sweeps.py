"""Sweeps whose trainings are counted, and meet faults: see trial_faults/sitecustomize.py."""

import contextlib
import io
import os
from dataclasses import dataclass
from pathlib import Path

import pytest
import tiny
from rich.console import Console

from pipeline.config import load_config
from pipeline.config.places import Places
from pipeline.run.observe import read_records
from pipeline.run.pipeline import run_pipeline

FAULTS = str(Path(__file__).parent / "trial_faults")
NETWORK = "model={embedding_size: 2, encoder: {type: text_cnn, filters: 2, kernel_sizes: [1]}, pooling: max}"
SMALL = (NETWORK, "train.epochs=1", "train.batch_size=256", "train.length_buckets=1", "evaluate.bless=always")
# Of two keys, as equal draws would be one training.
OVER = (
    "{train.optimizer.learning_rate: {log_uniform: [0.001, 0.1]}, train.global_clipnorm: {uniform: [0.5, 2]}}"
)


@dataclass(frozen=True)
class Sweep:
    """A sweep of so many trials in a folder, whose trainings are counted.

    Args:
        folder: of its data, its root, and the notes of its trainings.
        trials: how many.
        more: other settings.
    """

    folder: Path
    trials: int
    more: tuple[str, ...] = ()

    @property
    def settings(self):
        sweep = f"sweep={{over: {OVER}, search: random, trials: {self.trials}, parallel: 2}}"
        return (*SMALL, sweep, *self.more)

    @property
    def environment(self):
        return {"TRIALS": str(self.folder)}

    def fault(self, number, what):
        """Has the training of this number, counted from now, meet a fault."""
        (self.folder / "met").unlink(missing_ok=True)
        (self.folder / "fault").write_text(f"{len(self.noted('begun')) + number} {what}", encoding="utf-8")

    def met(self):
        return (self.folder / "met").exists()

    def noted(self, name):
        """The trainings that have begun, or ended, one by one: the names of their nodes, and when."""
        place = self.folder / name
        lines = place.read_text(encoding="utf-8").splitlines() if place.exists() else []
        return [(node, float(when)) for when, _, node in (line.partition(" ") for line in lines)]

    def run(self, until="train"):
        console = Console(file=io.StringIO(), width=200)
        path = str(self.folder / "pipeline.yaml")
        config = load_config(Path(path), self.settings)
        code = run_pipeline(config, console, path, self.settings, until=until)
        return code, console.file.getvalue()

    def killed(self):
        """Runs in a process of its own, which is killed; returns its exit code."""
        sets = [part for setting in self.settings for part in ("--set", setting)]
        process = tiny.start(
            "run", self.folder / "pipeline.yaml", "--until", "train", *sets, environment=self.environment
        )
        process.communicate(timeout=600)
        return process.returncode

    @property
    def root(self):
        return Places.of(load_config(self.folder / "pipeline.yaml", self.settings)).root

    def records(self):
        return read_records(self.root)


def sweep_in(folder, trials, *more):
    """Puts data into a folder; returns a sweep."""
    tiny.make(folder)
    return Sweep(folder, trials, more)


@contextlib.contextmanager
def meeting_faults():
    """Has the children of this process, and of those that it starts, run sitecustomize.py."""
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(FAULTS)
        patched.setenv("PYTHONPATH", os.pathsep.join([FAULTS, str(tiny.REPOSITORY)]))
        yield patched


def ranking(record):
    """Of the last rung: the settings and their scores, the best one first."""
    return [(each.group, each.mean) for each in record.rungs[-1].ranking]


def digests(record):
    """By trial, of the trained models."""
    return {
        trial: record.nodes[name].reference.digests["model"]
        for trial, name in record.rungs[-1].nodes.items()
        if record.nodes[name].reference is not None
    }
