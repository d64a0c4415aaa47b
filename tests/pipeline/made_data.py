"""Files as strangers bring them, small and always the same."""

import csv
import gzip
import io
import json
import random
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet
from rich.console import Console

from pipeline.config import PipelineConfig, load_config
from pipeline.init.draft import Wishes
from pipeline.init.make import init

_WORDS = (
    "the",
    "a",
    "good",
    "bad",
    "film",
    "plot",
    "was",
    "really",
    "not",
    "it",
    "actor",
    "story",
    "music",
    "slow",
)


def sentences(count, low=4, high=20, seed=1):
    draw = random.Random(seed)
    return [" ".join(draw.choices(_WORDS, k=draw.randint(low, high))) + f" {i}." for i in range(count)]


def labelled(count=120, labels=("pos", "neg"), seed=2):
    """Rows of a text and a label."""
    draw = random.Random(seed)
    return [(text, draw.choice(labels)) for text in sentences(count)]


def write_table(path, rows, header=("text", "label"), encoding="utf-8", packed=False, **dialect):
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n", **dialect)
    writer.writerows([header, *rows] if header else rows)
    data = text.getvalue().encode(encoding)
    Path(path).write_bytes(gzip.compress(data) if packed else data)
    return str(path)


def write_objects(path, rows, keys=("text", "label")):
    lines = [json.dumps(dict(zip(keys, row, strict=True)), ensure_ascii=False) for row in rows]
    Path(path).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


def write_parquet(path, rows, header=("text", "label")):
    table = {name: [row[place] for row in rows] for place, name in enumerate(header)}
    parquet.write_table(pa.table(table), path)
    return str(path)


def write_lines(path, lines):
    Path(path).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return str(path)


def described(*patterns, output="pipeline.yaml", force=False, **wishes) -> tuple[PipelineConfig, str, str]:
    """Runs init in the working directory.

    Returns:
        The configuration, its text, and what was printed.
    """
    console = Console(file=io.StringIO(), width=300)
    init(patterns, Wishes(**wishes), Path(output), force, console)
    text = Path(output).read_text(encoding="utf-8")
    return load_config(Path(output)), text, console.file.getvalue()


def ingest_of(config):
    """The keys of ingest that are not the default."""
    return config.ingest.model_dump(exclude_defaults=True, exclude={"holdout", "split"})
