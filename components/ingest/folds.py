"""Deals examples to the folds of a cross-validation: a rule for one fold at a time, the same for all."""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from components.errors import UserError
from components.ingest.advice import shorten
from components.ingest.chooser import LARGEST, Chooser, Choosing, Position, label_hash
from components.ingest.config import IngestConfig
from components.ingest.cuts import Cut, cut_at
from components.ingest.records import to_kept
from components.ingest.split_config import FoldSplit
from components.ingest.splits import hash64
from components.strict import SPLITS, Split

Array = np.ndarray[Any, Any]

_PIECES: tuple[Split, ...] = ("validation", "train", "test", "validation", "train")


@dataclass(frozen=True)
class Dealt:
    """Where the groups of a column are.

    Args:
        groups: hashes of the groups, sorted [g].
        splits: the place of each one's split in SPLITS [g].
    """

    groups: Array
    splits: Array

    def split(self, group: int) -> Split | None:
        """Returns the split of a group; None if there is no such group."""
        place = int(np.searchsorted(self.groups, np.uint64(group)))
        if place == len(self.groups) or int(self.groups[place]) != group:
            return None
        return SPLITS[int(self.splits[place])]


def chooser(config: IngestConfig, found: Iterable[Cut | Dealt] = ()) -> Choosing:
    """Returns what chooses splits by other things than the input texts alone.

    Args:
        config: says by what.
        found: where the examples of train are cut, or their groups; none where that is still to be found out.
    """
    if isinstance(config.split, FoldSplit):
        return FoldChooser(config, found)
    return Chooser(config, [each for each in found if isinstance(each, Cut)])


class FoldChooser:
    """Chooses the splits of examples of one fold; as `Chooser` is used.

    Args:
        config: with a split by folds.
        found: as `find_fold` returns it; nothing where it is still to be found out.
    """

    def __init__(self, config: IngestConfig, found: Iterable[Cut | Dealt] = ()) -> None:
        assert isinstance(config.split, FoldSplit)
        self._split = config.split
        self._max_characters = config.max_characters
        self._cuts: dict[int, Cut] = {}
        self._dealt: Dealt | None = None
        for each in found:
            if isinstance(each, Dealt):
                self._dealt = each
            else:
                self._cuts[each.stratum] = each

    def locate(self, text: int, label: str, value: Any) -> tuple[Position | None, str]:
        """Says where an example stands among all, and why it stands nowhere (empty: it does).

        Args:
            text: the hash of its input text.
            label: its label, or target.
            value: what was read in the column, if there is one.

        Raises:
            UserError: if there are fewer examples of its label than folds, or in all.
        """
        if self._split.column is None:
            stratum = label_hash(label) if self._split.stratified else 0
            if stratum in self._cuts:
                self._check(self._cuts[stratum].total, label)
            return (stratum, LARGEST - text), ""
        group, problem = to_kept("group", value, self._max_characters)
        if problem or not group:
            return None, problem or f"column {self._split.column!r} is empty, expected a group"
        return (0, hash64(group.encode())), ""

    def choose(self, position: Position) -> tuple[Split, str]:
        """The split of an example read from the files of `train`, and why it has none (empty: it has).

        Args:
            position: as `locate` gives it.
        """
        stratum, key = position
        split: Split | None = None
        if self._dealt is not None:
            split = self._dealt.split(key)
        elif stratum in self._cuts:
            split = _PIECES[bisect_right(self._cuts[stratum].firsts, key)]
        return (split, "") if split else ("train", "the file was changed while it was read")

    def _check(self, total: int, label: str) -> None:
        folds = self._split.folds
        if total >= folds:
            return
        if not self._split.stratified:
            raise UserError(
                f"ingest: received {total:,} records for {folds} folds, expected at least one for "
                "every fold. Ask for fewer folds (--folds), or add records."
            )
        few = sum(cut.total < folds for cut in self._cuts.values())
        others = f" (and {few - 1:,} more labels have fewer than {folds})" if few > 1 else ""
        raise UserError(
            f"ingest: label {shorten(label)!r} has {total:,} records{others}, expected at least {folds}, one "
            "for every fold. Ask for fewer folds (--folds), leave such labels out, or deal without regard to "
            "labels (--set ingest.split=hash)."
        )


def find_fold(chunks: Iterable[Array], config: IngestConfig) -> list[Cut | Dealt]:
    """Finds out where one fold and its validation split are.

    Args:
        chunks: arrays `[n]` of POSITION, as `FoldChooser.locate` gives them, which can be iterated over
            again and again.
        config: with a split by folds.

    Raises:
        UserError: if there are too few groups.
    """
    split = config.split
    assert isinstance(split, FoldSplit)
    given = config.files if isinstance(config.files, dict) else {}
    watched = 0.0 if "validation" in given else config.holdout.get("validation", 0.0)
    if split.column is not None:
        return [_deal_groups(chunks, split, watched)]
    return list(cut_at(chunks, lambda totals, drawn: _ranks(split, watched, totals, drawn)))


def _ranks(split: FoldSplit, watched: float, totals: Array, drawn: Array) -> Array:
    """How many examples of every stratum are before each of the pieces but the first [s, 4].

    On a circle of a stratum's examples the folds follow one another; validation begins where the test fold
    ends. One is left to train on wherever there are two.
    """

    def before(fold: int) -> Array:
        if fold in (0, split.folds):
            return totals if fold else np.zeros_like(totals)
        return np.floor(totals * (fold / split.folds) + drawn).astype(np.int64)

    begins, ends = before(split.fold - 1), before(split.fold)
    others = totals - (ends - begins)
    held = np.floor(others * watched + drawn * (watched > 0)).astype(np.int64)
    held = np.maximum(np.minimum(held, others - 1), 0)
    over = np.maximum(ends + held - totals, 0)
    return np.stack([over, begins, ends, np.minimum(ends + held, totals)], axis=-1)


def _deal_groups(chunks: Iterable[Array], split: FoldSplit, watched: float) -> Dealt:
    """Deals groups by their sizes: 16 bytes of memory for each."""
    groups, sizes = _sizes(chunks)
    if len(groups) < split.folds:
        raise UserError(
            f"ingest: column {split.column!r} has {len(groups):,} different values, expected at least "
            f"{split.folds}, one for every fold. Ask for fewer folds (--folds), or name another column."
        )
    folds = np.zeros(len(groups), np.int64)
    lightest = [(0, fold) for fold in range(1, split.folds + 1)]
    for place in np.lexsort((groups, -sizes)):  # the largest first; hashes decide between equal ones
        size, fold = heapq.heappop(lightest)
        folds[place] = fold
        heapq.heappush(lightest, (size + int(sizes[place]), fold))
    splits = np.where(folds == split.fold, SPLITS.index("test"), SPLITS.index("train"))
    rest = np.flatnonzero(folds != split.fold)  # in the order of the hashes, which is none
    splits[_watched(rest, sizes, watched, split)] = SPLITS.index("validation")
    return Dealt(groups, splits.astype(np.uint8))


def _watched(rest: Array, sizes: Array, watched: float, split: FoldSplit) -> list[int]:
    """The groups of the other folds that validation gets: at most its fraction, but at least one."""
    if not watched:
        return []
    if len(rest) < 2:
        raise UserError(
            f"ingest: of column {split.column!r} one value is left beside fold {split.fold}, expected one to "
            "train on and another one for validation. Ask for more folds (--folds), name another column, or "
            "do without a validation split (--set 'ingest.holdout={test: 0.1}')."
        )
    left = watched * float(sizes[rest].sum())
    chosen = []
    for place in rest:
        if sizes[place] <= left:
            chosen.append(int(place))
            left -= float(sizes[place])
    return chosen or [int(rest[np.argmin(sizes[rest])])]


def _sizes(chunks: Iterable[Array]) -> tuple[Array, Array]:
    """The groups, sorted by hash, and how many examples each has."""
    groups, sizes = np.zeros(0, np.uint64), np.zeros(0, np.int64)
    for chunk in chunks:
        new, counts = np.unique(chunk["key"], return_counts=True)
        groups, where = np.unique(np.concatenate([groups, new]), return_inverse=True)
        sizes = np.bincount(where, np.concatenate([sizes, counts])).astype(np.int64)
    return groups, sizes
