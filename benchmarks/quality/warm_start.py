"""Trains on half of the data and goes on with the other half, beside training on all of it at once.

    python benchmarks/quality/warm_start.py DATA [--rows 20000] [--split labels] [--set KEY=VALUE ...]

DATA is a directory with thucnews/{train,dev,test}.tsv (text, label). Three models of thucnews.yaml, which is
beside this file, are trained: on half A, from that one on half B (train.init_from), and on both halves.
Prints one line a model: its accuracy on the test set, the wall time of its training, and the sizes of its
vocabularies.

With --split labels half B has the labels that half A lacks, and none of A's: what the second training forgets
shows in the accuracy on the test texts that have A's labels.
"""

from __future__ import annotations

import argparse
import csv
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from compare import run  # also makes the pipeline importable

from components import files
from pipeline.run.folder import run_folders

Row = tuple[str, str]  # text and label

MODELS = {"on A": "a", "on A, then B": "b", "on A and B": "all"}


def main() -> None:
    """Runs and prints."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--rows", type=int, default=20_000, help="training texts of both halves together")
    parser.add_argument(
        "--split", choices=["random", "labels"], default="random", help="what halves differ in"
    )
    parser.add_argument("--root", type=Path, default=Path("quality"), help="where runs are kept")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--set", dest="changes", action="append", default=[], metavar="KEY=VALUE")
    options = parser.parse_args()
    root = options.root.resolve()
    source = options.data.resolve() / "thucnews"
    labels_of_a = write_halves(source, root / "halves", options.rows, options.split, options.seed)
    changes = dict(change.split("=", 1) for change in options.changes)
    changes |= {"root": str(root), "seed": str(options.seed)}
    print(
        f"{'model':<14} {'accuracy':>8} {'A labels':>9} {'B labels':>9} {'training':>9} {'tokens':>7} "
        f"{'labels':>7}"
    )
    init: dict[str, str] = {}
    for model, half in MODELS.items():
        folder = root / "halves" / half
        splits = f"{{train: {folder}/train.tsv, validation: {folder}/dev.tsv, test: {source}/test.tsv}}"
        given = init if half == "b" else {}
        artifacts = run("thucnews.yaml", {**changes, "ingest.files": splits, **given})
        if half == "a":
            init = {"train.init_from": run_folders(files.resolve(root))[-1].id}
        print(f"{model:<14} {line(artifacts, labels_of_a)}", flush=True)


def write_halves(source: Path, target: Path, rows: int, split: str, seed: int) -> set[str]:
    """Writes train and dev files of half A, half B and both; returns the labels of half A.

    Args:
        source: the folder of the data.
        target: where to write a/, b/ and all/.
        rows: training texts to draw.
        split: `random`, or `labels`: half A has the first half of the labels in the order of the alphabet.
        seed: decides which texts are drawn, and their order.
    """
    train, dev = (read(source / f"{name}.tsv") for name in ("train", "dev"))
    random.Random(seed).shuffle(train)
    train = train[:rows]
    labels = sorted({label for _, label in train})
    if split == "labels":
        labels_of_a = set(labels[: len(labels) // 2])
        halves = [[row for row in train if (row[1] in labels_of_a) is first] for first in (True, False)]
    else:
        labels_of_a = set(labels)
        halves = [train[: rows // 2], train[rows // 2 :]]
    for name, half in zip(("a", "b", "all"), (*halves, train), strict=True):
        known = {label for _, label in half}
        write(target / name / "train.tsv", half)
        write(target / name / "dev.tsv", [row for row in dev if row[1] in known])
    return labels_of_a


def read(path: Path) -> list[Row]:
    """Reads the texts and labels of a file with a header line."""
    with path.open(encoding="utf-8", newline="") as file:
        return [
            (row["text"], row["label"])
            for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        ]


def write(path: Path, rows: Sequence[Row]) -> None:
    """Writes what `read` reads."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        "".join(f"{text}\t{label}\n" for text, label in [("text", "label"), *rows]), encoding="utf-8"
    )


def line(artifacts: dict[str, Any], labels_of_a: set[str]) -> str:
    """Returns the figures of a model: accuracies on all test texts, with A's labels, and with others."""
    rows = list(artifacts["evaluate"].predictions())
    groups = [
        rows,
        [row for row in rows if row["target"] in labels_of_a],
        [row for row in rows if row["target"] not in labels_of_a],
    ]
    figures = [
        f"{100 * sum(row['correct'] for row in group) / len(group):.2f}" if group else "-" for group in groups
    ]
    seconds = sum(epoch["seconds"] for epoch in artifacts["train"].history()["epochs"])
    tokens = artifacts["tokenize"].summary
    return (
        f"{figures[0]:>8} {figures[1]:>9} {figures[2]:>9} {seconds:>7.0f} s "
        f"{tokens['vocabulary']['text']:>7,} {tokens['labels']:>7}"
    )


if __name__ == "__main__":
    main()
