"""What the scripts of this folder share: when two texts count as the same, and how splits are written."""

import random
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

BABEL_VERSION = "2.18.0"
"""The Babel whose CLDR 47 tables made the committed files; another one may know other names."""

INVISIBLE = re.compile("[\u00ad\u200e\u200f]")
"""Soft hyphen and marks of direction; zero width joiners stay, they are spelling."""

Row = tuple[str, str]


def comparable(text: str) -> str:
    """The form in which texts are compared, so that no tokenizer's normalization makes two of them equal.

    Args:
        text: Any text.

    Returns:
        The text with compatibility characters, case and white space folded.
    """
    return " ".join(unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()).split())


def clean(text: str) -> str:
    """The form in which texts are written: composed (NFC), plain single spaces, no marks that cannot be seen.

    Args:
        text: A text as CLDR has it, perhaps with no-break spaces, soft hyphens or marks of direction.

    Returns:
        The text to write.
    """
    return " ".join(unicodedata.normalize("NFC", INVISIBLE.sub("", text)).split())


def write_splits(
    rows: Sequence[Row], header: Row, *, held_out: int, seed: int, output: Path
) -> dict[str, int]:
    """Shuffles the rows and writes them as train.tsv, validation.tsv and test.tsv.

    Args:
        rows: Pairs of text and target, each text once.
        header: The names of the two columns.
        held_out: Number of rows of validation, and of test; train gets the others.
        seed: Seed of the shuffling.
        output: The directory to write into; made if need be.

    Returns:
        The number of rows of each split.
    """
    shuffled = list(rows)
    random.Random(seed).shuffle(shuffled)
    splits = {
        "train": shuffled[2 * held_out :],
        "validation": shuffled[held_out : 2 * held_out],
        "test": shuffled[:held_out],
    }
    output.mkdir(parents=True, exist_ok=True)
    for name, part in splits.items():
        lines = ["\t".join(row) + "\n" for row in [header, *part]]
        (output / f"{name}.tsv").write_text("".join(lines), encoding="utf-8", newline="\n")
    return {name: len(part) for name, part in splits.items()}
