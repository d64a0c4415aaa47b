"""Trains small networks on three data sets, in two ways, and prints what temperature scaling changes.

    python benchmarks/quality/calibration.py DATA [NAME ...]

DATA is a directory with tab-separated files of text and label: trec/{train,test}.tsv, of whose train split a
tenth is held out for validation, and sst2/{train,dev,test}.tsv. The third set, languages, is in this
repository. NAME is one of the three. A network is kept as it was in its best epoch, which is the default, or
is trained to the end of twelve epochs with a constant learning rate. Prints of each the temperature, and on
the test split accuracy, expected calibration error and mean negative log likelihood, without and with it.
What a run has already computed is reused.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
import tensorflow as tf

from components.artifacts.evaluation import Evaluation
from components.artifacts.tokens import Tokens
from components.artifacts.trained_model import TrainedModel
from components.predictor import Predictor, load_predictor
from pipeline.config import load_config, yaml_text
from pipeline.config.places import Places
from pipeline.plan.planning import make_plan
from pipeline.store.store import Store

ROOT = Path(__file__).resolve().parents[2]
TRAININGS: dict[str, dict[str, Any]] = {
    "best epoch": {},
    "to the end": {"learning_rate_schedule": "constant", "early_stopping": None},
}
_BATCH = 128


def configuration(name: str, data: Path, training: str) -> dict[str, Any]:
    """Returns the configuration of a set and a way of training."""
    words = {"text": {"type": "words"}}
    networks = {"type": "text_cnn", "filters": 100, "kernel_sizes": [3, 4, 5]}
    folder = ROOT / "data" / name if name == "languages" else data / name
    files = {"train": str(folder / "train.tsv"), "test": str(folder / "test.tsv")}
    ingest: dict[str, Any] = {"files": files}
    if name == "trec":
        ingest["holdout"] = {"validation": 0.1}
    else:
        files["validation"] = str(folder / ("dev.tsv" if name == "sst2" else "validation.tsv"))
    return {
        "name": f"calibration-{name}-{training.replace(' ', '-')}",
        "task": "classification",
        "seed": 7,
        "ingest": ingest,
        "tokenize": {"text": {"type": "characters"}} if name == "languages" else words,
        "model": {"embedding_size": 100, "dropout": 0.3, "encoder": networks},
        "train": {
            "epochs": 12,
            "batch_size": 64,
            "optimizer": {"type": "adam", "learning_rate": 0.001},
            **TRAININGS[training],
        },
        "evaluate": {"calibrate": "temperature", "target_accuracy": 0.95},
        "tracking": {"enabled": False},
    }


def artifacts_of(name: str, data: Path, training: str, folder: Path) -> dict[str, Any]:
    """Runs a configuration to its evaluation; returns the artifacts by stage."""
    path = folder / "calibration.yaml"
    path.write_text(yaml_text(configuration(name, data, training)), encoding="utf-8")
    command = [sys.executable, "-m", "pipeline", "run", str(path), "--until", "evaluate"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run(command, env=environment, cwd=folder, stdout=sys.stderr, check=True)
    os.chdir(folder)
    config = load_config(path)
    places = Places.of(config)
    plans = make_plan(config, places, Store(places.root), until="evaluate")
    return {plan.name: plan.artifact for plan in plans if plan.artifact}


def nll(predictor: Predictor, rows: list[dict[str, Any]]) -> float:
    """The mean negative log likelihood of the targets, as the served signature `score` finds them."""
    found = []
    for start in range(0, len(rows), _BATCH):
        batch = rows[start : start + _BATCH]
        texts, targets = (tf.constant([row[name] for row in batch]) for name in ("input", "target"))
        found.append(predictor.score(texts, targets)["log_probability"].numpy())
    return float(-np.concatenate(found).mean())


def main() -> None:
    """Prints a line for each set."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("names", nargs="*", default=["trec", "sst2", "languages"])
    parser.add_argument(
        "--runs", type=Path, default=Path("runs-calibration"), help="where artifacts are kept"
    )
    given = parser.parse_args()
    folder = given.runs.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    data = given.data.resolve()
    head = "set         training    T       test  accuracy  ECE before -> after"
    print(f"{head:<88}NLL")
    for name, training in product(given.names, TRAININGS):
        made = artifacts_of(name, data, training, folder)
        evaluation: Evaluation = made["evaluate"]
        report = evaluation.report()
        model: TrainedModel = made["train"]
        tokens: Tokens = made["tokenize"]
        plain = load_predictor(tokens, model.model_file(), "classification", None)
        rows = list(evaluation.predictions())
        plain_error = report["confidence"]["uncalibrated"]
        errors = [
            f"{error:.4f} ({low:.3f}, {high:.3f})"
            for error, (low, high) in (
                (plain_error["calibration_error"], plain_error["interval"]),
                (report["metrics"]["calibration_error"], report["intervals"]["calibration_error"]),
            )
        ]
        scaled = plain.calibrated(evaluation.temperature)
        print(
            f"{name:<10}  {training:<10}  {evaluation.temperature:<6.3f}  {len(rows):<4}  "
            f"{report['metrics']['accuracy']:.4f}    {' -> '.join(errors)}  "
            f"{nll(plain, rows):.4f} -> {nll(scaled, rows):.4f}",
            flush=True,
        )
        print(*(f"    {line}" for line in evaluation.summary["confidence"]), sep="\n", flush=True)


if __name__ == "__main__":
    main()
