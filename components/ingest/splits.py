"""Which split an example belongs to, by its input text alone."""

from __future__ import annotations

import hashlib

from components.ingest.config import IngestConfig
from components.strict import Split

_ALL = 2**64


def hash64(data: bytes) -> int:
    """A hash of 64 bits, the same on every machine and in every run."""
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")


def held_out(config: IngestConfig) -> dict[Split, float]:
    """The fractions of `train` that go to other splits: to those that have no files of their own."""
    given = config.files if isinstance(config.files, dict) else {}
    return {split: fraction for split, fraction in sorted(config.holdout.items()) if split not in given}


def reads_train(config: IngestConfig) -> bool:
    """Whether there is to be a split to train on; data that are only evaluated have none."""
    return not isinstance(config.files, dict) or "train" in config.files


def choose(text: int, fractions: dict[Split, float]) -> Split:
    """The split of an example read from the files of `train`.

    Equal texts get the same split, so that nothing in a held out split has been trained on.

    Args:
        text: the hash of the input text.
        fractions: as `held_out` returns them.
    """
    bound = 0.0
    for split, fraction in fractions.items():
        bound += fraction
        if text < bound * _ALL:
            return split
    return "train"
