"""Which files are meant, and which split the name of one stands for."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from upath import UPath

from components import files
from components.errors import UserError
from components.ingest.config import IngestConfig
from components.ingest.sources import find_sources
from components.strict import SPLITS, Split
from components.text import is_utf8_path, printable
from pipeline.config.paths import missing_files

_WORDS: dict[str, Split] = {
    **dict.fromkeys(("train", "training", "trn", "trainset"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev", "devel", "development", "devset"), "validation"),
    **dict.fromkeys(("eval", "evaluation"), "validation"),
    **dict.fromkeys(("test", "testing", "tst", "testset", "heldout", "holdout"), "test"),
}
_TOKEN = re.compile(r"held[_-]out|hold[_-]out|[a-z]+", re.IGNORECASE)


@dataclass(frozen=True)
class Given:
    """A file to describe.

    Args:
        name: what people call it, as a configuration can name it.
        place: where it is.
        pattern: the glob by which it was given; the name itself where there was none.
        split: which split its name stands for; None for none.
        stem: what its name is without the word of the split: equal for `train.csv` and `test.csv`.
    """

    name: str
    place: UPath
    pattern: str
    split: Split | None
    stem: str


def find_given(patterns: Sequence[str]) -> list[Given]:
    """Finds the files of paths and globs, every one once, in the order given.

    Raises:
        UserError: a pattern matches no file, or a folder.
    """
    found: dict[UPath, Given] = {}
    for pattern in patterns:
        for name, place in _expand(pattern):
            found.setdefault(place, _given(name, place, pattern))
    return _without_lone_words(list(found.values()))


def siblings_of(train: Sequence[Given]) -> list[Given]:
    """Returns the files of other splits that lie beside the files of train, and are called alike."""
    known = {file.place for file in train}
    stems = {file.stem for file in train}
    beside: dict[UPath, Given] = {}
    for folder in dict.fromkeys(os.path.dirname(file.name) for file in train):
        for place in files.find(os.path.join(folder, "*")):
            given = _given(os.path.join(folder, place.name), place, "")
            if place not in known and given.split in ("validation", "test") and given.stem in stems:
                beside[place] = replace(given, pattern=given.name)
    return sorted(beside.values(), key=lambda given: given.name)


def by_split(given: Iterable[Given]) -> dict[Split, list[Given]]:
    """Returns the files by split, in the order of the splits; whatever has none is of train."""
    sorted_out: dict[Split, list[Given]] = {split: [] for split in SPLITS}
    for file in given:
        sorted_out[file.split or "train"].append(file)
    return {split: chosen for split, chosen in sorted_out.items() if chosen}


def split_of(word: str) -> Split | None:
    """Returns the split that a word alone stands for, such as `dev`; None for none."""
    return _WORDS.get(re.sub(r"[ _-]", "", word.lower()))


def _expand(pattern: str) -> list[tuple[str, UPath]]:
    if not is_utf8_path(pattern):
        raise UserError(
            f"init: the name of {printable(pattern)!r} is not UTF-8, expected one that is; rename the file"
        )
    config = IngestConfig(files=pattern, format="csv")
    for problem in missing_files(config):
        raise UserError(f"init: {problem.message}")
    return [(source.name(), source.place()) for source in find_sources(config, "classification")]


def _given(name: str, place: UPath, pattern: str) -> Given:
    folder, base = os.path.split(name)
    above, parent = os.path.split(folder)
    for text, rebuild in (
        (base, lambda rest: os.path.join(folder, rest)),
        (parent, lambda rest: os.path.join(above, rest, base)),
    ):
        for token in _TOKEN.finditer(text):
            if text is parent and token[0] != parent:  # of a folder it must be the whole name
                continue
            if split := split_of(token[0]):
                stem = rebuild(f"{text[: token.start()]}*{text[token.end() :]}")
                return Given(name, place, pattern, split, stem)
    return Given(name, place, pattern, None, name)


def _without_lone_words(given: list[Given]) -> list[Given]:
    """Where no file is of train and none is without a word, the words mean something else."""
    if all(file.split not in ("train", None) for file in given):
        return [replace(file, split=None) for file in given]
    return given
