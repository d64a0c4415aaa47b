"""The tokenize stage: examples to vocabularies and token ids."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any

import apache_beam as beam
import tensorflow as tf
from apache_beam.pvalue import AsList, AsSingleton

from components.errors import UserError
from components.events import StageProgress, Warned, emit
from components.strict import FIELDS, SPLITS, Split, Task
from components.tokenize.config import TokenizeConfig
from components.tokenize.config import Tokenizer as TokenizerConfig
from components.tokenize.count import CountUnits, OfField
from components.tokenize.encode import EncodeShard
from components.tokenize.learn import Learnt, learn_labels, learn_tokenizer
from components.tokenize.shards import Shard, find_shards
from components.tokenize.statistics import ShardStatistics, make_statistics


class Tokenize(beam.PTransform):
    """Learns tokenizers and labels from the train split and writes tokenizer/, tokens/ and statistics.json.

    Args:
        config: the tokenizer of each text field.
        task: decides the fields.
        output: an existing empty directory.

    Raises:
        UserError: the tokenizers do not suit the task; while running, a vocabulary cannot be learnt.
    """

    def __init__(self, config: TokenizeConfig, task: Task, output: str) -> None:
        super().__init__()
        self._configs = _tokenizers(config, task)
        self._task = task
        self._output = output

    def expand(self, upstream: beam.PCollection) -> beam.PCollection:
        """Makes the one summary from the one mapping of upstream artifacts."""
        counts = (
            upstream
            | "FindTrain" >> beam.FlatMap(_find, ("train",))
            | "SpreadTrain" >> beam.Reshuffle()
            | "Count" >> beam.ParDo(CountUnits(self._task, self._configs))
            | "Sum" >> beam.CombinePerKey(sum)
        )
        # What a worker needs from before comes as side input, which also keeps the three steps in order.
        vocabulary = [
            AsSingleton(counts | f"Counts_{field}" >> OfField(field, self._configs.get(field)))
            for field in FIELDS[self._task]
        ]
        learnt = AsSingleton(
            upstream | "Learn" >> beam.Map(_learn, self._task, self._configs, self._output, *vocabulary)
        )
        shards = (
            upstream
            | "FindAll" >> beam.FlatMap(_find)
            | "SpreadAll" >> beam.Reshuffle()
            | "Encode" >> beam.ParDo(EncodeShard(self._task, self._output), learnt)
        )
        return upstream | "Publish" >> beam.Map(_publish, self._configs, self._output, learnt, AsList(shards))


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


def _find(upstream: dict[str, str], splits: Sequence[Split] = SPLITS) -> list[Shard]:
    return find_shards(upstream["ingest"], splits)


def _learn(
    _: dict[str, str],
    task: Task,
    configs: dict[str, TokenizerConfig],
    output: str,
    *counts: list[tuple[str, int]],
) -> list[Learnt]:
    """Learns field after field, in the order of the task's fields."""
    learnt = []
    for done, (field, counted) in enumerate(zip(FIELDS[task], counts, strict=True)):
        emit(StageProgress("tokenize", done, len(counts), "learning"))
        if field in configs:
            learnt.append(learn_tokenizer(field, configs[field], counted, output))
        else:
            learnt.append(learn_labels(counted, output))
    return learnt


def _publish(
    _: dict[str, str],
    configs: dict[str, TokenizerConfig],
    output: str,
    learnt: list[Learnt],
    shards: list[ShardStatistics],
) -> dict[str, Any]:
    """Writes statistics.json, passes the warnings on, and makes the summary."""
    statistics = make_statistics(configs, learnt, shards)
    with tf.io.gfile.GFile(os.path.join(output, "statistics.json"), "w") as file:
        file.write(json.dumps(statistics, ensure_ascii=False, indent=2) + "\n")
    for warning in statistics["warnings"]:
        emit(Warned("tokenize", warning))
    summary: dict[str, Any] = {
        "vocabulary": {field: found["vocabulary_size"] for field, found in statistics["fields"].items()}
    }
    if "labels" in statistics:
        summary["labels"] = statistics["labels"]
    return summary | {"warnings": statistics["warnings"]}
