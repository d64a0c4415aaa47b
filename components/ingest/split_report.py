"""What statistics.json says about a split that is not by the texts' hashes, and what is wrong with it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from components.ingest.config import IngestConfig
from components.ingest.duplicates import Duplicates
from components.ingest.parts import Part, Times
from components.ingest.split_config import TimeSplit
from components.ingest.splits import has_groups, held_out, reads_train
from components.ingest.statistics import named_places
from components.ingest.times import shown_time
from components.strict import SPLITS, Split

_PAIRS = list(itertools.combinations(SPLITS, 2))
_FAR = 2  # times as many as asked for, or as few


def split_report(config: IngestConfig, parts: Sequence[Part], groups: Duplicates) -> dict[str, Any]:
    """Says how the splits came about, and what was checked of those that were given.

    Args:
        config: says how.
        parts: all of them, in order.
        groups: which groups are in several splits.

    Returns:
        The setting; for `group` which groups are shared, for `time` the first and the last time of every
        split; and `warnings`.
    """
    split = config.split
    report: dict[str, Any] = split.model_dump(mode="json", exclude_none=True)
    warnings: list[str] = []
    if has_groups(config):
        names = {part.source: part.name for part in parts}
        report["shared_groups"] = [
            {
                "splits": list(pair),
                "groups": groups.across[pair],
                "places": named_places(names, groups.places[pair]),
            }
            for pair in _PAIRS
            if groups.across[pair]
        ]
        warnings += _shared(report)
    if isinstance(split, TimeSplit):
        kind = _usual_kind(parts)
        times = {each: _times(parts, each, kind) for each in SPLITS}
        report["times"] = {each: _shown(kind, *found) for each, found in times.items() if found}
        warnings += _turned(report, times)
    if config.split_column:
        warnings += [*_far(config, parts), *_unlocated(parts)]
    return report | {"warnings": warnings}


def _shared(report: Mapping[str, Any]) -> Iterator[str]:
    for shared in report["shared_groups"]:
        (one, other), (here, there) = shared["splits"], shared["places"][0]
        yield (
            f"Values of {report['column']!r} (`ingest.split`) that are in {one} and in {other}: "
            f"{shared['groups']:,} (such as in {here} and {there}). What is measured on {other} will look "
            f"better than it is for values that are new."
        )


def _usual_kind(parts: Sequence[Part]) -> int:
    counts: dict[int, int] = {}
    for part in parts:
        for kind, times in part.times.items():
            counts[kind] = counts.get(kind, 0) + times.examples
    return max(counts, key=lambda kind: (counts[kind], kind), default=0)


def _times(parts: Sequence[Part], split: Split, kind: int) -> tuple[Times, str, str] | None:
    """The times of a split, and where the first and the last of them are; None if it has none."""
    found = [(part.times[kind], part.name) for part in parts if part.split == split and kind in part.times]
    if not found:
        return None
    first, begins = min(found, key=lambda each: each[0].first[0])
    last, ends = max(found, key=lambda each: each[0].last[0])
    total = sum(times.examples for times, _ in found)
    return (
        Times(first.first, last.last, total),
        f"{begins}:{first.first[1]}",
        f"{ends}:{last.last[1]}",
    )


def _shown(kind: int, times: Times, begins: str, ends: str) -> dict[str, Any]:
    return {
        "first": shown_time((kind, times.first[0])),
        "last": shown_time((kind, times.last[0])),
        "places": [begins, ends],
    }


def _turned(report: Mapping[str, Any], times: Mapping[Split, tuple[Times, str, str] | None]) -> Iterator[str]:
    for one, other in _PAIRS:
        earlier, later = times[one], times[other]
        if earlier and later and later[0].first[0] < earlier[0].last[0]:
            first, last = report["times"][other], report["times"][one]
            yield (
                f"The times in {report['column']!r} (`ingest.split`) overlap: {other} begins at "
                f"{first['first']} ({first['places'][0]}), and {one} ends at {last['last']} "
                f"({last['places'][1]}). What is measured on {other} is no forecast."
            )


def _far(config: IngestConfig, parts: Sequence[Part]) -> Iterator[str]:
    """Warns of splits of a size that nobody asked for, as a group or a time is large."""
    fractions = held_out(config) if reads_train(config) else {}
    counts = {split: sum(part.examples for part in parts if part.split == split) for split in SPLITS}
    total = counts["train"] + sum(counts[split] for split in fractions)
    for split, fraction in fractions.items():
        share = counts[split] / total if total else fraction
        if not fraction / _FAR <= share <= fraction * _FAR:
            yield (
                f"{split} has {share:.1%} of the examples instead of {fraction:.1%} (`ingest.holdout`), as "
                f"equal values of `ingest.split.column` stay together and some are "
                f"frequent."
            )


def _unlocated(parts: Sequence[Part]) -> Iterator[str]:
    found = [(part.name, part.unlocated) for part in parts if part.unlocated]
    if found:
        name, first = found[0]
        total = sum(unlocated.values for _, unlocated in found)
        yield (
            f"Examples of given splits in which `ingest.split.column` says nothing, so that they were not "
            f"checked: {total:,} (such as {name}:{first.line}, {first.reason})."
        )
