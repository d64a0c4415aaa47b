"""Runs ingest, and reads what it made."""

from stage_runner import run_stage

from components.artifacts.examples import Examples
from components.ingest.config import IngestConfig
from components.ingest.sources import find_sources
from components.ingest.transform import Ingest
from components.strict import FIELDS

ALL = {"holdout": {}}


def ingest(config, task="classification", root="runs"):
    """Runs the stage as the pipeline does."""
    config = IngestConfig(**config)
    sources = find_sources(config, task)
    return run_stage(lambda work: Ingest(config, task, sources, work), Examples, {}, root)


def examples(artifact, split="train", task="classification"):
    return [
        row
        for name in artifact.parts_of(split)
        for batch in artifact.batches(name, FIELDS[task])
        for row in zip(*batch.values(), strict=True)
    ]


def rejected(artifact):
    return [tuple(record.values()) for record in artifact.rejected()]


def contents(artifact):
    return {name: artifact.read(name) for name in artifact.names()}


def kept(artifact, name):
    rows = [
        row
        for part in artifact.parts_of("train")
        for batch in artifact.batches(part, [name, "text"], batch_size=2)
        for row in zip(*batch.values(), strict=True)
    ]
    assert [text for _, text in rows] == [text for text, _ in examples(artifact)]
    return [value for value, _ in rows]
