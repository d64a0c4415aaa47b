"""Answers the examples that are evaluated, part by part."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.pvalue import TaggedOutput
from apache_beam.utils.shared import Shared

from components.artifacts.artifact import FileRef, Reference
from components.artifacts.evaluation import AnswerWriter, plot_name
from components.artifacts.examples import Examples
from components.evaluate.answers import Answers
from components.evaluate.candidates import Answering, Candidate
from components.evaluate.config import EvaluateConfig
from components.evaluate.slices import LABEL, LENGTH
from components.models.decode import DecodeConfig
from components.reports import Progress, emit
from components.strict import FIELDS, Task
from components.text import normal
from components.work import Attempt, Work


@dataclass(frozen=True)
class Part:
    """A file of the evaluated split: what is predicted in one piece.

    Args:
        inputs: what is read, by stage.
        name: its logical name.
        index: its place among the files.
        before: examples in the files before it.
        total: examples in all files.
    """

    inputs: Mapping[str, Reference]
    name: str
    index: int
    before: int
    total: int


def kept_columns(slices: Sequence[str]) -> list[str]:
    """Those that are columns of the examples beside the two of the task."""
    return [column for column in slices if column not in (LENGTH, LABEL)]


class Predict(beam.DoFn):
    """Answers the examples of each part, writes the answers to files, and passes them on."""

    FILES, PLOTS = "files", "plots"

    def __init__(
        self,
        task: Task,
        decode: DecodeConfig | None,
        config: EvaluateConfig,
        work: Work,
        candidate: Candidate,
    ) -> None:
        self._task = task
        self._decode = decode
        self._config = config
        self._maps = config.attention_maps
        self._work = work
        self._candidate = candidate
        self._model = Shared()

    def process(self, part: Part) -> Iterator[Answers | TaggedOutput]:
        """Yields answers in batches, and, tagged, the files that hold them and plots."""
        with self._work.attempt("predict") as attempt:
            yield from self._predict(part, attempt)

    def _predict(self, part: Part, attempt: Attempt) -> Iterator[Answers | TaggedOutput]:
        import tensorflow as tf

        read, expected = FIELDS[self._task]
        columns = kept_columns(self._config.slices)
        predictor = self._predictor(part.inputs)
        ranked = ranked_labels(predictor.labels)
        explain = predictor.signatures.get("explain") if part.before < self._maps else None
        done = part.before
        writer = AnswerWriter(attempt, part.index, bool(columns))
        examples: Examples = Examples.load(part.inputs["ingest"])
        for batch in examples.batches(part.name, [read, expected, *columns], self._config.batch_size):
            if explain and done < self._maps:
                for plot in self._draw_attention(explain, tf.constant(batch[read], tf.string), done, attempt):
                    yield TaggedOutput(self.PLOTS, plot)
            kept = {column: batch[column] for column in columns}
            answers = answer(predictor, batch[read], batch[expected], ranked, done, kept)
            writer.write(answers)
            done += len(answers.inputs)
            emit(Progress(self._work.stage, done, part.total))
            yield answers
        for file in writer.close():
            yield TaggedOutput(self.FILES, file)

    def _predictor(self, inputs: Mapping[str, Reference]) -> Answering:
        """The predictor, which all threads of a worker share."""
        tag = self._candidate.identity or str(inputs["train"].manifest)
        predictor: Answering = self._model.acquire(
            lambda: self._candidate.load(inputs, self._task, self._decode), tag=tag
        )
        return predictor

    def _draw_attention(
        self, explain: Callable[[Any], Any], texts: Any, before: int, attempt: Attempt
    ) -> Iterator[FileRef]:
        """Draws the maps of those of the texts that are among the first examples of the split."""
        from components.evaluate.plots import attention_map

        explained = explain(texts[: self._maps - before])
        columns = (explained[name].numpy() for name in ("source_tokens", "target_tokens", "attention"))
        for number, (source, target, weights) in enumerate(zip(*columns, strict=True), start=before + 1):
            source, target = ([token for token in _decoded(tokens) if token] for tokens in (source, target))
            if source and target:
                name = plot_name(f"attention_{number:02}")
                attention_map(source, target, weights[: len(target), : len(source)], attempt.path(name))
                yield attempt.add(name)


def ranked_labels(labels: Sequence[str]) -> tuple[str, str] | None:
    """Returns the negative and the positive one of two labels, None if there are more or fewer.

    The greater one is the positive one, as scikit-learn has it.
    """
    return (min(labels), max(labels)) if len(labels) == 2 else None


def answer(
    predictor: Answering,
    texts: Sequence[str],
    targets: Sequence[str],
    ranked: tuple[str, str] | None,
    first: int = 0,
    columns: Mapping[str, list[str]] | None = None,
) -> Answers:
    """Answers a batch of examples.

    Args:
        predictor: what is measured.
        texts: what it reads.
        targets: what is expected of it.
        ranked: as `ranked_labels` returns them.
        first: the place of the first among all evaluated examples.
        columns: what else the data says about each example.
    """
    import tensorflow as tf

    answered = {name: values.numpy() for name, values in predictor(tf.constant(texts, tf.string)).items()}
    predictions = _decoded(answered["prediction"])
    return Answers.of(
        texts,
        targets,
        predictions,
        numbers=np.arange(first, first + len(predictions)),
        scores=answered["score"],
        columns=columns or {},
        **_ranks(ranked, targets, predictions, answered.get("probabilities")),
    )


def _ranks(
    ranked: tuple[str, str] | None, expected: Sequence[str], predictions: list[str], probabilities: Any
) -> dict[str, Any]:
    """What roc_auc needs to know, if there are two labels."""
    if ranked is None or probabilities is None or probabilities.shape[1] != 2:
        return {}
    # Whatever the order of the labels in the model: the greater probability is that of its answer.
    both = np.sort(probabilities, axis=1)
    says_positive = np.asarray([label == ranked[1] for label in predictions], bool)
    signs = {normal(label): sign for sign, label in enumerate(ranked)}
    return {
        "probabilities": np.where(says_positive, both[:, 1], both[:, 0]),
        "positives": np.asarray([signs.get(normal(label), -1) for label in expected], np.int8),
    }


def _decoded(texts: Iterable[bytes]) -> list[str]:
    return [text.decode("utf-8", errors="replace") for text in texts]
