"""What is there more than once: equal examples, and equal or nearly equal texts in different splits."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from components.ingest.conflicts import Conflicts, find_conflicts, merge_conflicts
from components.strict import SPLITS, Split

# One example: hashes of its input text, of the same without case and punctuation, and of all of it, and where
# it stands. Groups are compared likewise; all their hashes are that of the group.
FINGERPRINT = np.dtype(
    [
        ("text", "<u8"),
        ("near", "<u8"),
        ("example", "<u8"),
        ("source", "<u4"),
        ("line", "<u4"),
        ("split", "<u1"),
    ]
)
_PARTITIONS = 64
_PLACES = 3  # shown for each pair of splits

Fingerprint = tuple[int, int, int, int, int, int]
Array = np.ndarray[Any, Any]
Pair = tuple[Split, Split]
Place = tuple[int, int]  # index of the source, line
Places = list[tuple[Place, Place]]


@dataclass
class Duplicates:
    """What is there more than once, in one partition of the fingerprints or in all.

    Args:
        within: by split, how many examples are equal to an earlier one.
        across: by pair of splits, how many different input texts both have.
        places: by pair of splits, where the first few of them stand in either.
        near: by pair of splits, how many examples of the latter have a text that is not in the former, but
            nearly is.
        near_places: by pair of splits, where the first few of them and what they are like stand.
        conflicts: the texts of train with several answers.
    """

    within: Counter[Split] = field(default_factory=Counter)
    across: Counter[Pair] = field(default_factory=Counter)
    places: dict[Pair, Places] = field(default_factory=dict)
    near: Counter[Pair] = field(default_factory=Counter)
    near_places: dict[Pair, Places] = field(default_factory=dict)
    conflicts: Conflicts = field(default_factory=Conflicts)


def rows_of(values: Sequence[tuple[int, ...]], kind: np.dtype[Any]) -> Array:
    """Makes rows `[n]` of a structured type: column by column, which takes half as long as row by row."""
    rows = np.empty(len(values), kind)
    for name, column in zip(kind.names or (), zip(*values, strict=True), strict=False):  # perhaps no values
        rows[name] = np.array(column, kind[name])
    return rows


def partition(rows: Array, by: str) -> Iterator[tuple[int, Array]]:
    """Splits rows, `[n]` of a structured type, so that equal values of a field get the same number."""
    numbers = (rows[by] % _PARTITIONS).astype(np.int64)
    rows = rows[np.argsort(numbers, kind="stable")]
    bounds = np.bincount(numbers, minlength=_PARTITIONS).cumsum()[:-1]
    for number, chunk in enumerate(np.split(rows, bounds)):
        if len(chunk):
            yield number, chunk


def find_duplicates(chunks: Iterable[Array]) -> Duplicates:
    """Compares the fingerprints of one partition.

    Args:
        chunks: arrays `[n]` of FINGERPRINT, in any order; what is near is in the same partition.
    """
    rows = np.concatenate(list(chunks))
    duplicates = Duplicates()
    by_split = {split: rows[rows["split"] == index] for index, split in enumerate(SPLITS)}
    firsts = {}
    for split, examples in by_split.items():
        duplicates.within[split] = len(examples) - len(np.unique(examples["example"]))
        firsts[split] = _firsts(examples, "text")
    for pair in itertools.combinations(SPLITS, 2):
        a, b = (firsts[split] for split in pair)
        _, in_a, in_b = np.intersect1d(a["text"], b["text"], assume_unique=True, return_indices=True)
        duplicates.across[pair] = len(in_a)
        earliest = _in_order(b[in_b])[:_PLACES]
        duplicates.places[pair] = [(_place(a[in_a[i]]), _place(b[in_b[i]])) for i in earliest]
    duplicates.conflicts = find_conflicts(by_split["train"])
    train = firsts["train"]
    nears = np.sort(train["near"])
    for split in SPLITS[1:]:
        new = by_split[split][~_is_in(by_split[split]["text"], train["text"])]
        near = new[_is_in(new["near"], nears)]
        duplicates.near["train", split] = len(near)
        shown = near[_in_order(near)[:_PLACES]]
        like = _firsts(train[np.isin(train["near"], shown["near"])], "near")
        like = like[np.searchsorted(like["near"], shown["near"])]
        pairs = [(_place(one), _place(other)) for one, other in zip(like, shown, strict=True)]
        duplicates.near_places["train", split] = pairs
    return duplicates


def merge_duplicates(partitions: Iterable[Duplicates]) -> Duplicates:
    """Puts the partitions together."""
    merged = Duplicates()
    partitions = list(partitions)
    merged.conflicts = merge_conflicts(duplicates.conflicts for duplicates in partitions)
    for duplicates in partitions:
        merged.within += duplicates.within
        merged.across += duplicates.across
        merged.near += duplicates.near
        for pair, places in duplicates.places.items():
            merged.places[pair] = _first_places(merged.places.get(pair, []), places)
        for pair, places in duplicates.near_places.items():
            merged.near_places[pair] = _first_places(merged.near_places.get(pair, []), places)
    return merged


def _firsts(rows: Array, by: str) -> Array:
    """The first row for every value of a field, sorted by it."""
    ordered = rows[np.lexsort((rows["line"], rows["source"], rows[by]))]
    return ordered[np.unique(ordered[by], return_index=True)[1]]


def _is_in(values: Array, known: Array) -> Array:
    """Which values are among known ones, `[k]`, which are sorted."""
    if not len(known):
        return np.zeros(len(values), bool)
    found: Array = known[np.minimum(np.searchsorted(known, values), len(known) - 1)] == values
    return found


def _in_order(rows: Array) -> Array:
    return np.lexsort((rows["line"], rows["source"]))


def _first_places(some: Places, others: Places) -> Places:
    return sorted([*some, *others], key=lambda place: (place[1], place[0]))[:_PLACES]


def _place(row: np.void) -> Place:
    return int(row["source"]), int(row["line"])
