"""Which splits are taken from `train`, and how a hash decides. Light: the plan asks, too."""

from __future__ import annotations

import hashlib

from components.ingest.config import IngestConfig
from components.ingest.split_config import FoldSplit, GroupSplit
from components.strict import Split

_ALL = 2**64
_EMPTY = hashlib.blake2b(digest_size=8)


def hash64(data: bytes) -> int:
    """A hash of 64 bits, the same on every machine and in every run."""
    state = _EMPTY.copy()  # in half the time that making a new one takes
    state.update(data)
    return int.from_bytes(state.digest(), "little")


def held_out(config: IngestConfig) -> dict[Split, float]:
    """The fractions of `train` that go to other splits: to those that have no files of their own."""
    given = config.files if isinstance(config.files, dict) else {}
    fractions: dict[Split, float] = dict(config.holdout.items())
    if isinstance(config.split, FoldSplit):
        share = 1 / config.split.folds
        fractions = {split: part * (1 - share) for split, part in fractions.items()} | {"test": share}
    return {split: fraction for split, fraction in sorted(fractions.items()) if split not in given}


def reads_train(config: IngestConfig) -> bool:
    """Whether there is to be a split to train on; data that are only evaluated have none."""
    return not isinstance(config.files, dict) or "train" in config.files


def is_cut(config: IngestConfig) -> bool:
    """Whether all examples of `train` must be known before the split of one is."""
    return (
        config.split.type in ("stratified", "time", "fold") and reads_train(config) and bool(held_out(config))
    )


def checks_groups(config: IngestConfig) -> bool:
    """Whether there are splits with files of their own that may share groups."""
    return has_groups(config) and isinstance(config.files, dict) and len(config.files) > 1


def has_groups(config: IngestConfig) -> bool:
    """Whether examples with the same value of a column stay together."""
    split = config.split
    return isinstance(split, GroupSplit) or (isinstance(split, FoldSplit) and split.column is not None)


def choose(number: int, fractions: dict[Split, float]) -> Split:
    """The split of an example read from the files of `train`, by a hash.

    Equal hashes get the same split. That of the input text keeps what is trained on out of the held out
    splits, and that of a group whole groups.

    Args:
        number: the hash, of 64 bits.
        fractions: as `held_out` returns them.
    """
    bound = 0.0
    for split, fraction in fractions.items():
        bound += fraction
        if number < bound * _ALL:
            return split
    return "train"
