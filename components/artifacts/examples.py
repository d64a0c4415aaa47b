"""The ingest stage's artifact: checked examples, split by split."""

from __future__ import annotations

from typing import ClassVar

from components.artifacts.artifact import Artifact


class Examples(Artifact):
    """Texts in Parquet, what else was kept of them, and what is known about the data."""

    stage = "ingest"
    parts: ClassVar = {
        "train": ("examples/train-",),
        "validation": ("examples/validation-",),
        "test": ("examples/test-",),
        "kept": ("kept/",),
        "report": ("statistics.json", "rejected.jsonl"),
    }
