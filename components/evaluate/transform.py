"""The evaluate stage."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import apache_beam as beam
import numpy as np
from apache_beam.pvalue import AsList, AsSingleton, TaggedOutput
from apache_beam.utils.shared import Shared

from components.errors import UserError
from components.evaluate.blessing import judge
from components.evaluate.config import EvaluateConfig
from components.evaluate.metrics import Answers, Measure
from components.events import StageProgress, Warned, emit
from components.models.decode import DecodeConfig
from components.strict import FIELDS, Split, Task

_ROW = ("input", "target", "prediction", "score", "correct")


class Served(Protocol):
    """What is evaluated; components.predictor.Predictor."""

    @property
    def signatures(self) -> Mapping[str, Callable[[Any], Any]]:
        """Its functions of texts by name; `explain` says what the decoder looked at."""

    def __call__(self, text: Any) -> Any:
        """Answers a batch of texts."""


Loader = Callable[[str, str, Task, DecodeConfig | None], Served]


def _load_served(tokenize_directory: str, model_path: str, task: Task, decode: DecodeConfig | None) -> Served:
    from components.predictor import load_predictor

    return load_predictor(tokenize_directory, model_path, task, decode)


class Evaluate(beam.PTransform):
    """Measures the model on the test split (without one: on the validation split), as it will be served.

    Writes metrics.json, predictions.jsonl (in the order of the data), blessing.json and plots/*.png.

    Args:
        config: what is measured, and what is good enough.
        decode: how answers are searched for (seq2seq).
        task: classification or seq2seq.
        output: directory to write into.
        load: makes the predictor from the tokenize artifact, the model's path, task and decode; by default
            the one that is exported.

    Raises:
        UserError: if a metric does not fit the task.
    """

    def __init__(
        self,
        config: EvaluateConfig,
        decode: DecodeConfig | None,
        task: Task,
        output: str,
        load: Loader = _load_served,
    ) -> None:
        super().__init__()
        try:
            self._metrics = config.measured(task)
        except ValueError as error:
            raise UserError(str(error)) from error
        self._config = config
        self._decode = decode
        self._task = task
        self._output = output
        self._load = load

    def expand(self, inputs: beam.PCollection) -> beam.PCollection:
        """{"ingest", "tokenize", "train": directory} to {"examples", "metrics", "blessed", "reasons"}."""
        predict = _Predict(self._task, self._decode, self._config, self._output, self._load)
        predicted = (
            inputs
            | "find examples" >> beam.ParDo(_FindExamples(self._task, self._decode))
            | "spread" >> beam.Reshuffle()
            | "predict" >> beam.ParDo(predict).with_outputs(_Predict.PARTS, main="answers")
        )
        report = predicted.answers | "measure" >> Measure(self._task, self._metrics)
        return inputs | "write" >> beam.ParDo(
            _Write(self._config, self._output), AsSingleton(report), AsList(predicted[_Predict.PARTS])
        )


@dataclass(frozen=True)
class _Shard:
    """One shard of the evaluated split: what is predicted in one piece.

    Args:
        inputs: directory of each upstream stage.
        path: of the TFRecord file.
        index: its place among the shards.
        before: examples in the shards before it.
        total: examples in all shards.
    """

    inputs: dict[str, str]
    path: str
    index: int
    before: int
    total: int


class _FindExamples(beam.DoFn):
    def __init__(self, task: Task, decode: DecodeConfig | None) -> None:
        self._task = task
        self._decode = decode or DecodeConfig()

    def process(self, inputs: dict[str, str]) -> Iterator[_Shard]:
        import tensorflow as tf

        split, paths = _evaluated_split(inputs)
        if split != "test":
            message = (
                "there is no test split: measured on validation, which may have decided when training ended"
            )
            emit(Warned("evaluate", message))
        if self._task == "seq2seq":
            self._compare_lengths(inputs["tokenize"], split)
        counts = [
            int(tf.data.TFRecordDataset(path).reduce(np.int64(0), lambda count, _: count + 1))
            for path in paths
        ]
        for index, path in enumerate(paths):
            yield _Shard(inputs, path, index, sum(counts[:index]), sum(counts))

    def _compare_lengths(self, tokenize: str, split: Split) -> None:
        path = Path(tokenize) / "statistics.json"
        targets = json.loads(path.read_text(encoding="utf-8"))["fields"]["target"]["splits"][split]["tokens"]
        if targets["max"] > self._decode.max_length:
            message = (
                f"targets of {split} have up to {targets['max']} tokens (95 % have at most "
                f"{targets['p95']}), but answers end after {self._decode.max_length}: raise decode.max_length"
            )
            emit(Warned("evaluate", message))


def _evaluated_split(inputs: dict[str, str]) -> tuple[Split, list[str]]:
    from components.examples import split_shards

    directory = os.path.join(inputs["ingest"], "examples")
    splits: tuple[Split, ...] = ("test", "validation")
    for split in splits:
        paths = split_shards(directory, split)
        if paths:
            return split, paths
    raise UserError(
        "The ingested data has neither a test nor a validation split; expected examples to measure "
        "the model on: name files for `test` in ingest.files, or give it a fraction in ingest.holdout."
    )


class _Predict(beam.DoFn):
    """Answers each shard's examples, writes them to a part of predictions.jsonl, and passes them on."""

    PARTS = "parts"

    def __init__(
        self, task: Task, decode: DecodeConfig | None, config: EvaluateConfig, output: str, load: Loader
    ) -> None:
        self._task = task
        self._decode = decode
        self._batch_size = config.batch_size
        self._maps = config.attention_maps
        self._output = output
        self._load = load
        self._model = Shared()

    def process(self, shard: _Shard) -> Iterator[Answers | TaggedOutput]:
        import tensorflow as tf

        from components.examples import text_batches

        predictor = self._model.acquire(lambda: self._loaded(shard.inputs), tag=shard.inputs["train"])
        explain = predictor.signatures.get("explain") if shard.before < self._maps else None
        read, expected = FIELDS[self._task]
        done = shard.before
        part = os.path.join(self._output, f"predictions-{shard.index:05d}.jsonl")
        with open(part, "w", encoding="utf-8") as file:
            for batch in text_batches([shard.path], FIELDS[self._task], self._batch_size):
                if explain and done < self._maps:
                    self._draw_attention(explain, batch[read], done)
                answered = predictor(tf.constant(batch[read]))
                texts = (
                    _decoded(batch[read]),
                    _decoded(batch[expected]),
                    _decoded(answered["prediction"].numpy()),
                )
                answers = Answers.normalized(*texts)
                scores = [_json_number(score) for score in answered["score"].numpy()]
                for row in zip(*texts, scores, answers.correct, strict=True):
                    file.write(json.dumps(dict(zip(_ROW, row, strict=True)), ensure_ascii=False) + "\n")
                done += len(answers.inputs)
                emit(StageProgress("evaluate", done, shard.total))
                yield answers
        yield TaggedOutput(self.PARTS, part)

    def _draw_attention(
        self, explain: Callable[[Any], Any], texts: np.ndarray[Any, Any], before: int
    ) -> None:
        """Draws the maps of those of the texts that are among the first examples of the split."""
        import tensorflow as tf

        from components.evaluate.plots import attention_map

        directory = os.path.join(self._output, "plots")
        os.makedirs(directory, exist_ok=True)
        explained = explain(tf.constant(texts[: self._maps - before]))
        columns = (explained[name].numpy() for name in ("source_tokens", "target_tokens", "attention"))
        for number, (source, target, weights) in enumerate(zip(*columns, strict=True), start=before + 1):
            source, target = ([token for token in _decoded(tokens) if token] for tokens in (source, target))
            if source and target:
                weights = weights[: len(target), : len(source)]
                attention_map(source, target, weights, os.path.join(directory, f"attention_{number:02}.png"))

    def _loaded(self, inputs: dict[str, str]) -> Served:
        return self._load(
            inputs["tokenize"], os.path.join(inputs["train"], "model.keras"), self._task, self._decode
        )


class _Write(beam.DoFn):
    """Joins the parts of the predictions in order, and writes the report, the blessing and the plots."""

    def __init__(self, config: EvaluateConfig, output: str) -> None:
        self._config = config
        self._output = Path(output)

    def process(
        self, inputs: dict[str, str], report: dict[str, Any], parts: list[str]
    ) -> Iterator[dict[str, Any]]:
        with (self._output / "predictions.jsonl").open("wb") as joined:
            for part in sorted(parts):
                with open(part, "rb") as file:
                    shutil.copyfileobj(file, joined)
        split, _ = _evaluated_split(inputs)
        blessing = judge(self._config.bless, report["metrics"])
        _write_json(self._output / "metrics.json", {"split": split, **report})
        _write_json(self._output / "blessing.json", blessing)
        self._draw(report, Path(inputs["train"]) / "history.json")
        for part in parts:
            os.remove(part)
        yield {"examples": report["examples"], "metrics": report["metrics"], **blessing}

    def _draw(self, report: dict[str, Any], history_path: Path) -> None:
        from components.evaluate import plots

        directory = self._output / "plots"
        directory.mkdir(exist_ok=True)
        history = json.loads(history_path.read_text(encoding="utf-8"))
        plots.training_curves(history["epochs"], directory / "training_curves.png", history["best_epoch"])
        if "confusion" in report:
            plots.confusion_matrix(**report["confusion"], path=directory / "confusion_matrix.png")
        else:
            plots.length_against_quality(report["by_length"], directory / "length_quality.png")


def _decoded(texts: Iterable[bytes]) -> list[str]:
    return [text.decode("utf-8", errors="replace") for text in texts]


def _json_number(score: np.float32) -> float | None:
    """The shortest decimal that is this float32; JSON has no word for what is not finite."""
    return float(str(score)) if np.isfinite(score) else None


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False, indent=1), encoding="utf-8")
