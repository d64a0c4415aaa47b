"""Whether the first row of a table names its columns."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from clevercsv import Detector
from clevercsv.exceptions import Error as CleverCsvError

from pipeline.init.words import USUAL_NAMES

_NUMBER = re.compile(r"[+-]?\d[\d.,:/ -]*")
_NAME = re.compile(r"[#%]? ?[^\W\d][\w .:/()#'’?%&-]{0,59}")
_LONG = 25  # characters
_CHANCE = 0.05  # that a record has a value which its column never has again
_CLEAR = 3  # votes


def has_header(rows: Sequence[Sequence[str]], sample: str) -> bool:
    """Says whether the first row is a header line.

    What says most is a column of few values that recur, as labels do: one of them in the first row makes it
    a record, anything else a header line. Usual names, names above much longer texts or above numbers count
    for less, as do first cells that do not look like names. clevercsv's test goes by types and lengths, which
    columns of free text lack; so it is asked where the others say nothing.

    Args:
        rows: the first rows of the table. Columns that are empty, or only have no name, say nothing.
        sample: the text that they were read from.
    """
    first = rows[0]  # which also stands in the middle of files that were put behind one another
    others = [row for row in rows[1:] if len(row) == len(first) and row != first]
    names = [cell.strip() for cell in first]
    usual = sum(name.lower() in USUAL_NAMES for name in names)
    if usual == len(names) or not others:
        return usual > 0
    filled = list(filter(None, names))
    votes = usual - sum(not _NAME.fullmatch(name) for name in filled) - len(filled) + len(set(filled))
    votes += sum(
        _vote(name, list(filter(None, (row[position].strip() for row in others))))
        for position, name in enumerate(names)
        if name
    )
    if votes:
        return votes > 0
    try:
        return bool(Detector().has_header(sample))
    except CleverCsvError:
        return False


def _vote(name: str, cells: Sequence[str]) -> int:
    """How much a column speaks for a header line; below 0: against one.

    Args:
        name: its first cell.
        cells: the others that are not empty.
    """
    if not cells:
        return 0
    counts = Counter(cells)
    recur = counts.most_common(1)[0][1] > 1 and len(counts) <= max(2, len(cells) // 3)
    if name in counts:
        return -_CLEAR if recur else -2
    is_number = 2 * sum(map(bool, map(_NUMBER.fullmatch, cells))) > len(cells)
    if is_number and _NUMBER.fullmatch(name):
        return 0
    lengths = sorted(map(len, cells))
    median = lengths[len(lengths) // 2]
    is_long = median >= max(_LONG, 2 * len(name)) and " " not in name
    votes = int(is_long or is_number)
    if recur:  # by Good and Turing, as many records have a new value as had one that came once
        once = sum(times == 1 for times in counts.values())
        votes += _CLEAR if (once + 1) / (len(cells) + 1) < _CHANCE else 1
    return votes
