"""Ingest and tokenize of 100,000 and 1,000,000 lines: peak memory, and speed beside a plain tf.data script.

    python benchmarks/ingest_tokenize.py [--lines 100000 1000000]

Both sides read the same tab-separated file, count its characters, and write token ids, the pipeline as
Parquet, the script as TFRecord; each runs in a fresh process, whose whole life is timed. The pipeline also
checks every record, counts labels, lengths and duplicates, and writes the examples; the script does not.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent


def write_lines(path: Path, count: int) -> None:
    """Writes texts of two display names each, so that lines differ and the alphabet does not grow."""
    rows = (REPOSITORY / "data/languages/train.tsv").read_text(encoding="utf-8").splitlines()[1:]
    names = [row.split("\t") for row in rows]
    draw = random.Random(1)
    with path.open("w", encoding="utf-8") as file:
        file.write("text\tlabel\n")
        for _ in range(count):
            (first, label), (second, _) = draw.choices(names, k=2)
            file.write(f"{first} {second}\t{label}\n")


def pipeline(data: Path, folder: Path) -> None:
    """Runs the two stages as a user would."""
    config = {
        "name": "bench",
        "task": "classification",
        "root": str(folder / "runs"),
        "ingest": {"files": str(data)},
        "model": {"encoder": {"type": "gru"}},
        "tracking": {"enabled": False},
    }
    path = folder / "bench.yaml"
    path.write_text(json.dumps(config), encoding="utf-8")
    command = [sys.executable, "-m", "pipeline", "run", str(path), "--until", "tokenize"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=REPOSITORY)


def plain(data: Path, folder: Path) -> None:
    """Does the same with tf.data alone."""
    import tensorflow as tf

    folder.mkdir()
    lines = tf.data.TextLineDataset(str(data)).skip(1).batch(2048)
    columns = lines.map(lambda batch: tf.strings.split(batch, "\t").to_tensor(shape=[None, 2]))
    counts: dict[bytes, int] = {}
    labels: set[bytes] = set()
    for batch in columns:
        units, _, numbers = tf.unique_with_counts(tf.strings.unicode_split(batch[:, 0], "UTF-8").flat_values)
        for unit, number in zip(units.numpy(), numbers.numpy(), strict=True):
            counts[unit] = counts.get(unit, 0) + int(number)
        labels.update(batch[:, 1].numpy())
    ranked = sorted(counts, key=lambda unit: (-counts[unit], unit))
    ids = {unit: index + 4 for index, unit in enumerate(ranked)}
    label_ids = {label: index for index, label in enumerate(sorted(labels))}
    initializer = tf.lookup.KeyValueTensorInitializer(list(ids), list(ids.values()), tf.string, tf.int64)
    table = tf.lookup.StaticHashTable(initializer, 1)
    with tf.io.TFRecordWriter(str(folder / "train.tfrecord")) as writer:
        for batch in columns:
            tokens = tf.ragged.map_flat_values(table.lookup, tf.strings.unicode_split(batch[:, 0], "UTF-8"))
            for row, label in zip(tokens.to_list(), batch[:, 1].numpy(), strict=True):
                example = tf.train.Example()
                example.features.feature["text"].int64_list.value.extend(row)
                example.features.feature["label"].int64_list.value.append(label_ids[label])
                writer.write(example.SerializeToString())


def measure(side: str, data: Path, folder: Path) -> tuple[float, float]:
    """Runs one side in a fresh process; returns seconds and peak memory in MiB."""
    code = (
        "import resource, sys; from pathlib import Path;"
        "sys.path.insert(0, 'benchmarks'); import ingest_tokenize as b;"
        f"b.{side}(Path({str(data)!r}), Path({str(folder)!r}));"
        "print(max(resource.getrusage(who).ru_maxrss"
        " for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))"
    )
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=REPOSITORY,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"},
    )
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
    return time.monotonic() - began, int(done.stdout.split()[-1]) / unit


def main() -> None:
    """Measures and prints; exit code 1 if memory grows too much."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--lines", type=int, nargs="+", default=[100_000, 1_000_000])
    sizes = parser.parse_args().lines
    peaks = []
    print(f"{'lines':>10} {'side':>9} {'seconds':>8} {'lines/s':>9} {'peak MiB':>9}")
    with tempfile.TemporaryDirectory() as name:
        for size in sizes:
            data = Path(name) / f"{size}.tsv"
            write_lines(data, size)
            seconds = {}
            for side in ("pipeline", "plain"):
                folder = Path(name) / f"{side}-{size}"
                if side == "pipeline":
                    folder.mkdir()
                seconds[side], peak = measure(side, data, folder)
                print(f"{size:>10,} {side:>9} {seconds[side]:8.1f} {size / seconds[side]:9,.0f} {peak:9,.0f}")
                if side == "pipeline":
                    peaks.append(peak)
            print(f"{size:>10,} pipeline / plain time: {seconds['pipeline'] / seconds['plain']:.2f}")
    growth = peaks[-1] / peaks[0]
    print(f"peak memory of {sizes[-1]:,} lines / {sizes[0]:,} lines: {growth:.2f} (at most 1.5)")
    sys.exit(growth > 1.5)


if __name__ == "__main__":
    main()
