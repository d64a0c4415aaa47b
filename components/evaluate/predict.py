"""Answers the examples that are evaluated, part by part."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import apache_beam as beam
import numpy as np
from apache_beam.pvalue import TaggedOutput
from apache_beam.utils.shared import Shared

from components.artifacts.artifact import FileRef, Reference
from components.artifacts.evaluation import AnswerWriter, plot_name
from components.artifacts.examples import Examples
from components.evaluate.answers import Answers
from components.evaluate.calibrate import Calibration
from components.evaluate.candidates import Answering, Candidate
from components.evaluate.config import EvaluateConfig
from components.evaluate.slices import LABEL, LENGTH, UNKNOWN
from components.evaluate.temperature import uncalibrated_scores
from components.models.decode import DecodeConfig
from components.out_of_memory import naming_batch_size
from components.reports import Progress, emit
from components.strict import FIELDS, Task
from components.text import normal
from components.work import Attempt, Work


@runtime_checkable
class _Tokenizing(Protocol):
    """A model that says which share of each text's tokens its vocabulary lacks."""

    def unknown_shares(self, texts: Sequence[str]) -> np.ndarray[Any, Any]: ...


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
    return [column for column in slices if column not in (LENGTH, LABEL, UNKNOWN)]


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
        columns: Sequence[str],
    ) -> None:
        self._task = task
        self._decode = decode
        self._config = config
        self.maps = config.attention_maps
        self._work = work
        self._candidate = candidate
        self._columns = columns
        self._model = Shared()
        self._examples: Examples | None = None

    def process(self, part: Part, calibration: Calibration | None = None) -> Iterator[Answers | TaggedOutput]:
        """Yields answers in batches, and, tagged, the files that hold them and plots."""
        temperature = calibration.temperature if calibration else 1.0
        smaller = "decode.beam_size" if self._task == "seq2seq" else "the sizes of the model"
        with (
            self._work.attempt("predict") as attempt,
            naming_batch_size("evaluate.batch_size", self._config.batch_size, smaller),
        ):
            yield from self._predict(part, temperature, attempt)

    def _predict(self, part: Part, temperature: float, attempt: Attempt) -> Iterator[Answers | TaggedOutput]:
        read, expected = FIELDS[self._task]
        columns = self._columns
        predictor = self.predictor(part.inputs, temperature)
        ranked = ranked_labels(predictor.labels)
        explain = predictor.signatures.get("explain") if part.before < self.maps else None
        done = part.before
        writer = AnswerWriter(attempt, part.index, bool(columns))
        if self._examples is None or self._examples.reference != part.inputs["ingest"]:
            # Once for a worker: it lists every part, and would be read as often as there are parts.
            self._examples = Examples.load(part.inputs["ingest"])
        examples = self._examples
        for batch in examples.batches(part.name, [read, expected, *columns], self._config.batch_size):
            if explain and done < self.maps:
                texts = batch[read][: self.maps - done]
                names = [f"attention_{number:02}" for number in range(done + 1, done + len(texts) + 1)]
                for plot in self.draw(explain, texts, names, attempt):
                    yield TaggedOutput(self.PLOTS, plot)
            kept = {column: batch[column] for column in columns}
            answers = answer(predictor, batch[read], batch[expected], ranked, done, kept, temperature)
            writer.write(answers)
            done += len(answers.inputs)
            emit(Progress(self._work.stage, done, part.total))
            yield answers
        for file in writer.close():
            yield TaggedOutput(self.FILES, file)

    def predictor(self, inputs: Mapping[str, Reference], temperature: float = 1.0) -> Answering:
        """Returns the predictor, which all threads of a worker share."""

        def load() -> Any:
            predictor: Any = self._candidate.load(inputs, self._task, self._decode)
            return predictor if temperature == 1 else predictor.calibrated(temperature)

        tag = self._candidate.identity or str(inputs["train"].manifest)
        shared: Answering = self._model.acquire(load, tag=f"{tag} {temperature}")
        return shared

    def draw(
        self, explain: Callable[[Any], Any], texts: Sequence[str], names: Sequence[str], attempt: Attempt
    ) -> Iterator[FileRef]:
        """Draws what the decoder looked at, a plot of a given name for every text."""
        import tensorflow as tf

        from components.evaluate.plots import attention_map

        explained = explain(tf.constant(texts, tf.string))
        columns = (explained[name].numpy() for name in ("source_tokens", "target_tokens", "attention"))
        for called, source, target, weights in zip(names, *columns, strict=True):
            source, target = ([token for token in _decoded(tokens) if token] for tokens in (source, target))
            if source and target:
                name = plot_name(called)
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
    temperature: float = 1.0,
) -> Answers:
    """Answers a batch of examples.

    Args:
        predictor: what is measured.
        texts: what it reads.
        targets: what is expected of it.
        ranked: as `ranked_labels` returns them.
        first: the place of the first among all evaluated examples.
        columns: what else the data says about each example.
        temperature: that the predictor divides its logits by; 1 where nothing was calibrated.
    """
    import tensorflow as tf

    answered = {name: values.numpy() for name, values in predictor(tf.constant(texts, tf.string)).items()}
    predictions = _decoded(answered["prediction"])
    before = None if temperature == 1 else uncalibrated_scores(answered["probabilities"], temperature)
    return Answers.of(
        texts,
        targets,
        predictions,
        numbers=np.arange(first, first + len(predictions)),
        scores=answered["score"],
        columns=columns or {},
        unknown=predictor.unknown_shares(texts) if isinstance(predictor, _Tokenizing) else None,
        uncalibrated=before,
        **ranks(ranked, targets, predictions, answered.get("probabilities")),
    )


def ranks(
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
