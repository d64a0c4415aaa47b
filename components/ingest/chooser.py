"""Which split an example belongs to by other things than its input text alone."""

from __future__ import annotations

import functools
from bisect import bisect_right
from collections.abc import Iterable
from typing import Any, Protocol

from components.ingest.config import IngestConfig
from components.ingest.cuts import Cut
from components.ingest.records import to_kept
from components.ingest.splits import choose, hash64, held_out
from components.ingest.times import NUMBERS, to_time
from components.strict import SPLITS, Split

Position = tuple[int, int]  # what an example is ordered within, and what it is ordered by

LARGEST = 2**64 - 1
"""The largest hash."""


@functools.lru_cache(maxsize=4096)
def label_hash(label: str) -> int:
    """The hash of a label; most are met again and again."""
    return hash64(label.encode())


class Choosing(Protocol):
    """What chooses splits, record by record."""

    def locate(self, text: int, label: str, value: Any) -> tuple[Position | None, str]:
        """Says where an example stands among all, and why it stands nowhere."""

    def choose(self, position: Position) -> tuple[Split, str]:
        """The split of an example read from the files of `train`, and why it has none."""


class Chooser:
    """Chooses the splits of examples by other things than their input texts alone.

    Args:
        config: says by what.
        cuts: where examples in an order are cut; none where they are not, or it is still to be found out.
    """

    def __init__(self, config: IngestConfig, cuts: Iterable[Cut] = ()) -> None:
        self._config = config
        self._type = config.split.type
        self._column = getattr(config.split, "column", None)
        self._fractions = held_out(config)
        self._ordered = [split for split in SPLITS if split == "train" or split in self._fractions]
        self._firsts = {cut.stratum: cut.firsts for cut in cuts}
        totals = {cut.stratum: cut.total for cut in cuts}
        self._kind = max(totals, key=lambda kind: (totals[kind], kind)) if totals else None

    def locate(self, text: int, label: str, value: Any) -> tuple[Position | None, str]:
        """Says where an example stands among all, and why it stands nowhere (empty: it does).

        Args:
            text: the hash of its input text.
            label: its label.
            value: what was read in the column, if there is one to split by.
        """
        if self._type == "stratified":
            # In this order nearly all examples go where `hash` has them.
            return (label_hash(label), LARGEST - text), ""
        if self._type == "time":
            time = to_time(value)
            return time, "" if time else self._problem(value, "a time in ISO 8601 or a number")
        group, problem = to_kept("group", value, self._config.max_characters)
        if problem or not group:
            return None, problem or self._problem(value, "a group")
        return (0, hash64(group.encode())), ""

    def choose(self, position: Position) -> tuple[Split, str]:
        """The split of an example read from the files of `train`, and why it has none (empty: it has).

        Args:
            position: as `locate` gives it.
        """
        stratum, key = position
        if self._type == "group":
            return choose(key, self._fractions), ""
        if self._type == "time" and stratum != self._kind:
            one, other = ("number", "dates") if stratum == NUMBERS else ("date", "numbers")
            return "train", f"column {self._column!r} has a {one}, but most times are {other}"
        firsts = self._firsts.get(stratum)
        if firsts is None:
            return "train", "the file was changed while it was read"
        return self._ordered[bisect_right(firsts, key)], ""

    def _problem(self, value: Any, expected: str) -> str:
        empty = value is None or (isinstance(value, str | bytes) and not value.strip())
        return f"column {self._column!r} is {'empty' if empty else 'unreadable'}, expected {expected}"
