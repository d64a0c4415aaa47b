"""What is known about the data after reading it: statistics.json and the warnings drawn from it."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from components.ingest.parts import Part, Rejections
from components.strict import FIELDS, SPLITS, Split, Task

# One example for the search of duplicates: hashes of its input text and of all of it, and where it stands.
FINGERPRINT = np.dtype(
    [("text", "<u8"), ("example", "<u8"), ("source", "<u4"), ("line", "<u4"), ("split", "<u1")]
)
_PARTITIONS = 64
_PLACES = 3  # shown for each pair of splits

Fingerprint = tuple[int, int, int, int, int]
Place = tuple[int, int]  # index of the source, line


@dataclass
class Duplicates:
    """What is there more than once, in one partition of the fingerprints or in all.

    Args:
        within: by split, how many examples are equal to an earlier one.
        across: by pair of splits, how many different input texts both have.
        places: by pair of splits, where the first few of them stand in either.
    """

    within: Counter[Split] = field(default_factory=Counter)
    across: Counter[tuple[Split, Split]] = field(default_factory=Counter)
    places: dict[tuple[Split, Split], list[tuple[Place, Place]]] = field(default_factory=dict)


def partition(fingerprints: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Splits fingerprints, FINGERPRINT `[n]`, so that equal texts meet under the same number."""
    numbers = (fingerprints["text"] % _PARTITIONS).astype(np.int64)
    fingerprints = fingerprints[np.argsort(numbers, kind="stable")]
    bounds = np.bincount(numbers, minlength=_PARTITIONS).cumsum()[:-1]
    for number, chunk in enumerate(np.split(fingerprints, bounds)):
        if len(chunk):
            yield number, chunk


def find_duplicates(chunks: Iterable[np.ndarray]) -> Duplicates:
    """Compares the fingerprints of one partition.

    Args:
        chunks: arrays `[n]` of FINGERPRINT, in any order.
    """
    rows = np.concatenate(list(chunks))
    duplicates = Duplicates()
    by_split = {split: rows[rows["split"] == index] for index, split in enumerate(SPLITS)}
    firsts = {}
    for split, examples in by_split.items():
        duplicates.within[split] = len(examples) - len(np.unique(examples["example"]))
        ordered = examples[np.lexsort((examples["line"], examples["source"], examples["text"]))]
        firsts[split] = ordered[np.unique(ordered["text"], return_index=True)[1]]
    for pair in itertools.combinations(SPLITS, 2):
        a, b = (firsts[split] for split in pair)
        _, in_a, in_b = np.intersect1d(a["text"], b["text"], assume_unique=True, return_indices=True)
        duplicates.across[pair] = len(in_a)
        earliest = np.lexsort((b["line"][in_b], b["source"][in_b]))[:_PLACES]
        duplicates.places[pair] = [(_place(a[in_a[i]]), _place(b[in_b[i]])) for i in earliest]
    return duplicates


def merge_duplicates(partitions: Iterable[Duplicates]) -> Duplicates:
    """Puts the partitions together."""
    merged = Duplicates()
    for duplicates in partitions:
        merged.within += duplicates.within
        merged.across += duplicates.across
        for pair, places in duplicates.places.items():
            both = [*merged.places.get(pair, []), *places]
            merged.places[pair] = sorted(both, key=lambda place: (place[1], place[0]))[:_PLACES]
    return merged


def make_statistics(
    task: Task,
    parts: Sequence[Part],
    rejected: Sequence[Rejections],
    duplicates: Duplicates,
    keep: Sequence[str] = (),
    trains: bool = True,
) -> dict[str, Any]:
    """Makes what statistics.json holds.

    Lengths are in characters (Unicode code points); `median` and `p95` are the smallest lengths that half
    and 95 % of the texts do not exceed. `unreadable` says by kept column how many values were left empty.

    Args:
        task: decides the fields.
        parts: all of them, in order.
        rejected: what was rejected.
        duplicates: what is there more than once.
        keep: the names of the columns that are kept.
        trains: whether something is to be trained on them, and so expected of them.
    """
    names = {part.source: part.name for part in parts}
    splits = {}
    for split in SPLITS:
        chosen = [part for part in parts if part.split == split]
        entry: dict[str, Any] = {"examples": sum(part.examples for part in chosen)}
        entry["duplicates"] = duplicates.within[split]
        entry["characters"] = {
            name: _lengths(_total(part.lengths[name] for part in chosen)) for name in FIELDS[task] if chosen
        }
        if task == "classification":
            entry["labels"] = dict(sorted(_total(part.labels for part in chosen).items()))
        splits[split] = entry
    shared = [
        {
            "splits": list(pair),
            "texts": duplicates.across[pair],
            "places": [
                [f"{names[source]}:{line}" for source, line in both] for both in duplicates.places[pair]
            ],
        }
        for pair in itertools.combinations(SPLITS, 2)
        if duplicates.across[pair]
    ]
    reasons = _total(part.reasons for part in rejected)
    statistics: dict[str, Any] = {
        "splits": splits,
        "shared_texts": shared,
        "rejected": {"total": reasons.total(), "reasons": dict(sorted(reasons.items()))},
    }
    if keep:
        statistics["unreadable"] = {
            column: sum(part.unreadable[column].values for part in parts if column in part.unreadable)
            for column in keep
        }
    warnings = [
        *(_missing(statistics) if trains else ()),
        *_shared(statistics),
        *(_labels(statistics) if trains else ()),
        *_heads(statistics, parts),
        *_rejected(statistics),
        *_unreadable(statistics, parts),
    ]
    return statistics | {"warnings": warnings}


def _unreadable(statistics: dict[str, Any], parts: Sequence[Part]) -> list[str]:
    """Says which values of kept columns were left empty."""
    warnings = []
    for column, count in statistics.get("unreadable", {}).items():
        if count:
            name, first = next(
                (part.name, part.unreadable[column]) for part in parts if column in part.unreadable
            )
            warnings.append(
                f"Values of {column!r} (`ingest.keep`) that cannot be read as text and are left empty: "
                f"{count:,} (such as {name}:{first.line}, {first.reason})."
            )
    return warnings


def _missing(statistics: dict[str, Any]) -> Iterator[str]:
    for split in SPLITS[1:]:
        if not statistics["splits"][split]["examples"]:
            yield (
                f"There are no {split} examples: give `ingest.files.{split}` or a fraction in "
                "`ingest.holdout`."
            )


def _shared(statistics: dict[str, Any]) -> Iterator[str]:
    for shared in statistics["shared_texts"]:
        (one, other), (here, there) = shared["splits"], shared["places"][0]
        yield (
            f"Texts of {other} that are also in {one}: {shared['texts']:,} (such as {there} and {here}). "
            f"What is measured on {other} will look better than it is."
        )


def _labels(statistics: dict[str, Any]) -> Iterator[str]:
    splits = statistics["splits"]
    labels = splits["train"].get("labels")
    if not labels:
        return
    if len(labels) == 1:
        yield f"Every train example has the label {next(iter(labels))!r}: nothing can be learnt."
    if len(labels) > max(100, splits["train"]["examples"] // 2):
        yield f"Different labels in train: {len(labels):,}. Is `label` the right column?"
    for split in SPLITS[1:]:
        unknown = [repr(label) for label in splits[split]["labels"] if label not in labels]
        if unknown:
            shown = ", ".join(unknown[:5]) + (" and others" if len(unknown) > 5 else "")
            yield f"Labels of {split} that do not occur in train: {shown}."


def _heads(statistics: dict[str, Any], parts: Sequence[Part]) -> Iterator[str]:
    """Names the labels that only first lines have, where every other label occurs again."""
    labels = _total(Counter(entry.get("labels", {})) for entry in statistics["splits"].values())
    heads = Counter(part.head for part in parts if part.head)
    only_heads = sorted(label for label, count in heads.items() if labels[label] == count)
    others = [count for label, count in labels.items() if label not in only_heads]
    if others and min(others) > 1:
        for label in only_heads:
            name = next(part.name for part in parts if part.head == label)
            yield (
                f"The label {label!r} occurs in the first line alone (such as {name}). If that is a header "
                f"line, `ingest.columns` must have the names of the columns and not positions."
            )


def _rejected(statistics: dict[str, Any]) -> Iterator[str]:
    if total := statistics["rejected"]["total"]:
        yield f"Rejected records: {total:,}. rejected.jsonl says which and why."


def _place(row: np.void) -> Place:
    return int(row["source"]), int(row["line"])


def _total(counters: Iterable[Counter[Any]]) -> Counter[Any]:
    total: Counter[Any] = Counter()
    for counter in counters:
        total.update(counter)
    return total


def _lengths(counts: Counter[int]) -> dict[str, float]:
    lengths = np.array(sorted(counts), np.int64)
    weights = np.array([counts[length] for length in sorted(counts)], np.float64)
    median, p95 = np.quantile(lengths, [0.5, 0.95], weights=weights, method="inverted_cdf")
    mean = float(lengths @ weights / weights.sum())
    return {
        "min": int(lengths[0]),
        "mean": round(mean, 2),
        "median": int(median),
        "p95": int(p95),
        "max": int(lengths[-1]),
    }
