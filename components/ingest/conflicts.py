"""Texts of train that have several labels: which, with what labels, and where they stand."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from components.artifacts.artifact import local_file
from components.artifacts.columns import read_columns
from components.ingest.advice import shorten
from components.ingest.chooser import label_hash
from components.ingest.parts import Part
from components.ingest.splits import hash64
from components.work import Work

LISTED = 2_000  # texts in conflicts.jsonl
_PLACES = 20  # of a label of a text
_CHARACTERS = 1_000  # of a text
_BATCH = 1024

Array = np.ndarray[Any, Any]
Place = tuple[int, int]  # index of the source, line


@dataclass(frozen=True)
class Conflict:
    """A text with several labels.

    Args:
        text: its hash.
        answers: by hash of the example, how many there are, and where the first few stand.
    """

    text: int
    answers: Mapping[int, tuple[int, list[Place]]]

    @property
    def first(self) -> Place:
        """Where the text stands first."""
        return min(places[0] for _, places in self.answers.values())


@dataclass
class Conflicts:
    """What is known of them, in one partition of the fingerprints or in all.

    Args:
        texts: how many texts have several labels.
        examples: how many examples have one of these texts.
        listed: the first texts by file and line.
    """

    texts: int = 0
    examples: int = 0
    listed: list[Conflict] = field(default_factory=list)


Names = dict[int, tuple[str, str]]
"""By hash of the example, its text and label."""


def example_hash(text: int, label: str) -> int:
    """Returns the hash of an example with that label.

    Args:
        text: hash of the text.
        label: as it is written.
    """
    return (2 * text + label_hash(label)) % 2**64


def find_conflicts(train: Array) -> Conflicts:
    """Finds the texts with several labels.

    Args:
        train: of one partition, array `[n]` of FINGERPRINT; equal texts are in the same partition.
    """
    rows = train[np.lexsort((train["line"], train["source"], train["example"], train["text"]))]
    _, starts, counts = np.unique(rows["text"], return_index=True, return_counts=True)
    ends = starts + counts
    # Sorted by example within a text: several labels, if the first and the last one differ.
    several = rows["example"][starts] != rows["example"][ends - 1] if len(rows) else np.zeros(0, bool)
    starts, ends = starts[several], ends[several]
    first = rows["source"].astype(np.uint64) << np.uint64(32) | rows["line"]
    earliest = np.argsort([first[start:end].min() for start, end in zip(starts, ends, strict=True)])[:LISTED]
    listed = [_conflict(rows[starts[place] : ends[place]]) for place in earliest]
    return Conflicts(len(starts), int((ends - starts).sum()), listed)


def _conflict(rows: Array) -> Conflict:
    hashes, starts, counts = np.unique(rows["example"], return_index=True, return_counts=True)
    answers = {}
    for example, start, count in zip(hashes.tolist(), starts, counts, strict=True):
        shown = rows[start : start + min(count, _PLACES)]
        places = list(zip(shown["source"].tolist(), shown["line"].tolist(), strict=True))
        answers[example] = (int(count), places)
    return Conflict(int(rows["text"][0]), answers)


def merge_conflicts(partitions: Iterable[Conflicts]) -> Conflicts:
    """Puts the partitions together."""
    merged = Conflicts()
    for part in partitions:
        merged.texts += part.texts
        merged.examples += part.examples
        merged.listed += part.listed
    merged.listed = sorted(merged.listed, key=lambda conflict: conflict.first)[:LISTED]
    return merged


def name_conflicts(part: Part, partitions: Iterable[Conflicts], work: Work) -> Iterator[Names]:
    """Reads the texts and labels of conflicts from a part, for fingerprints are hashes alone.

    Args:
        part: of train, written by this stage.
        partitions: what was found.
        work: of the stage.
    """
    wanted = {conflict.text for conflict in merge_conflicts(partitions).listed}
    names: Names = {}
    for batch in read_columns(local_file(work.root, part.files[0]), ("text", "label"), _BATCH):
        for text, label in zip(batch["text"].to_pylist(), batch["label"].to_pylist(), strict=True):
            if (hashed := hash64(text.encode())) in wanted:
                names[example_hash(hashed, label)] = (shorten(text, _CHARACTERS), label)
    yield names


def conflict_lines(conflicts: Conflicts, names: Iterable[Names], files: Mapping[int, str]) -> bytes:
    """Makes conflicts.jsonl: a line for every listed text, the text that stands first in the files first.

    A line has `text` (at most 1,000 characters), `examples`, and `labels`, the most frequent first: `label`,
    `examples` and the first 20 `places`, such as `train.tsv:17`.

    Args:
        conflicts: of all partitions.
        names: as `name_conflicts` yields them.
        files: what people call the files, by index of the source.
    """
    known: Names = {}
    for some in names:
        known |= some
    lines = []
    for conflict in conflicts.listed:
        labels: list[dict[str, Any]] = [
            {"label": known[example][1], "examples": count, "places": [f"{files[s]}:{n}" for s, n in places]}
            for example, (count, places) in conflict.answers.items()
        ]
        labels.sort(key=lambda row: (-row["examples"], row["label"]))
        text = known[next(iter(conflict.answers))][0]
        total = sum(count for count, _ in conflict.answers.values())
        lines.append(
            json.dumps({"text": text, "examples": total, "labels": labels}, ensure_ascii=False) + "\n"
        )
    return "".join(lines).encode()


def conflict_warning(conflicts: Conflicts) -> str:
    """Says how many there are, and what to do; there is at least one."""
    more = f" (the first {LISTED:,} of them)" if conflicts.texts > LISTED else ""
    return (
        f"Texts of train that have several labels: {conflicts.texts:,}, with {conflicts.examples:,} "
        f"examples. At most one label of a text can be learnt. conflicts.jsonl{more} has their labels, files "
        "and lines: correct the labels there, or remove those examples."
    )
