"""A stage as somebody writes it outside of this package: it counts the words of the training examples."""

import json
from collections import Counter
from typing import ClassVar

import apache_beam as beam

from components.artifacts.artifact import Artifact
from components.artifacts.examples import Examples
from components.reports import Warned, emit
from components.work import Made
from pipeline.stages.stage import Stage


class WordCounts(Artifact):
    """How often each word occurs."""

    stage = "words"
    parts: ClassVar = {"counts": ("counts.json",)}
    published = ("counts.json",)


class CountWords(beam.PTransform):
    """{"ingest": Reference} to Made."""

    def __init__(self, work):
        super().__init__()
        self._work = work

    def expand(self, inputs):
        return inputs | "count" >> beam.Map(self._count)

    def _count(self, inputs):
        with self._work.attempt("count") as attempt:
            examples = Examples.load(inputs["ingest"])
            counts = Counter()
            for part in examples.parts_of("train"):
                for batch in examples.batches(part, ["text"]):
                    counts.update(word for text in batch["text"] for word in text.split())
            if counts.total() == len(counts):
                emit(Warned("words", "no word occurs twice"))
            file = attempt.put("counts.json", json.dumps(counts).encode())
        return Made((file,), {"words": counts.total(), "distinct": len(counts)})


class WordsStage(Stage):
    """Counts the words of the training examples."""

    kind = WordCounts
    module = __name__
    libraries = ("pyarrow",)

    def reads(self, config):
        return {"ingest": ("train",)}

    def settings(self, config):
        return {"task": config.task}

    def work(self, node):
        return CountWords(node.work)

    def describe(self, summary):
        return f"{summary['words']:,} words, {summary['distinct']:,} of them distinct"

    def log(self, artifact):
        log = super().log(artifact)
        log.metrics["words"] = artifact.summary["words"]
        return log
