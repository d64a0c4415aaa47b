"""Runs that are made up: records and evaluate artifacts, without anything being trained."""

import json

import numpy as np

from components.evaluate.answers import Answers
from components.evaluate.config import METRICS
from components.evaluate.measure import Measure
from components.evaluate.measured import write_measured
from pipeline.run.record import Recorder
from pipeline.store.store import Store

EXAMPLES = 400


def answers_of(right, words=("ab", "xy")):
    """400 answers, so many of them right."""
    good, bad = words
    predictions = [good if place < right else bad for place in range(EXAMPLES)]
    scores = np.linspace(0.5, 1, EXAMPLES).astype(np.float32)
    texts = [f"text {number}" for number in range(EXAMPLES)]
    return Answers.of(texts, [good] * EXAMPLES, predictions, scores=scores)


def report_of(right, resamples=500, task="seq2seq", words=("ab", "xy")):
    """What is measured of them."""
    combiner = Measure(METRICS[task], resamples, confusion=task == "classification")
    accumulated = combiner.add_input(combiner.create_accumulator(), answers_of(right, words))
    return combiner.extract_output(accumulated)


def make_run(root, name, right, resamples=500, data="data", task="seq2seq", config=None, words=("ab", "xy")):
    """Records a run whose model answers so many of 400 examples right; returns its id."""
    store = Store(root)
    recorder = Recorder(root, "made", {"task": task, "seed": 7, **(config or {})})
    answers = answers_of(right, words)
    report = report_of(right, resamples, task, words)
    good, bad = words

    def commit(stage, key, ingredients, summary, fill):
        staging = store.staging(stage)
        fill(staging)
        store.commit(staging, stage, key, ingredients, summary, seconds=12.0)
        recorder.stage(stage, state="finished", key=key, seconds=12.0, reason="first run")

    def evaluated(directory):
        write_measured(directory, "test", {**report, "slices": {}})
        (directory / "predictions.jsonl").write_text("".join(answers.lines()), encoding="utf-8")
        row = {
            "example": 1,
            "input": "<script>alert(1)</script>",
            "target": good,
            "prediction": bad,
            "score": None,
        }
        (directory / "worst.jsonl").write_text(json.dumps(row) + "\n")

    history = {"epochs": [{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 0.4}], "best_epoch": 2}
    commit(
        "train",
        f"{name:0<64}",
        {},
        {"parameters": 1234},
        lambda folder: (folder / "history.json").write_text(json.dumps(history)),
    )
    commit("evaluate", f"{name:0<64}", {"upstream ingest": data}, {"metrics": report["metrics"]}, evaluated)
    # What the champion answered belongs to another run, and MLflow is not told of it.
    commit("champion", f"{name:0<64}", {}, {"metrics": {}}, lambda folder: (folder / "file").touch())
    recorder.record.metrics = report["metrics"]
    recorder.finish("finished")
    return recorder.record.id
