"""A pipeline small enough to be run in a test: which letter is in the text?"""

import io
import os
import random
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console

from pipeline.config import load_config
from pipeline.run.pipeline import run_pipeline

REPOSITORY = Path(__file__).parents[2]

CLASSIFICATION = """\
name: letters
task: classification
root: {folder}/runs
ingest: {{files: {{train: {folder}/train.tsv, validation: {folder}/validation.tsv, test: {folder}/test.tsv}}}}
model: {{embedding_size: 8, encoder: {{type: gru, units: 8}}, pooling: max}}
train:
  epochs: 2
  batch_size: 16
  optimizer: {{type: adam, learning_rate: 0.05}}
  learning_rate_schedule: constant
  early_stopping: null
evaluate: {{bless: {{accuracy: {{min: 0.5}}}}}}
export: {{directory: {folder}/serving}}
tracking: {{uri: "sqlite:///{folder}/mlflow.db"}}
"""

SEQ2SEQ = """\
name: copy
task: seq2seq
root: {folder}/runs
ingest:
  files: {{train: {folder}/train.tsv, validation: {folder}/validation.tsv, test: {folder}/test.tsv}}
  columns: {{source: text, target: label}}
model:
  embedding_size: 8
  encoder: {{type: gru, units: 8, bidirectional: true}}
  attention: {{type: bahdanau}}
  decoder: {{type: gru, units: 8}}
train:
  epochs: 2
  batch_size: 16
  optimizer: {{type: adam, learning_rate: 0.05}}
  learning_rate_schedule: constant
  early_stopping: null
decode: {{beam_size: 2, max_decoding_length: 4}}
evaluate: {{bless: always}}
export: {{directory: {folder}/serving}}
tracking: {{enabled: false}}
"""


def write_data(folder: Path) -> None:
    """Writes train.tsv, validation.tsv and test.tsv; no text comes twice."""
    draw = random.Random(1)
    number = 0
    for name, count in (("train", 200), ("validation", 40), ("test", 40)):
        lines = ["text\tlabel"]
        for _ in range(count):
            number += 1
            letter = draw.choice("abc")
            lines.append(f"{letter * 3}{number}\t{letter}")
        (folder / f"{name}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def make(folder: Path, text: str = CLASSIFICATION) -> Path:
    """Writes data and pipeline.yaml; returns the latter."""
    folder.mkdir(parents=True, exist_ok=True)
    write_data(folder)
    config = folder / "pipeline.yaml"
    config.write_text(text.format(folder=folder), encoding="utf-8")
    return config


def run(config: Path, *overrides: str, **arguments) -> tuple[int, str]:
    """Runs in this process; returns the exit code and what was said."""
    console = Console(file=io.StringIO(), width=200)
    code = run_pipeline(load_config(config, overrides), console, str(config), overrides, **arguments)
    return code, console.file.getvalue()


def start(*arguments: str, environment: Mapping[str, str] | None = None, **options) -> subprocess.Popen:
    """Starts the command line in a process of its own."""
    command = [sys.executable, "-m", "pipeline", *map(str, arguments)]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONUNBUFFERED": "1", **(environment or {})},
        **options,
    )
