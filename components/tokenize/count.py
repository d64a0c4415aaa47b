"""Counts, in the train split, what vocabularies are learnt from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from operator import itemgetter

import apache_beam as beam
from apache_beam.pvalue import AsSingleton

from components.strict import FIELDS, Task
from components.tokenize.auto import Settled, most_units
from components.tokenize.config import Tokenizer
from components.tokenize.parts import Part, ReadPart, as_tensor
from components.work import Work

_MOST_IN_MEMORY = 200_000  # distinct units a worker collects before it passes them on

FieldUnit = tuple[str, str]


class CountUnits(ReadPart):
    """Yields ((field, unit), count), a unit perhaps several times.

    Args:
        work: of the stage.
        task: decides the fields.
    """

    def __init__(self, work: Work, task: Task) -> None:
        super().__init__(work, FIELDS[task], "counting")

    def process(self, part: Part, settled: Mapping[str, Settled]) -> Iterator[tuple[FieldUnit, int]]:
        """Counts the units of one part, by the tokenizer of each text field; labels as they are."""
        counters: dict[str, Counter[str]] = {field: Counter() for field in self._fields}
        with self._work.attempt("counting"):
            for batch in self._batches(part):
                for field, values in batch.items():
                    if field in settled:
                        config = settled[field].config
                        counters[field].update(config.tokenizer().count(as_tensor(values), config))
                    else:
                        counters[field].update(values.to_pylist())
                if sum(map(len, counters.values())) > _MOST_IN_MEMORY:
                    yield from _drain(counters)
            yield from _drain(counters)


class OfField(beam.PTransform):
    """Makes one list of (unit, count) from the counts of all fields.

    Args:
        field: whose units.
        config: the field's tokenizer; the list is sorted by its `rank` and holds no more than it can use.
            None: everything, in any order.
        settled: a side input, by text field what an `auto` is.
    """

    def __init__(self, field: str, config: Tokenizer | None, settled: AsSingleton) -> None:
        super().__init__()
        self._field = field
        self._config = config
        self._settled = settled

    def expand(self, counts: beam.PCollection) -> beam.PCollection:
        """Makes one list from ((field, unit), count)."""
        units = counts | "Filter" >> beam.FlatMap(_of_field, self._field)
        if self._config is None:
            return units | beam.combiners.ToList()
        return (
            units
            | "Rank" >> beam.Map(_ranked, self._field, self._settled)
            | beam.combiners.Top.Of(most_units(self._config), key=itemgetter(0), reverse=True)
            | "Unrank" >> beam.Map(lambda ranked: [counted for _, counted in ranked])
        )


def _of_field(counted: tuple[FieldUnit, int], field: str) -> Iterator[tuple[str, int]]:
    (of_field, unit), count = counted
    if of_field == field:
        yield unit, count


def _ranked(
    counted: tuple[str, int], field: str, settled: Mapping[str, Settled]
) -> tuple[tuple[int | str, ...], tuple[str, int]]:
    return settled[field].config.tokenizer().rank(*counted), counted


def _drain(counters: Mapping[str, Counter[str]]) -> Iterator[tuple[FieldUnit, int]]:
    for field, counter in counters.items():
        for unit, count in counter.items():
            yield (field, unit), count
        counter.clear()
