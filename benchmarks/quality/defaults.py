"""Sets configurations of four lines, which leave everything to the defaults, beside ones written by hand.

    python benchmarks/quality/defaults.py DATA [--only SET] [--rows N] [--seeds N]

DATA is a directory with {trec,sst2,thucnews}/{train,test}.tsv (the last two with dev.tsv; text, label) and
imdb/{train,test}.jsonl.gz; `languages` is in data/ of this project. Of each set three models are trained: by
the defaults, by the file in handwritten/ (of `languages`: examples/languages.yaml), and, as the floor, TF-IDF
of the same tokens with one hidden layer. Prints test accuracies in percent. Where defaults and handwriting
are less than two points apart, `--seeds 3` repeats both, and the means are compared.
"""

from __future__ import annotations

import argparse
import gzip
import os
import random
import subprocess
import sys
from pathlib import Path
from statistics import mean
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pipeline.config import load_config, resolved, yaml_text
from pipeline.config.places import Places
from pipeline.plan.planning import make_plan
from pipeline.store.store import Store

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parents[1]
SETS = {name: HERE / "handwritten" / f"{name}.yaml" for name in ("trec", "sst2", "imdb", "thucnews")} | {
    "languages": PROJECT / "examples" / "languages.yaml"
}
CLOSE = 2.0  # points, within which one seed says little

Data = dict[str, Any]


def read(name: str, data: Path, rows: int, folder: Path) -> Data:
    """Returns the configuration of a set that is written by hand, its files in full or cut to some rows."""
    os.chdir(PROJECT if name == "languages" else data)
    config = resolved(load_config(SETS[name]))
    for split, file in config["ingest"]["files"].items():
        place = Path(file).resolve()
        if rows:
            place = cut(
                place, rows, folder / f"{name}-{split}-{rows}.{'jsonl' if '.jsonl' in file else 'tsv'}"
            )
        config["ingest"]["files"][split] = str(place)
    return config


def cut(place: Path, rows: int, target: Path) -> Path:
    """Writes a random part of a file's rows, drawn alike every time."""
    data = place.read_bytes()
    text = (gzip.decompress(data) if place.suffix == ".gz" else data).decode()
    lines = [line for line in text.split("\n") if line.strip()]
    head = lines[:1] if target.suffix == ".tsv" else []
    body = lines[len(head) :]
    random.Random(1).shuffle(body)
    target.write_text("\n".join([*head, *body[:rows], ""]), encoding="utf-8")
    return target


def four_lines(written: Data) -> Data:
    """Returns the configuration that says what the data are and which encoder reads it, and nothing else."""
    ingest = {key: written["ingest"][key] for key in ("files", "columns")}
    encoder = {"type": written["model"]["encoder"]["type"]}
    return {"name": written["name"], "task": written["task"], "ingest": ingest, "model": {"encoder": encoder}}


def floor(written: Data) -> Data:
    """Returns the same with TF-IDF in the place of the network: of one to three characters, or of words."""
    ngrams = 3 if written["tokenize"]["text"]["type"] == "characters" else 2
    encoder = {"type": "tfidf", "units": 64, "ngrams": ngrams}
    train = {
        "epochs": 4,
        "optimizer": {"type": "adam", "learning_rate": 0.003},
        "learning_rate_schedule": "cosine",
    }
    model = {"dropout": 0.3, "encoder": encoder}
    return {**four_lines(written), "tokenize": written["tokenize"], "model": model, "train": train}


def accuracy(config: Data, seed: int, root: Path) -> tuple[float, list[str]]:
    """Runs a configuration up to its evaluation.

    Returns:
        The accuracy on the test split in percent, and what the stages chose.
    """
    file = root / "defaults.yaml"
    settings = {"root": str(root), "seed": seed, "tracking": {"enabled": False}}
    whole = {**config, **settings, "evaluate": {"metrics": ["accuracy"], "bless": "always"}}
    file.write_text(yaml_text(whole), encoding="utf-8")
    command = [sys.executable, "-m", "pipeline", "run", str(file), "--until", "evaluate"]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    subprocess.run(command, env=environment, stdout=sys.stderr, check=True)
    loaded = load_config(file)
    places = Places.of(loaded)
    plans = make_plan(loaded, places, Store(places.root), until="evaluate")
    made = {plan.name: plan.artifact for plan in plans if plan.artifact}
    chosen = made["tokenize"].summary.get("chosen", {})
    report = made["evaluate"].report()
    return 100 * report["metrics"]["accuracy"], [f"{field}: {one['why']}" for field, one in chosen.items()]


def main() -> None:
    """Runs and prints."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--only", choices=SETS, action="append", help="a set; may be repeated")
    parser.add_argument("--rows", type=int, default=0, help="of every split, at most; all by default")
    parser.add_argument("--seeds", type=int, default=1, help="trainings where the difference is small")
    parser.add_argument("--root", type=Path, default=Path("quality"), help="where runs are kept")
    options = parser.parse_args()
    root, data = options.root.resolve(), options.data.resolve()
    root.mkdir(parents=True, exist_ok=True)
    print(f"{'set':<10} {'rows':>6} {'defaults':>9} {'written':>9} {'difference':>11} {'floor':>7}  seeds")
    for name in options.only or SETS:
        written = read(name, data, options.rows, root)
        models = (four_lines(written), written)
        first = [accuracy(model, 1, root) for model in models]
        figures = [[first[0][0]], [first[1][0]]]
        if abs(figures[0][0] - figures[1][0]) < CLOSE:
            for seed in range(2, options.seeds + 1):
                for model, values in zip(models, figures, strict=True):
                    values.append(accuracy(model, seed, root)[0])
        ours, theirs = map(mean, figures)
        least, _ = accuracy(floor(written), 1, root)
        print(
            f"{name:<10} {options.rows or 'all':>6} {ours:>9.2f} {theirs:>9.2f} {ours - theirs:>+11.2f} "
            f"{least:>7.2f}  {len(figures[0])}\n           {'; '.join(first[0][1])}",
            flush=True,
        )


if __name__ == "__main__":
    main()
