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


def has_header(rows: Sequence[Sequence[str]], sample: str) -> bool:
    """Says whether the first row is a header line.

    clevercsv's test goes by types and lengths, which columns of free text lack; so does it count where
    nothing clearer is there: usual names, a name above much longer texts, or a word that a column of few
    values never has again.

    Args:
        rows: the first rows of the table.
        sample: the text that they were read from.
    """
    first, others = rows[0], [row for row in rows[1:] if len(row) == len(rows[0])]
    names = [cell.strip() for cell in first]
    if len({name.lower() for name in names}) < len(names) or any(map(_NUMBER.fullmatch, names)):
        return False
    odd = sum(not _NAME.fullmatch(name) for name in names if name)
    usual = sum(name.lower() in USUAL_NAMES for name in names)
    if usual == len(names) or not others:
        return usual > 0
    votes = usual - odd
    for position, name in enumerate(names):
        cells = [row[position].strip() for row in others]
        counts = Counter(cells)
        lengths = sorted(map(len, cells))
        if name in counts:
            votes -= 2
        elif counts.most_common(1)[0][1] > 1 and len(counts) <= max(2, len(cells) // 3):
            votes += 1
        is_long = lengths[len(lengths) // 2] >= _LONG and " " not in name
        numbers = sum(map(bool, map(_NUMBER.fullmatch, cells)))
        votes += is_long or numbers > len(cells) // 2
    if votes:
        return votes > 0
    try:
        return bool(Detector().has_header(sample))
    except CleverCsvError:
        return False
