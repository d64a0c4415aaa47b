"""Counts, in the train split, what vocabularies are learnt from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

import apache_beam as beam

from components.strict import FIELDS, Task
from components.tokenize.config import TokenizerConfig
from components.tokenize.parts import Part, ReadPart, as_tensor
from components.work import Work

_MOST_IN_MEMORY = 200_000  # distinct units a worker collects before it passes them on

FieldUnit = tuple[str, str]


class CountUnits(ReadPart):
    """Yields ((field, unit), count), a unit perhaps several times.

    Args:
        work: of the stage.
        task: decides the fields.
        configs: the tokenizer of each text field; the labels are counted as they are.
    """

    def __init__(self, work: Work, task: Task, configs: Mapping[str, TokenizerConfig]) -> None:
        super().__init__(work, FIELDS[task], "counting")
        self._configs = configs

    def process(self, part: Part) -> Iterator[tuple[FieldUnit, int]]:
        """Counts the units of one part."""
        counters: dict[str, Counter[str]] = {field: Counter() for field in self._fields}
        with self._work.attempt("counting"):
            for batch in self._batches(part):
                for field, values in batch.items():
                    if config := self._configs.get(field):
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
    """

    def __init__(self, field: str, config: TokenizerConfig | None) -> None:
        super().__init__()
        self._field = field
        self._config = config

    def expand(self, counts: beam.PCollection) -> beam.PCollection:
        """Makes one list from ((field, unit), count)."""
        units = counts | "Filter" >> beam.FlatMap(_of_field, self._field)
        if self._config is None:
            return units | beam.combiners.ToList()
        tokenizer = self._config.tokenizer()
        return units | beam.combiners.Top.Of(
            tokenizer.most_units(self._config), key=lambda pair: tokenizer.rank(*pair), reverse=True
        )


def _of_field(counted: tuple[FieldUnit, int], field: str) -> Iterator[tuple[str, int]]:
    (of_field, unit), count = counted
    if of_field == field:
        yield unit, count


def _drain(counters: Mapping[str, Counter[str]]) -> Iterator[tuple[FieldUnit, int]]:
    for field, counter in counters.items():
        for unit, count in counter.items():
            yield (field, unit), count
        counter.clear()
