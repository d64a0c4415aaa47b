"""What is counted of the examples that ingest would read: lengths, scripts, labels, rejections."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from components.ingest.checks import Checker, columns_of
from components.ingest.config import IngestConfig
from components.ingest.readers import read_records
from components.ingest.sources import Source
from components.strict import Task
from components.tokenize.lengths import Lengths

LONGEST = 1_000_000
"""Characters of the longest text that ingest can be told to take."""
_KEPT = 2_000  # pairs that what copying the source would score is computed from


@dataclass
class Statistics:
    """What is counted of the examples of a split.

    Attributes:
        share: of the files, that was looked at.
        records: read.
        lengths: by field.
        labels: classification: how often every label occurs.
        pairs: the first texts and targets, and then evenly spaced ones.
        rejected: by reason, how many records are no example.
    """

    share: float = 1.0
    records: int = 0
    lengths: dict[str, Lengths] = field(default_factory=dict)
    labels: Counter[str] = field(default_factory=Counter)
    pairs: list[tuple[str, str]] = field(default_factory=list)
    rejected: Counter[str] = field(default_factory=Counter)

    @property
    def examples(self) -> int:
        """Records looked at that are fit to be examples."""
        return self.records - self.rejected.total()

    @property
    def estimate(self) -> int:
        """Examples in the whole files: exact where all of them was looked at."""
        return self.examples if self.share >= 1 else round(self.examples / self.share)


def count(config: IngestConfig, task: Task, sources: Iterable[Source], share: float) -> Statistics:
    """Reads examples as ingest does, and counts.

    Args:
        config: how to read.
        task: decides the fields.
        sources: the files, or excerpts of them.
        share: of the files, that these are.
    """
    columns = columns_of(config, task)
    checker = Checker(config, columns)
    found = Statistics(share, lengths={name: Lengths() for name in checker.fields})
    step = 1
    for source in sources:
        for record in read_records(source, columns):
            found.records += 1
            texts, reason, at_fault = checker.texts(record)
            if reason:
                found.rejected[reason if not at_fault or at_fault in reason else f"{at_fault}: {reason}"] += 1
                continue
            for name, text in zip(checker.fields, texts, strict=True):
                if name != "label":
                    found.lengths[name].add(text)
            if task == "classification":
                found.labels[texts[1]] += 1
            elif found.records % step == 0:
                found.pairs.append((texts[0], texts[1]))
                if len(found.pairs) == 2 * _KEPT:  # evenly spaced, however many there are
                    found.pairs, step = found.pairs[::2], step * 2
    found.lengths.pop("label", None)
    return found
