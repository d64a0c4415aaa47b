"""Groups of examples that are measured on their own: by length of the input, by label, by a column."""

from __future__ import annotations

import bisect
import itertools
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from components.evaluate.answers import Answers

LENGTH, LABEL, UNKNOWN = "length", "label", "unknown"
RANGES = 8  # of lengths, at most
VALUES = 50  # of a column; the less frequent ones are one group
OTHERS = "(others)"
EMPTY = "(empty)"
SHARES = ("0 %", "up to 5 %", "5 to 20 %", "over 20 %")  # of unknown tokens
_BOUNDS = (0.0, 0.05, 0.2)


@dataclass(frozen=True)
class Slicing:
    """How examples are divided by one column.

    Args:
        column: `length` (characters of the input), `label` (what is expected), `unknown` (the share of the
            input's tokens that the vocabulary lacks) or a column that was kept.
        ranges: of `length`: the smallest and the greatest length of each group.
        values: of any other column: those that have a group of their own.
    """

    column: str
    ranges: tuple[tuple[int, int], ...] = ()
    values: frozenset[str] = frozenset()

    def groups(self, answers: Answers) -> Iterator[tuple[str, Answers]]:
        """Yields each group's name, and its part of the answers; none where the tokens are not known."""
        places = defaultdict(list)
        for place, name in enumerate(self._names(answers)):
            places[name].append(place)
        for name, indices in places.items():
            yield name, answers.select(indices)

    def order(self, name: str) -> tuple[int, str]:
        """Sorts the names of groups: by length, or by the alphabet with the other values at the end."""
        if self.column == LENGTH:
            return int(name.partition("-")[0]), name
        if self.column == UNKNOWN:
            return SHARES.index(name), name
        return int(name == self._others), name

    def _names(self, answers: Answers) -> Iterator[str]:
        if self.column == UNKNOWN:
            shares = () if answers.unknown is None else answers.unknown.tolist()
            yield from (SHARES[bisect.bisect_left(_BOUNDS, share)] for share in shares)
            return
        if self.column == LENGTH:
            by_length = {
                length: f"{first}-{last}" if first < last else f"{first}"
                for first, last in self.ranges
                for length in range(first, last + 1)
            }
            yield from (by_length[len(text)] for text in answers.inputs)
            return
        others, empty = self._others, _free(EMPTY, self.values)
        values = answers.expected if self.column == LABEL else answers.columns[self.column]
        yield from ((value or empty) if value in self.values else others for value in values)

    @property
    def _others(self) -> str:
        return _free(OTHERS, self.values)


def _free(name: str, values: frozenset[str]) -> str:
    """A name for a group that is no value of the data."""
    while name in values:
        name = f"({name})"
    return name


def make_slicing(column: str, counts: Counter[int] | Counter[str]) -> Slicing:
    """Chooses the groups.

    Args:
        column: which one.
        counts: how many examples have which length, or which value; of `unknown` none.
    """
    if column == LENGTH:
        return Slicing(column, ranges=_ranges(counts))  # type: ignore[arg-type]
    by_frequency = sorted(counts, key=lambda value: (-counts[value], value))
    return Slicing(column, values=frozenset(map(str, by_frequency[:VALUES])))


def _ranges(counts: Counter[int]) -> tuple[tuple[int, int], ...]:
    """Ranges of lengths that hold about as many examples each."""
    lengths = sorted(counts)
    running = itertools.accumulate(counts[length] for length in lengths)
    # A length goes where the middle of its examples falls among all examples, sorted by length.
    place = {
        length: (2 * end - counts[length]) * RANGES // (2 * counts.total())
        for length, end in zip(lengths, running, strict=True)
    }
    groups = (list(group) for _, group in itertools.groupby(lengths, key=place.__getitem__))
    return tuple((group[0], group[-1]) for group in groups)
