"""The tiny pipeline with data, root and served models in an object store."""

import json
from pathlib import Path

import tiny

from components import files

SPLITS = ("train", "validation", "test")


def make(folder: Path, place: str, runner: dict) -> Path:
    """Puts the data at an address; returns pipeline.yaml, which is in the folder as MLflow's database is."""
    config = tiny.make(folder)
    text = config.read_text(encoding="utf-8").replace(f"sqlite:///{folder}", "DATABASE")
    for split in SPLITS:
        files.write(files.resolve(f"{place}/{split}.tsv"), (folder / f"{split}.tsv").read_bytes())
    text = text.replace(str(folder), place).replace("DATABASE", f"sqlite:///{folder}")
    config.write_text(f"{text}runner: {json.dumps(runner)}\n", encoding="utf-8")
    return config
