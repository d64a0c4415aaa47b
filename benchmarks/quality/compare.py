"""Trains models on public data and prints their figures beside published ones.

    python benchmarks/quality/compare.py DATA [NAME ...]

DATA is a directory with tab-separated files: scan/{simple_train,simple_test}.tsv (command, actions),
cmudict/{train,dev,test}.tsv (word, phonemes; one row a pronunciation), multi30k/{train,dev,test}.tsv
(de, en).
NAME is one of the comparisons below; all of them take hours on two cores. Each is a file beside this one, run
with some keys changed; what a run has already computed is reused. Prints one line a model and decoding:
the figure, the wall time of training, parameters.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import sacrebleu

from pipeline.config import load_config
from pipeline.config.places import Places
from pipeline.plan.planning import make_plan
from pipeline.run.models import initial_of
from pipeline.store.store import Store

HERE = Path(__file__).resolve().parent

Prediction = dict[str, Any]  # a line of predictions.jsonl


def exact_match(predictions: list[Prediction]) -> float:
    """Percentage of answers that are the target."""
    return 100 * sum(row["prediction"] == row["target"] for row in predictions) / len(predictions)


def word_error_rate(predictions: list[Prediction]) -> float:
    """Percentage of words whose answer is none of the word's pronunciations."""
    answers = {row["input"]: row["prediction"] for row in predictions}
    pronunciations = defaultdict(set)
    for row in predictions:
        pronunciations[row["input"]].add(row["target"])
    return 100 * sum(answers[word] not in known for word, known in pronunciations.items()) / len(answers)


def bleu(predictions: list[Prediction]) -> float:
    """Lower-cased BLEU, of sacrebleu with its default tokenization."""
    answers, targets = ([row[name] for row in predictions] for name in ("prediction", "target"))
    return float(sacrebleu.corpus_bleu(answers, [targets], lowercase=True).score)


@dataclass(frozen=True)
class Comparison:
    """One configuration, with what is changed in it.

    Args:
        file: the configuration beside this file.
        metric: of the predictions on the test split.
        models: the keys that each model changes, by its name.
        widths: beam widths that each model is decoded with.
    """

    file: str
    metric: Callable[[list[Prediction]], float]
    models: dict[str, dict[str, str]]
    widths: tuple[int, ...] = field(default=(1, 5))


WITHOUT = {"model.attention": "null"}
COMPARISONS = {
    "scan": Comparison("scan.yaml", exact_match, {"attention": {}, "no attention": WITHOUT}),
    "cmudict": Comparison("cmudict.yaml", word_error_rate, {"attention": {}}),
    "cmudict_attentions": Comparison(
        "cmudict_attentions.yaml",
        word_error_rate,
        {
            "soft": {},
            "hard, reinforce": {"model.attention": "{type: hard, units: 64, estimator: reinforce}"},
            "hard, straight-through": {
                "model.attention": "{type: hard, units: 64, estimator: straight_through}"
            },
            # Words are short: at the default bias little would be read at first.
            "monotonic": {"model.attention": "{type: monotonic, units: 64, score_bias: -1.0}"},
        },
    ),
    "multi30k": Comparison("multi30k.yaml", bleu, {"attention": {}, "no attention": WITHOUT}),
}


def main() -> None:
    """Runs and prints."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("names", nargs="*", choices=[*COMPARISONS, []], metavar="NAME")
    parser.add_argument("--root", type=Path, default=Path("quality"), help="where runs are kept")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    root = options.root.resolve()
    os.chdir(options.data)  # The paths in the configurations are relative to it.
    print(f"{'comparison':<20} {'model':<24} {'width':>5} {'figure':>8} {'training':>9} {'parameters':>11}")
    for name in options.names or COMPARISONS:
        comparison = COMPARISONS[name]
        for model, changes in comparison.models.items():
            for width in comparison.widths:
                changed = {**changes, "decode.beam_size": str(width), "seed": str(options.seed)}
                artifacts = run(comparison.file, {**changed, "root": str(root)})
                figure = comparison.metric(list(artifacts["evaluate"].predictions()))
                seconds = sum(epoch["seconds"] for epoch in artifacts["train"].history()["epochs"])
                parameters = artifacts["train"].summary["parameters"]
                print(
                    f"{name:<20} {model:<24} {width:>5} {figure:>8.2f} {seconds:>7.0f} s {parameters:>11,}",
                    flush=True,
                )


def run(file: str, changes: dict[str, str]) -> dict[str, Any]:
    """Runs a configuration up to its evaluation; returns the stages' artifacts."""
    overrides = [f"{key}={value}" for key, value in changes.items()] + ["tracking.enabled=false"]
    command = [sys.executable, "-m", "pipeline", "run", str(HERE / file), "--until", "evaluate"]
    command += [f"--set={override}" for override in overrides]
    environment = {**os.environ, "PYTHONPATH": str(HERE.parents[1])}
    subprocess.run(command, env=environment, stdout=sys.stderr, check=True)
    config = load_config(HERE / file, overrides)
    places = Places.of(config)
    plans = make_plan(config, places, Store(places.root), until="evaluate", initial=initial_of(config))
    return {plan.name: plan.artifact for plan in plans if plan.artifact}


if __name__ == "__main__":
    main()
