"""The tokenize stage: examples to vocabularies and token ids."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import apache_beam as beam
from apache_beam.pvalue import AsList, AsSingleton

from components.artifacts.artifact import Reference
from components.artifacts.tokens import STATISTICS, Tokens
from components.errors import UserError
from components.reports import Progress, Warned, emit
from components.strict import FIELDS, SPLITS, Split, Task
from components.tokenize.auto import FieldText, SampleTexts, Settled, kept, settle
from components.tokenize.config import Auto, TokenizeConfig, Tokenizer
from components.tokenize.count import CountUnits, OfField
from components.tokenize.earlier import check_tokenizers
from components.tokenize.encode import EncodePart
from components.tokenize.learn import Learnt, learn_labels, learn_tokenizer
from components.tokenize.parts import Part, find_parts
from components.tokenize.statistics import PartStatistics, make_statistics
from components.work import Made, Work


class Tokenize(beam.PTransform):
    """Learns tokenizers and labels from the train split, and makes the artifact `Tokens`.

    With an earlier model's tokens, all of its tokens and labels keep their numbers. What is new in the train
    split comes behind them: units that occur `min_count` times, the most frequent first, characters only
    where pieces are learnt as a whole (wordpiece, sentencepiece), until `vocabulary_size` is reached; and
    labels, sorted. A smaller `vocabulary_size` than the earlier one removes nothing.

    Args:
        config: the tokenizer of each text field.
        task: decides the fields.
        work: of the stage.
        init: the tokenize artifact to extend, of which the part `vocabulary` is read; it may be under another
            root.

    Raises:
        UserError: the tokenizers do not suit the task, or split texts otherwise than those of `init`; while
            running, a vocabulary cannot be learnt.
    """

    def __init__(self, config: TokenizeConfig, task: Task, work: Work, init: Reference | None = None) -> None:
        super().__init__()
        self._configs = _tokenizers(config, task)
        self._task = task
        self._work = work
        self._init = init
        if init is not None:
            earlier: Tokens = Tokens.load(init)
            self._configs = kept(self._configs, earlier)
            check_tokenizers(earlier, self._configs)

    def expand(self, inputs: beam.PCollection) -> beam.PCollection:
        """Makes one `Made` from the one mapping of references."""
        train = (
            inputs
            | "FindTrain" >> beam.FlatMap(_find, self._work, ("train",))
            | "SpreadTrain" >> beam.Reshuffle()
        )
        automatic = [field for field, config in self._configs.items() if isinstance(config, Auto)]
        sample: Any = []
        if automatic:
            sample = AsList(train | "Sample" >> beam.ParDo(SampleTexts(self._work, automatic)))
        settled = AsSingleton(
            inputs | "Settle" >> beam.Map(_settle, self._work, self._task, self._configs, sample)
        )
        counts = (
            train
            | "Count" >> beam.ParDo(CountUnits(self._work, self._task), settled)
            | "Sum" >> beam.CombinePerKey(sum)
        )
        # What a worker needs from before comes as side input, which also keeps the three steps in order.
        vocabulary = [
            AsSingleton(counts | f"Counts_{field}" >> OfField(field, self._configs.get(field), settled))
            for field in FIELDS[self._task]
        ]
        learnt = AsSingleton(
            inputs
            | "Learn" >> beam.Map(_learn, self._task, self._work, self._init, settled, sample, *vocabulary)
        )
        parts = (
            inputs
            | "FindAll" >> beam.FlatMap(_find, self._work)
            | "SpreadAll" >> beam.Reshuffle()
            | "Encode" >> beam.ParDo(EncodePart(self._work, self._task), learnt)
        )
        return inputs | "Publish" >> beam.Map(_publish, self._work, learnt, AsList(parts))


def _tokenizers(config: TokenizeConfig, task: Task) -> dict[str, Tokenizer]:
    """The tokenizer of each text field."""
    expected = [field for field in FIELDS[task] if field != "label"]
    configs = config.by_field()
    if sorted(configs) != sorted(expected):
        received = " and ".join(configs) or "none"
        raise UserError(
            f"tokenize: received tokenizers for {received}, expected {' and '.join(expected)} for {task}. "
            f"Correct the section `tokenize` or `task`."
        )
    return {field: configs[field] for field in expected}


def _find(inputs: dict[str, Reference], work: Work, splits: Sequence[Split] = SPLITS) -> list[Part]:
    return work.reported(find_parts, inputs, splits)


def _settle(
    inputs: dict[str, Reference],
    work: Work,
    task: Task,
    configs: dict[str, Tokenizer],
    sample: list[FieldText],
) -> dict[str, Settled]:
    return work.reported(settle, inputs, task, configs, sample)


def _chosen(learnt: Learnt) -> dict[str, Any]:
    """What the record keeps of a tokenizer that was chosen."""
    assert learnt.config is not None
    return {"settings": learnt.config.model_dump(mode="json"), "why": learnt.chosen}


def _learn(
    _: dict[str, Reference],
    task: Task,
    work: Work,
    init: Reference | None,
    settled: dict[str, Settled],
    sample: list[FieldText],
    *counts: list[tuple[str, int]],
) -> list[Learnt]:
    """Learns field after field, in the order of the task's fields."""
    learnt = []
    with work.attempt("learning") as attempt:
        earlier: Tokens | None = None if init is None else Tokens.load(init)
        for done, (field, counted) in enumerate(zip(FIELDS[task], counts, strict=True)):
            emit(Progress(work.stage, done, len(counts), "learning"))
            if field in settled:
                tokenizer = earlier.tokenizer(field) if earlier else None
                texts = [text for of, text in sample if of == field]
                learnt.append(learn_tokenizer(field, settled[field], counted, attempt, tokenizer, texts))
            else:
                learnt.append(learn_labels(counted, attempt, earlier.labels() if earlier else None))
    return learnt


def _publish(
    _: dict[str, Reference],
    work: Work,
    learnt: list[Learnt],
    parts: list[PartStatistics],
) -> Made:
    """Writes statistics.json, passes the warnings on, and makes the summary."""
    statistics = make_statistics(learnt, parts)
    vocabulary = {field: summary["vocabulary_size"] for field, summary in statistics["fields"].items()}
    summary: dict[str, Any] = {"vocabulary": vocabulary}
    if "labels" in statistics:
        summary["labels"] = statistics["labels"]
    added = {item.field: item.added for item in learnt if item.added is not None}
    if added:
        summary["added"] = added
    if chosen := {item.field: _chosen(item) for item in learnt if item.chosen}:
        summary["chosen"] = chosen
    summary["warnings"] = statistics["warnings"]
    with work.attempt("counting") as attempt:
        report = attempt.put(
            STATISTICS, json.dumps(statistics, ensure_ascii=False, indent=2).encode() + b"\n"
        )
        for warning in statistics["warnings"]:
            emit(Warned(work.stage, warning))
    tokens = [part.file for part in parts if part.file]
    return Made((*(file for item in learnt for file in item.files), *tokens, report), summary)
