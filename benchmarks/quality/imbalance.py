"""Trains on labels of very unequal frequency, without and with what is said to help.

    python benchmarks/quality/imbalance.py DATA [--largest 1000] [--ratio 50] [--seeds 1 2 3] [--root quality]

DATA is a directory with thucnews/{train,dev,test}.tsv (text, label). Of the train split so many rows of every
label are kept that the largest has --largest of them, the smallest --ratio times fewer, and those between lie
on a geometric row. The test split has the same number of every label, and is the same for all.
Prints a line a setting: accuracy and macro F1 in percent, the mean over the seeds and their span, beside the
TF-IDF floor. What a run has already computed is reused.
"""

from __future__ import annotations

import argparse
import random
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import mean

from compare import run
from floor import Figures, figures, floor, rows_of
from ruamel.yaml import YAML

SETTINGS: dict[str, dict[str, str]] = {
    "no weights": {},
    "class_weight: balanced": {"train.class_weight": "balanced"},
    "loss: focal": {"train.loss": "focal"},
    "focal and balanced": {"train.loss": "focal", "train.class_weight": "balanced"},
    "label_smoothing: 0.1": {"train.label_smoothing": "0.1"},
}
_EACH = 300  # rows of a label in the test split, at most

Rows = list[tuple[str, str]]


def main() -> None:
    """Makes the data, runs and prints."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--root", type=Path, default=Path("quality"), help="where data and runs are kept")
    parser.add_argument("--largest", type=int, default=1000, help="train rows of the most frequent label")
    parser.add_argument("--ratio", type=float, default=50, help="how many times fewer the rarest one has")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    options = parser.parse_args()
    root = options.root.resolve()
    splits = {name: rows_of(options.data / "thucnews" / f"{name}.tsv") for name in ("train", "dev", "test")}
    folder = root / f"imbalance-{options.largest}-{options.ratio:g}"
    train = imbalanced(splits["train"], options.largest, options.ratio)
    test = imbalanced(splits["test"], _EACH, 1)
    write(folder / "train.tsv", train)
    write(folder / "validation.tsv", imbalanced(splits["dev"], options.largest // 4, options.ratio))
    write(folder / "test.tsv", test)
    config = configuration(folder, root, options.epochs)
    print(f"{len(train):,} rows to train on, {len(test):,} to test on, seeds {options.seeds}\n")
    print(f"{'setting':<28} {'accuracy':>24} {'macro F1':>24}")
    show("TF-IDF floor", [floor(train, test, characters=True)])
    show("TF-IDF floor, balanced", [floor(train, test, characters=True, class_weight="balanced")])
    for title, changes in SETTINGS.items():
        show(title, [measured(config, {**changes, "seed": str(seed)}) for seed in options.seeds])


def imbalanced(rows: Rows, largest: int, ratio: float) -> Rows:
    """Keeps fewer and fewer rows of the labels, in an order that the names alone decide.

    Args:
        rows: (text, label).
        largest: how many of the first label.
        ratio: how many times fewer of the last one.
    """
    by_label: dict[str, Rows] = defaultdict(list)
    for row in rows:
        by_label[row[1]].append(row)
    labels = sorted(by_label)
    # Names that begin alike may mean alike: by a drawn order rare labels are no kind of their own.
    random.Random(0).shuffle(labels)
    fewest = min(map(len, by_label.values()))
    kept: Rows = []
    for place, label in enumerate(labels):
        wanted = largest * ratio ** (-place / (len(labels) - 1))
        kept += by_label[label][: max(1, round(wanted)) if ratio > 1 else min(fewest, largest)]
    random.Random(0).shuffle(kept)
    return kept


def write(path: Path, rows: Rows) -> None:
    """Writes a split."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{text}\t{label}\n" for text, label in [("text", "label"), *rows]), "utf-8")


def configuration(folder: Path, root: Path, epochs: int) -> Path:
    """Writes the configuration that the settings change."""
    files = {name: str(folder / f"{name}.tsv") for name in ("train", "validation", "test")}
    config = {
        "name": "imbalance",
        "task": "classification",
        "root": str(root / "runs"),
        "ingest": {"files": files},
        "tokenize": {"text": {"type": "characters", "max_sequence_length": 40}},
        "model": {
            "embedding_size": 64,
            "dropout": 0.3,
            "encoder": {"type": "text_cnn"},
            "pooling": "max",
        },
        "train": {"epochs": epochs, "batch_size": 64, "learning_rate_schedule": "cosine"},
        "evaluate": {"metrics": ["accuracy", "macro_f1"]},
    }
    path = folder / "imbalance.yaml"
    with path.open("w", encoding="utf-8") as file:
        YAML(typ="safe").dump(config, file)
    return path


def measured(config: Path, changes: dict[str, str]) -> Figures:
    """Runs, and measures the answers on the test split."""
    answers = list(run(str(config), changes)["evaluate"].predictions())
    return figures([row["target"] for row in answers], [row["prediction"] for row in answers])


def show(title: str, all_figures: Sequence[Figures]) -> None:
    """Prints a line."""
    cells = []
    for values in zip(*all_figures, strict=True):
        span = f" ({min(values):.2f} to {max(values):.2f})" if len(values) > 1 else ""
        cells.append(f"{mean(values):.2f}{span}")
    print(f"{title:<28} {cells[0]:>24} {cells[1]:>24}", flush=True)


if __name__ == "__main__":
    main()
