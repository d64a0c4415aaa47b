"""Compares the checkpoint with the best exact match with the one with the smallest loss, on the test split.

    python benchmarks/quality/monitor.py DATA [NAME ...] [--epochs N] [--units N]

DATA is a directory as for compare.py; NAME is dates (the project's own data) or cmudict. Both checkpoints are
of ONE training, whose weights do not depend on what is monitored: the monitor only chooses among them. That
is fair, as chance in training takes no part in the difference, and costs half. Prints for each monitor the
epoch that it keeps and what evaluate measures of it on the test split, and what the monitoring took.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

from components import files
from components.artifacts.examples import Examples
from components.artifacts.tokens import Tokens
from components.evaluate.measure import Measure
from components.evaluate.predict import answer
from components.predictor import Predictor
from components.train.checkpoint import Checkpoints
from components.train.config import TrainConfig
from components.train.dataset import TokenData
from components.train.loop import Trainer
from components.train.monitor import best_validation, greedy
from components.train.monitored import Measuring
from components.train.scope import training_scope
from components.train.start import new_model
from pipeline.config import PipelineConfig, load_config
from pipeline.config.places import Places
from pipeline.plan.planning import make_plan
from pipeline.store.store import Store

REPOSITORY = Path(__file__).resolve().parents[2]
MONITORS = ("loss", "exact_match")
METRICS = ("exact_match", "character_error_rate", "word_error_rate")
FILES = {"dates": REPOSITORY / "pipeline.yaml", "cmudict": Path(__file__).with_name("cmudict.yaml")}


@dataclass
class Watched:
    """Measures exact match at each validation, and remembers the weights of that moment.

    Args:
        model: in training.
        measure: measures it.
    """

    model: Any
    measure: Any
    weights: list[list[np.ndarray]] = field(default_factory=list)
    seconds: float = 0.0

    def __call__(self) -> float:
        """Returns the exact match."""
        self.weights.append(self.model.get_weights())
        began = time.monotonic()
        value = self.measure()
        self.seconds += time.monotonic() - began
        return value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("names", nargs="*", choices=[*FILES, []], metavar="NAME")
    parser.add_argument(
        "--root", type=Path, default=Path("quality"), help="where ingest and tokenize are kept"
    )
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--units", type=int, default=128, help="of encoder and decoder, in one layer each")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    root = options.root.resolve()
    for name in options.names or FILES:
        os.chdir(REPOSITORY if name == "dates" else options.data)  # the paths in the files are relative to it
        changes = {
            "root": str(root),
            "seed": options.seed,
            "train.epochs": options.epochs,
            "train.monitor": "exact_match",
            "evaluate.bless": "always",
            "model.encoder.units": options.units,
            "model.encoder.num_layers": 1,
            "model.decoder.units": options.units,
        }
        overrides = [f"{key}={value}" for key, value in changes.items()] + ["tracking.enabled=false"]
        compare(name, load_config(FILES[name], overrides), tokenized(FILES[name], overrides))


def tokenized(file: Path, overrides: list[str]) -> dict[str, Any]:
    """Runs ingest and tokenize, or reuses them; returns their references."""
    command = [sys.executable, "-m", "pipeline", "run", str(file), "--until", "tokenize"]
    command += [f"--set={override}" for override in overrides]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    subprocess.run(command, env=environment, stdout=sys.stderr, check=True)
    config = load_config(file, overrides)
    places = Places.of(config)
    plans = make_plan(config, places, Store(places.root), until="tokenize")
    return {plan.name: plan.artifact.reference for plan in plans if plan.artifact}


def compare(name: str, config: PipelineConfig, inputs: dict[str, Any]) -> None:
    """Trains once, and measures the checkpoint that each monitor keeps."""
    train, tokens = config.train, Tokens.load(inputs["tokenize"])
    split = partial(
        TokenData, tokens, task=config.task, batch_size=train.batch_size, buckets=train.length_buckets
    )
    began = time.monotonic()
    with TemporaryDirectory() as temporary, training_scope(config.seed, train.precision):
        folder = files.resolve(temporary)
        model = new_model(config.model, config.task, tokens, config.seed)
        measuring = Measuring("exact_match", config.task, train.batch_size, greedy(config.decode))
        watched = Watched(model, measuring(model, inputs))
        checkpoints = Checkpoints(folder, folder, "one")
        trainer = Trainer(
            model, train, split("train"), split("validation"), config.seed, checkpoints, watched
        )
        history = trainer.fit()
    seconds = time.monotonic() - began
    print(f"{'data':<9}{'monitor':<13}{'kept':>5}" + "".join(f"{metric:>22}" for metric in METRICS))
    rows = []
    for monitor in MONITORS:
        chosen = TrainConfig.model_validate({"monitor": monitor})
        place = best_validation(chosen, history["validations"])
        model.set_weights(watched.weights[place])
        rows.append(measured(model, config, inputs))
        figures = "".join(f"{100 * rows[-1][metric]:>20.2f} %" for metric in METRICS)
        print(f"{name:<9}{monitor:<13}{history['validations'][place]['epoch']:>5}{figures}", flush=True)
    gains = "".join(f"{100 * (rows[1][metric] - rows[0][metric]):>+19.2f} pp" for metric in METRICS)
    print(f"{name:<9}{'difference':<18}{gains}")
    print(
        f"{seconds:.0f} s of training, {watched.seconds:.0f} s of them ({watched.seconds / seconds:.0%}) to "
        f"measure exact match {len(watched.weights)} times\n"
    )


def measured(model: Any, config: PipelineConfig, inputs: dict[str, Any]) -> dict[str, float]:
    """What evaluate measures on the test split, with the configured decoding."""
    tokens, examples = Tokens.load(inputs["tokenize"]), Examples.load(inputs["ingest"])
    tokenizers = {side: tokens.tokenizer(side) for side in ("source", "target")}
    predictor = Predictor(config.task, model, tokenizers, [], config.decode)
    measure = Measure(METRICS, resamples=0)
    accumulator, done = measure.create_accumulator(), 0
    for part in examples.parts_of("test"):
        for batch in examples.batches(part, ["source", "target"], config.evaluate.batch_size):
            accumulator = measure.add_input(
                accumulator, answer(predictor, batch["source"], batch["target"], None, done)
            )
            done += len(batch["source"])
    return measure.extract_output(accumulator)["metrics"]


if __name__ == "__main__":
    main()
