"""What is known about the data after reading it: statistics.json and the warnings drawn from it."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from components.ingest.duplicates import Duplicates, Places
from components.ingest.numeric_labels import look_like_numbers
from components.ingest.parts import Part, Rejections
from components.strict import FIELDS, SPLITS, Task

_MANY_NEAR = 0.01  # of a split


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
    and 95 % of the texts do not exceed. `shared_texts` are equal, and `near_duplicates` are not, but nearly.
    `unreadable` says by kept column how many values were left empty.

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

    def across(what: str, counts: Mapping[Any, int], places: Mapping[Any, Places]) -> list[dict[str, Any]]:
        return [
            {"splits": list(pair), what: counts[pair], "places": named_places(names, places[pair])}
            for pair in itertools.combinations(SPLITS, 2)
            if counts[pair]
        ]

    reasons = _total(part.reasons for part in rejected)
    statistics: dict[str, Any] = {
        "splits": splits,
        "shared_texts": across("texts", duplicates.across, duplicates.places),
        "near_duplicates": across("examples", duplicates.near, duplicates.near_places),
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
        *_near(statistics),
        *(_labels(statistics) if trains else ()),
        *_heads(statistics, parts),
        *_rejected(statistics),
        *_unreadable(statistics, parts),
    ]
    return statistics | {"warnings": warnings}


def named_places(names: Mapping[int, str], places: Places) -> list[list[str]]:
    """Returns places as people read them, such as `[["train.tsv:17", "test.tsv:2"]]`.

    Args:
        names: of the files, by the index of the source.
        places: pairs of them.
    """
    return [[f"{names[source]}:{line}" for source, line in both] for both in places]


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


def _near(statistics: dict[str, Any]) -> Iterator[str]:
    for near in statistics["near_duplicates"]:
        one, other = near["splits"]
        share = near["examples"] / statistics["splits"][other]["examples"]
        if share > _MANY_NEAR:
            places = ", ".join(f"{there} and {here}" for here, there in near["places"])
            yield (
                f"Examples of {other} whose texts differ from one of {one} in case, punctuation or spaces "
                f"alone: {near['examples']:,}, which is {share:.1%} (such as {places}). What is measured on "
                f"{other} will look better than it is."
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
    if look_like_numbers(labels):
        yield (
            f"Labels of train look like numbers ({len(labels):,} different ones, such as "
            f"{', '.join(itertools.islice(labels, 3))}): regression is not offered, they are treated as "
            "classes, none nearer to another. Bin them if they are amounts."
        )
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
