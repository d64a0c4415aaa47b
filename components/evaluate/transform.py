"""The evaluate stage."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import apache_beam as beam
import numpy as np
from apache_beam.pvalue import AsList, AsSingleton, TaggedOutput
from apache_beam.transforms.combiners import Top
from apache_beam.utils.shared import Shared

from components.errors import UserError
from components.evaluate.answers import Answers
from components.evaluate.config import EvaluateConfig
from components.evaluate.measure import Measure, MeasureSlices
from components.evaluate.measured import write_measured
from components.evaluate.slices import LABEL, LENGTH, make_slicing
from components.evaluate.worst import badness, graded
from components.events import StageProgress, Warned, emit
from components.models.decode import DecodeConfig
from components.strict import FIELDS, Split, Task


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

    Writes metrics.json, resampled.npy (the metrics in each bootstrap resample), predictions.jsonl (in the
    order of the data), worst.jsonl and plots/*.png.

    Args:
        config: what is measured.
        decode: how answers are searched for (seq2seq).
        task: classification or seq2seq.
        output: directory to write into.
        load: makes the predictor from the tokenize artifact, the model's path, task and decode; by default
            the one that is exported.
        stage: whose progress this is. For any but `evaluate` nothing is warned of, and no plot drawn.

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
        stage: str = "evaluate",
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
        self._stage = stage

    def expand(self, inputs: beam.PCollection) -> beam.PCollection:
        """{"ingest", "tokenize", "train": directory} to {"examples", "metrics", "intervals"}."""
        config = self._config
        find = _FindExamples(self._task, self._decode, config.slices, self._stage)
        predict = _Predict(self._task, self._decode, config, self._output, self._load, self._stage)
        found = inputs | "find examples" >> beam.ParDo(find).with_outputs(
            _FindExamples.SLICINGS, main="shards"
        )
        predicted = (
            found.shards
            | "spread" >> beam.Reshuffle()
            | "predict" >> beam.ParDo(predict).with_outputs(_Predict.PARTS, main="answers")
        )
        report = predicted.answers | "measure" >> MeasureSlices(
            Measure(self._metrics, config.resamples, confusion=self._task == "classification"),
            Measure(self._metrics, config.resamples),
            AsSingleton(found[_FindExamples.SLICINGS]),
        )
        worst = (
            predicted.answers
            | "grade" >> beam.FlatMap(graded, self._task)
            | "worst" >> Top.Of(max(config.worst_examples, 1), key=badness)
        )
        return inputs | "write" >> beam.ParDo(
            _Write(config, self._output, plots=self._stage == "evaluate"),
            AsSingleton(report),
            AsSingleton(worst),
            AsList(predicted[_Predict.PARTS]),
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


def _kept(slices: Sequence[str]) -> list[str]:
    """Those that are columns of the examples beside the two of the task."""
    return [column for column in slices if column not in (LENGTH, LABEL)]


class _FindExamples(beam.DoFn):
    """Finds the shards of the evaluated split, and how it is sliced."""

    SLICINGS = "slicings"

    def __init__(
        self, task: Task, decode: DecodeConfig | None, slices: Sequence[str], stage: str = "evaluate"
    ) -> None:
        self._task = task
        self._decode = decode or DecodeConfig()
        self._slices = slices
        self._warns = stage == "evaluate"

    def process(self, inputs: dict[str, str]) -> Iterator[_Shard | TaggedOutput]:
        split, paths = _evaluated_split(inputs)
        if self._warns and split != "test":
            message = (
                "there is no test split: measured on validation, which may have decided when training ended"
            )
            emit(Warned("evaluate", message))
        if self._warns and self._task == "seq2seq":
            self._compare_lengths(inputs["tokenize"], split)
        values: dict[str, Counter[Any]] = {column: Counter() for column in self._slices}
        counts = [self._read(path, values) for path in paths]
        yield TaggedOutput(self.SLICINGS, [make_slicing(column, counts) for column, counts in values.items()])
        for index, path in enumerate(paths):
            yield _Shard(inputs, path, index, sum(counts[:index]), sum(counts))

    def _read(self, path: str, values: dict[str, Counter[Any]]) -> int:
        """Counts the examples of a shard, and adds to how often each value of a slicing column occurs."""
        from components.examples import text_batches

        fields = FIELDS[self._task]
        examples = 0
        for batch in text_batches([path], [*fields, *_kept(self._slices)]):
            read, expected = (_decoded(batch[field]) for field in fields)
            answers = Answers.of(read, expected, expected)
            examples += len(read)
            for column, counter in values.items():
                if column == LENGTH:
                    counter.update(map(len, answers.inputs))
                else:
                    counter.update(answers.expected if column == LABEL else _decoded(batch[column]))
        return examples

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
        self,
        task: Task,
        decode: DecodeConfig | None,
        config: EvaluateConfig,
        output: str,
        load: Loader,
        stage: str,
    ) -> None:
        self._task = task
        self._decode = decode
        self._config = config
        self._maps = config.attention_maps if stage == "evaluate" else 0
        self._output = output
        self._load = load
        self._stage = stage
        self._model = Shared()

    def process(self, shard: _Shard) -> Iterator[Answers | TaggedOutput]:
        import tensorflow as tf

        from components.examples import text_batches

        predictor = self._model.acquire(lambda: self._loaded(shard.inputs), tag=shard.inputs.get("train", ""))
        explain = predictor.signatures.get("explain") if shard.before < self._maps else None
        read, expected = FIELDS[self._task]
        columns = _kept(self._config.slices)
        positive = self._positive_label(shard.inputs)
        done = shard.before
        part = os.path.join(self._output, f"predictions-{shard.index:05d}.jsonl")
        with open(part, "w", encoding="utf-8") as file:
            for batch in text_batches([shard.path], (read, expected, *columns), self._config.batch_size):
                if explain and done < self._maps:
                    self._draw_attention(explain, batch[read], done)
                answered = {
                    name: values.numpy() for name, values in predictor(tf.constant(batch[read])).items()
                }
                answers = Answers.of(
                    _decoded(batch[read]),
                    _decoded(batch[expected]),
                    _decoded(answered["prediction"]),
                    numbers=np.arange(done, done + len(batch[read])),
                    scores=answered["score"],
                    columns={column: _decoded(batch[column]) for column in columns},
                    **_ranks(positive, _decoded(batch[expected]), answered),
                )
                file.writelines(answers.lines())
                done += len(answers.inputs)
                emit(StageProgress(self._stage, done, shard.total))
                yield answers
        yield TaggedOutput(self.PARTS, part)

    def _positive_label(self, inputs: dict[str, str]) -> str | None:
        """The greater of two labels, as scikit-learn has it; None if there are others."""
        if self._task != "classification":
            return None
        from components.tokenize.labels import read_labels

        labels = read_labels(inputs["tokenize"])
        return max(labels) if len(labels) == 2 else None

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
            inputs["tokenize"], os.path.join(inputs.get("train", ""), "model.keras"), self._task, self._decode
        )


def _ranks(positive: str | None, expected: list[str], answered: dict[str, Any]) -> dict[str, Any]:
    """What roc_auc needs to know, if there are two labels."""
    if positive is None or answered.get("probabilities", np.zeros([0, 0])).shape[1] != 2:
        return {}
    # Whatever the order of the labels in the model: the greater probability is that of its answer.
    both = np.sort(answered["probabilities"], axis=1)
    says_positive = np.asarray([label == positive for label in _decoded(answered["prediction"])])
    return {
        "probabilities": np.where(says_positive, both[:, 1], both[:, 0]),
        "positives": np.asarray([label == positive for label in expected]),
    }


class _Write(beam.DoFn):
    """Joins the parts of the predictions in order, and writes the report, the worst answers and the plots."""

    def __init__(self, config: EvaluateConfig, output: str, plots: bool) -> None:
        self._config = config
        self._output = Path(output)
        self._plots = plots

    def process(
        self, inputs: dict[str, str], report: dict[str, Any], worst: list[dict[str, Any]], parts: list[str]
    ) -> Iterator[dict[str, Any]]:
        with (self._output / "predictions.jsonl").open("wb") as joined:
            for part in sorted(parts):
                with open(part, "rb") as file:
                    shutil.copyfileobj(file, joined)
        split, _ = _evaluated_split(inputs)
        write_measured(self._output, split, report)
        with (self._output / "worst.jsonl").open("w", encoding="utf-8") as file:
            for row in worst[: self._config.worst_examples]:
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
        if self._plots:
            self._draw(report, Path(inputs["train"]) / "history.json")
        for part in parts:
            os.remove(part)
        yield {name: report[name] for name in ("examples", "metrics", "intervals")}

    def _draw(self, report: dict[str, Any], history_path: Path) -> None:
        from components.evaluate import plots

        directory = self._output / "plots"
        directory.mkdir(exist_ok=True)
        history = json.loads(history_path.read_text(encoding="utf-8"))
        plots.training_curves(history["epochs"], directory / "training_curves.png", history["best_epoch"])
        if "confusion" in report:
            plots.confusion_matrix(**report["confusion"], path=directory / "confusion_matrix.png")
        if report.get("calibration"):
            plots.calibration(report["calibration"], directory / "calibration.png")
        if report["metrics"]:
            metric = next(iter(report["metrics"]))
            for column, slices in report["slices"].items():
                path = directory / f"by_{re.sub(r'[^0-9A-Za-z_.-]', '_', column)}.png"
                plots.quality_by_slice(column, slices, metric, path)


def _decoded(texts: Iterable[bytes]) -> list[str]:
    return [text.decode("utf-8", errors="replace") for text in texts]
