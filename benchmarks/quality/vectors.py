"""Trains on SST-2 with word vectors made of its own text and of IMDB's, and without any.

    pip install 'rnnpipe[bench]'
    python benchmarks/quality/vectors.py DATA [--seeds 1 2 3] [--epochs 8] [--root quality]

DATA is a directory with sst2/{train,dev,test}.tsv (text, label) and imdb/train.jsonl.gz (text). The vectors
are made by gensim on one thread, so that they come out alike; labels are never looked at. Prints a line a
kind of vectors: their coverage, and the accuracy in percent, the mean over the seeds and their span, beside
the TF-IDF floor. What a run has already computed is reused.
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import mean

from compare import run
from floor import figures, floor, rows_of
from ruamel.yaml import YAML

_WORD = re.compile(r"[^\W_]+|[^\w\s]|_")  # about what the tokenizer `words` makes
_SIZE = 100


def main() -> None:
    """Makes vectors, runs and prints."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--root", type=Path, default=Path("quality"), help="where vectors and runs are kept")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    options = parser.parse_args()
    root, sst2 = options.root.resolve(), options.data.resolve() / "sst2"
    own = [text for text, _ in rows_of(sst2 / "train.tsv")]
    imdb = list(texts_of(options.data / "imdb" / "train.jsonl.gz"))
    config = configuration(sst2, root, options.epochs)
    made = {
        "none": {},
        "of its own text": {"model.embeddings.file": make(root / "sst2.vec", own, epochs=30)},
        "of IMDB": {"model.embeddings.file": make(root / "imdb.vec", imdb, epochs=5)},
        "of IMDB and its own text": {
            "model.embeddings.file": make(root / "both.vec", [*imdb, *own], epochs=5)
        },
    }
    made["of both, not trained"] = {**made["of IMDB and its own text"], "model.embeddings.trainable": "false"}
    print(f"{'vectors':<26} {'tokens':>8} {'text':>8} {'accuracy':>26}")
    linear = floor(rows_of(sst2 / "train.tsv"), rows_of(sst2 / "test.tsv"))
    print(f"{'(TF-IDF floor)':<26} {'':>8} {'':>8} {linear.accuracy:>26.2f}", flush=True)
    for title, changes in made.items():
        all_figures, coverage = [], {}
        for seed in options.seeds:
            artifacts = run(str(config), {**changes, "seed": str(seed)})
            answers = list(artifacts["evaluate"].predictions())
            expected, given = ([row[name] for row in answers] for name in ("target", "prediction"))
            all_figures.append(figures(expected, given).accuracy)
            coverage = artifacts["train"].summary.get("vectors", {})
        shares = ["", ""]
        if coverage:
            shares = [f"{coverage['covered'] / coverage['tokens']:.1%}", f"{coverage['text']:.1%}"]
        told = f"{mean(all_figures):.2f} ({min(all_figures):.2f} to {max(all_figures):.2f})"
        print(f"{title:<26} {shares[0]:>8} {shares[1]:>8} {told:>26}", flush=True)


def texts_of(path: Path) -> Iterator[str]:
    """Reads the texts of a packed file of JSON lines."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)["text"]


def make(path: Path, texts: list[str], epochs: int) -> str:
    """Makes vectors by word2vec's skip-gram, unless they are there; returns the path."""
    if not path.exists():
        try:
            from gensim.models import Word2Vec
        except ImportError:
            sys.exit("gensim, which makes the vectors, is not installed: pip install 'rnnpipe[bench]'")
        sentences = [_WORD.findall(text.lower()) for text in texts]
        model = Word2Vec(
            sentences, vector_size=_SIZE, window=5, min_count=2, sg=1, epochs=epochs, workers=1, seed=1
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        model.wv.save_word2vec_format(str(path.with_suffix(".part")))
        path.with_suffix(".part").rename(path)
    return str(path)


def configuration(sst2: Path, root: Path, epochs: int) -> Path:
    """Writes the configuration that takes the vectors."""
    splits = {"train": "train", "validation": "dev", "test": "test"}
    config = {
        "name": "vectors",
        "task": "classification",
        "root": str(root / "runs"),
        "ingest": {"files": {split: str(sst2 / f"{name}.tsv") for split, name in splits.items()}},
        "tokenize": {"text": {"type": "words", "case_fold": True, "max_sequence_length": 64}},
        "model": {
            "embedding_size": _SIZE,
            "dropout": 0.5,
            "encoder": {"type": "lstm", "units": 64, "bidirectional": True},
            "pooling": "max",
        },
        "train": {
            "epochs": epochs,
            "batch_size": 64,
            "learning_rate_schedule": "cosine",
            "monitor": "accuracy",
        },
        "evaluate": {"metrics": ["accuracy"]},
    }
    path = root / "vectors.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        YAML(typ="safe").dump(config, file)
    return path


if __name__ == "__main__":
    main()
