"""The tokenize stage: examples to vocabularies and token ids."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import apache_beam as beam
from apache_beam.pvalue import AsList, AsSingleton

from components.artifacts.artifact import Reference
from components.artifacts.tokens import STATISTICS
from components.errors import UserError
from components.reports import Progress, Warned, emit
from components.strict import FIELDS, SPLITS, Split, Task
from components.tokenize.config import TokenizeConfig, TokenizerConfig
from components.tokenize.count import CountUnits, OfField
from components.tokenize.encode import EncodePart
from components.tokenize.learn import Learnt, learn_labels, learn_tokenizer
from components.tokenize.parts import Part, find_parts
from components.tokenize.statistics import PartStatistics, make_statistics
from components.work import Made, Work


class Tokenize(beam.PTransform):
    """Learns tokenizers and labels from the train split, and makes the artifact `Tokens`.

    Args:
        config: the tokenizer of each text field.
        task: decides the fields.
        work: of the stage.

    Raises:
        UserError: the tokenizers do not suit the task; while running, a vocabulary cannot be learnt.
    """

    def __init__(self, config: TokenizeConfig, task: Task, work: Work) -> None:
        super().__init__()
        self._configs = _tokenizers(config, task)
        self._task = task
        self._work = work

    def expand(self, inputs: beam.PCollection) -> beam.PCollection:
        """Makes one `Made` from the one mapping of references."""
        counts = (
            inputs
            | "FindTrain" >> beam.FlatMap(_find, self._work, ("train",))
            | "SpreadTrain" >> beam.Reshuffle()
            | "Count" >> beam.ParDo(CountUnits(self._work, self._task, self._configs))
            | "Sum" >> beam.CombinePerKey(sum)
        )
        # What a worker needs from before comes as side input, which also keeps the three steps in order.
        vocabulary = [
            AsSingleton(counts | f"Counts_{field}" >> OfField(field, self._configs.get(field)))
            for field in FIELDS[self._task]
        ]
        learnt = AsSingleton(
            inputs | "Learn" >> beam.Map(_learn, self._task, self._configs, self._work, *vocabulary)
        )
        parts = (
            inputs
            | "FindAll" >> beam.FlatMap(_find, self._work)
            | "SpreadAll" >> beam.Reshuffle()
            | "Encode" >> beam.ParDo(EncodePart(self._work, self._task), learnt)
        )
        return inputs | "Publish" >> beam.Map(_publish, self._configs, self._work, learnt, AsList(parts))


def _tokenizers(config: TokenizeConfig, task: Task) -> dict[str, TokenizerConfig]:
    """The tokenizer of each text field."""
    expected = [field for field in FIELDS[task] if field != "label"]
    given = {field: getattr(config, field) for field in type(config).model_fields}
    configs = {field: tokenizer for field, tokenizer in given.items() if tokenizer is not None}
    if sorted(configs) != sorted(expected):
        received = " and ".join(configs) or "none"
        raise UserError(
            f"tokenize: received tokenizers for {received}, expected {' and '.join(expected)} for {task}. "
            f"Correct the section `tokenize` or `task`."
        )
    return {field: configs[field] for field in expected}


def _find(inputs: dict[str, Reference], work: Work, splits: Sequence[Split] = SPLITS) -> list[Part]:
    return work.reported(find_parts, inputs, splits)


def _learn(
    _: dict[str, Reference],
    task: Task,
    configs: dict[str, TokenizerConfig],
    work: Work,
    *counts: list[tuple[str, int]],
) -> list[Learnt]:
    """Learns field after field, in the order of the task's fields."""
    learnt = []
    with work.attempt("learning") as attempt:
        for done, (field, counted) in enumerate(zip(FIELDS[task], counts, strict=True)):
            emit(Progress(work.stage, done, len(counts), "learning"))
            if field in configs:
                learnt.append(learn_tokenizer(field, configs[field], counted, attempt))
            else:
                learnt.append(learn_labels(counted, attempt))
    return learnt


def _publish(
    _: dict[str, Reference],
    configs: dict[str, TokenizerConfig],
    work: Work,
    learnt: list[Learnt],
    parts: list[PartStatistics],
) -> Made:
    """Writes statistics.json, passes the warnings on, and makes the summary."""
    statistics = make_statistics(configs, learnt, parts)
    vocabulary = {field: found["vocabulary_size"] for field, found in statistics["fields"].items()}
    summary: dict[str, Any] = {"vocabulary": vocabulary}
    if "labels" in statistics:
        summary["labels"] = statistics["labels"]
    summary["warnings"] = statistics["warnings"]
    with work.attempt("counting") as attempt:
        report = attempt.put(
            STATISTICS, json.dumps(statistics, ensure_ascii=False, indent=2).encode() + b"\n"
        )
        for warning in statistics["warnings"]:
            emit(Warned(work.stage, warning))
    tokens = [part.file for part in parts if part.file]
    return Made((*(file for each in learnt for file in each.files), *tokens, report), summary)
