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
from components.evaluate.calibrate import Calibration
from components.evaluate.candidates import Exported
from components.evaluate.confidence import confidence_report
from components.evaluate.coverage import Selection
from components.evaluate.measure import Measure
from components.evaluate.metrics import metric_names
from components.evaluate.temperature import Temperature
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
FLOORS = {
    "floors": {
        "copy": {"metrics": {"exact_match": 0.25}, "intervals": {}, "differences": {}},
        "commonest": {
            "metrics": {"exact_match": 0.125, "character_error_rate": 0.75},
            "intervals": {},
            "differences": {},
            "answer": "<b>",
            "of": "train",
        },
    },
    "warnings": ["the test split has <few> examples"],
}
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


def confidence_of(right, words):
    """What calibration and a target accuracy come to, with made-up figures of the validation split."""
    answers = answers_of(right, words)
    rows = np.empty(EXAMPLES, [("number", "i8"), ("score", "f4"), ("correct", "?")])
    rows["number"], rows["score"], rows["correct"] = answers.numbers, answers.scores, answers.correct
    learnt = Calibration(Temperature(1.5, 40, 0.61, 0.52), Selection(0.75, 30, 28, 40), 40)
    return confidence_report(rows, 0.9, [report_of(right, 50, "classification", words)], learnt)


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
        champion = EvaluateStage(Exported("", "before"), floors=False)
        self.plan = plan.with_node(self._node(champion, CHAMPION, name))
        self.folder.start("made", self._config, {}, self.plan)

    def _node(self, stage, trial, name):
        reads = {read: Read(parts, node=read) for read, parts in stage.reads(CONFIG).items()}
        own = name if "train" in (stage.name, *reads) else ""
        key = Ingredients(settings={"made": f"{stage.name} {self._data} {own}"})
        parts = dict.fromkeys(stage.kind.parts, "")
        return NodePlan(stage, trial, None, reads, key, parts, 1, None, "first run")

    def planned(self, node):
        """What a node is to do."""
        return self.plan[node]

    def record(self):
        """What is known of it now."""
        return self.observer.record()

    def made(self, node):
        """The artifact of a node."""
        self.record()
        return self.observer.artifact(node)

    def work(self, node):
        """What a worker of a node has."""
        plan = self.planned(node)
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
            plan = self.planned(node)
            read = {
                f"{name} {part}": self.made(read.node).manifest.digests[part]
                for name, read in plan.reads.items()
                for part in read.parts
            }
            with self.work(node).attempt("make") as attempt:
                made, summary = self.contents(plan, attempt)
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

    def contents(self, plan, attempt):
        """The files of an artifact, and its summary."""
        return getattr(self, f"_{plan.stage.name}")(attempt)

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
            "near_duplicates": [
                {"splits": ["train", "test"], "examples": 7, "places": [["train.tsv:5", "<test>.tsv:9"]]}
            ],
            "split": {
                "type": "time",
                "column": "sent",
                "times": {
                    "train": {"first": "2024-01-01", "last": "2024-02-01"},
                    "test": {"first": "2024-02-02", "last": "2024-03-01"},
                },
            },
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
        if task == "classification":
            report["confidence"] = confidence_of(self._right, self._words)
        writer = AnswerWriter(attempt, 0)
        writer.write(answers_of(self._right, self._words))
        worst = {"target": self._words[0], **WORST}
        made = [
            *join_answers(attempt, self.root, writer.close()),
            *write_figures(attempt, "test", {**report, "slices": {}, **FLOORS}, [worst]),
            attempt.put("plots/by_length.png", b"a picture"),
        ]
        summary = {name: report[name] for name in ("examples", "metrics", "intervals")}
        summary["floors"] = {name: floor["metrics"] for name, floor in FLOORS["floors"].items()}
        return made, summary

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
