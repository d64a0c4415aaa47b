"""Runs that are made up: records and artifacts as a job leaves them, without anything being computed."""

import json
from datetime import datetime, timezone
from types import SimpleNamespace

import numpy as np

from components import files
from components.artifacts.artifact import Manifest, inputs_hash, part_digests
from components.artifacts.evaluation import AnswerWriter, Evaluation, join_answers, write_figures
from components.artifacts.exported_model import add_model, model_path, validation_path
from components.evaluate.answers import Answers
from components.evaluate.candidates import Exported
from components.evaluate.measure import Measure
from components.evaluate.metrics import metric_names
from components.reports import EpochFinished, emit
from components.train.config import TrainConfig
from components.work import Work
from pipeline.plan.ingredients import Ingredients
from pipeline.plan.node import FIRST, NodePlan, Plan, Read, Trial
from pipeline.run.candidates import CHAMPION
from pipeline.run.folder import RunFolder
from pipeline.run.observe import Observer
from pipeline.stages import STAGES
from pipeline.stages.evaluate import EvaluateStage
from pipeline.store.store import Store

EXAMPLES = 400
CONFIG = SimpleNamespace(train=TrainConfig())
"""What stages ask before they say what they read."""
OF_CHAMPION = "evaluate champion"
"""The node that measures the champion."""
EPOCHS = [{"epoch": 1, "loss": 0.5, "seconds": 2.0}, {"epoch": 2, "loss": 0.4, "seconds": 3.0}]
COUNTS = {"train": 9, "validation": 0, "test": 3}
LENGTHS = {"median": 4, "p95": 6, "max": 7}
REJECTED = {"file": "train.tsv", "line": 3, "reason": "it has one column", "text": "<b>only one</b>"}
WORST = {"example": 1, "input": "<script>alert(1)</script>", "prediction": "xy", "score": None}


def answers_of(right, words=("ab", "xy")):
    """400 answers, so many of them right."""
    good, bad = words
    predictions = [good if place < right else bad for place in range(EXAMPLES)]
    scores = np.linspace(0.5, 1, EXAMPLES).astype(np.float32)
    texts = [f"text {number}" for number in range(EXAMPLES)]
    return Answers.of(texts, [good] * EXAMPLES, predictions, scores=scores)


def report_of(right, resamples=500, task="seq2seq", words=("ab", "xy")):
    """What is measured of them."""
    combiner = Measure(metric_names(task), resamples, confusion=task == "classification")
    accumulated = combiner.add_input(combiner.create_accumulator(), answers_of(right, words))
    return combiner.extract_output(accumulated)


class MadeRun:
    """A run whose nodes are made one by one; those that another run has made are found, and reused.

    Args:
        root: of the pipeline.
        name: tells its training from others'.
        data: tells its examples from others'.
        config: the configuration.
        epochs: of the training.
        right: how many of the 400 examples are answered rightly.
        resamples: of the bootstrap.
        words: the right answer and the wrong one.
    """

    def __init__(
        self,
        root,
        name="a",
        data="data",
        config=None,
        epochs=EPOCHS,
        right=320,
        resamples=500,
        words=("ab", "xy"),
    ):
        self.root = files.resolve(root)
        self.store = Store(self.root)
        self.folder = RunFolder.new(self.root)
        self.id = self.folder.id
        self.observer = Observer(self.folder, self.store)
        self._config = {"task": "seq2seq", "seed": 7, **(config or {})}
        self._data, self._epochs, self._words = data, epochs, words
        self._right, self._resamples = right, resamples
        nodes = [self._node(stage, FIRST, name) for stage in STAGES]
        plan = Plan([Trial(FIRST, None)], nodes, {(stage.name, FIRST): stage.name for stage in STAGES})
        self.plan = plan.with_node(self._node(EvaluateStage(Exported("", "before")), CHAMPION, name))
        self.folder.start("made", self._config, {}, self.plan)

    def _node(self, stage, trial, name):
        reads = {read: Read(parts, node=read) for read, parts in stage.reads(CONFIG).items()}
        own = name if "train" in (stage.name, *reads) else ""
        key = Ingredients(settings={"made": f"{stage.name} {self._data} {own}"})
        parts = dict.fromkeys(stage.kind.parts, "")
        return NodePlan(stage, trial, None, reads, key, parts, 1, None, "first run")

    def record(self):
        """What is known of it now."""
        return self.observer.record()

    def made(self, node):
        """The artifact of a node."""
        self.record()
        return self.observer.artifact(node)

    def work(self, node):
        """What a worker of a node has."""
        plan = self.plan[node]
        return Work(self.root, plan.stage.name, plan.key, self.folder.status(node), node=node)

    def train(self, *numbers):
        """Reports that so many epochs are over."""
        with self.work("train").attempt("fit"):
            for epoch in self._epochs:
                if epoch["epoch"] in numbers:
                    metrics = {
                        name: value for name, value in epoch.items() if name not in ("epoch", "seconds")
                    }
                    emit(EpochFinished("train", epoch["epoch"], len(self._epochs), metrics, epoch["seconds"]))

    def make(self, *nodes, seconds=12.0):
        """Makes the artifacts of nodes; all they read must be there."""
        for node in nodes:
            plan = self.plan[node]
            read = {
                f"{name} {part}": self.made(read.node).manifest.digests[part]
                for name, read in plan.reads.items()
                for part in read.parts
            }
            with self.work(node).attempt("make") as attempt:
                made, summary = getattr(self, f"_{plan.stage.name}")(attempt)
                manifest = Manifest(
                    stage=plan.stage.name,
                    key=plan.key,
                    inputs=inputs_hash(read),
                    number=1,
                    attempt=attempt.id,
                    run=self.id,
                    made=datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
                    seconds=seconds,
                    summary=summary,
                    ingredients={},
                    read=read,
                    digests=part_digests(plan.stage.kind, made),
                    files={each.name: each for each in made},
                )
            self.store.commit(plan.stage.kind, manifest, {})
        return self

    def end(self, status="finished", message="", verdict=None, served=""):
        """Ends it."""
        self.folder.end(status, message, verdict or {}, str(served))
        return self

    def _ingest(self, attempt):
        each = {"duplicates": 1, "characters": {"source": LENGTHS, "target": LENGTHS}}
        statistics = {
            "splits": {split: {"examples": count, **each} for split, count in COUNTS.items()},
            "warnings": ["there are duplicates"],
            "rejected": {"total": 1},
        }
        made = [attempt.put("statistics.json", json.dumps(statistics).encode())]
        made.append(attempt.put("rejected.jsonl", (json.dumps(REJECTED) + "\n").encode()))
        for split, count in COUNTS.items():
            if count:
                made.append(attempt.put(f"examples/{split}-00000.parquet", f"{self._data} {split}".encode()))
        return made, {"examples": COUNTS, "rejected": 1}

    def _tokenize(self, attempt):
        return [attempt.put("statistics.json", b"{}")], {"vocabulary": {}}

    def _train(self, attempt):
        history = {"epochs": list(self._epochs), "best_epoch": 2}
        made = [
            attempt.put("history.json", json.dumps(history).encode()),
            attempt.put("model.keras", json.dumps(self.plan["train"].key).encode()),
            attempt.put("plots/training_curves.png", b"curves"),
        ]
        return made, {"parameters": 1234, "weights": "w" * 64}

    def _evaluate(self, attempt):
        task = self._config["task"]
        report = report_of(self._right, self._resamples, task, self._words)
        writer = AnswerWriter(attempt, 0)
        writer.write(answers_of(self._right, self._words))
        worst = {"target": self._words[0], **WORST}
        made = [
            *join_answers(attempt, self.root, writer.close()),
            *write_figures(attempt, "test", {**report, "slices": {}}, [worst]),
            attempt.put("plots/by_length.png", b"a picture"),
        ]
        return made, {name: report[name] for name in ("examples", "metrics", "intervals")}

    def _export(self, attempt):
        latency = {"32": {"p50": 4.0, "p99": 9.0, "calls": 20}}
        self.save_model(model_path(attempt))
        validation_path(attempt).write_text(json.dumps({"latency_milliseconds": latency}))
        summary = {"bytes": 77, "model": {"weights": "w" * 64, "decoding": "d" * 16}}
        return list(add_model(attempt)), summary

    def save_model(self, directory):
        """Writes what is exported; a test that needs a SavedModel brings its own."""
        directory.mkdir(parents=True)
        (directory / "saved_model.pb").write_bytes(self.plan["export"].key.encode())


def make_run(root, name, right, resamples=500, data="data", task="seq2seq", config=None, words=("ab", "xy")):
    """Makes a run that was measured, beside a champion; returns its id."""
    run = MadeRun(root, name, data, {"task": task, **(config or {})}, EPOCHS, right, resamples, words)
    run.make("ingest", "tokenize", "train", "evaluate", OF_CHAMPION).end()
    return run.id


def measured(root, run_id):
    """The evaluation of a run."""
    observer = Observer(RunFolder(files.resolve(root), run_id), Store(files.resolve(root)))
    observer.record()
    found = observer.artifact("evaluate")
    assert isinstance(found, Evaluation)
    return found
