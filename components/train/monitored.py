"""A training that is watched by a metric of evaluate, and so reads the validation split's raw texts.

Only such a training depends on the code of evaluate, which is why nothing else of the stage imports this.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import keras
import tensorflow as tf

from components.artifacts.artifact import Reference
from components.artifacts.examples import Examples
from components.artifacts.tokens import Tokens
from components.errors import UserError
from components.evaluate.measure import Measure
from components.evaluate.predict import answer, ranked_labels
from components.models.decode import DecodeConfig
from components.predictor import Predictor
from components.strict import FIELDS, Task
from components.train.config import TrainConfig
from components.train.monitor import greedy


def measuring(config: TrainConfig, task: Task, decode: DecodeConfig | None) -> Measuring:
    """Returns what measures a training whose `monitor` is a metric of evaluate.

    Args:
        config: how to fit.
        task: classification or seq2seq.
        decode: how answers are searched for, as configured; greedy decoding keeps what applies to it.
    """
    return Measuring(config.monitored, task, config.batch_size, greedy(decode))


@dataclass(frozen=True)
class Measuring:
    """Measures a model in training on the raw texts of the validation split, as evaluate does it.

    Args:
        metric: of evaluate, for the task.
        task: classification or seq2seq.
        batch_size: texts answered at once.
        decode: how answers are searched for (seq2seq).
    """

    metric: str
    task: Task
    batch_size: int
    decode: DecodeConfig

    def __call__(self, model: keras.Model, inputs: Mapping[str, Reference]) -> Callable[[], float]:
        """Returns a function that measures the model as it is then.

        Args:
            model: its weights may change afterwards.
            inputs: references of ingest and tokenize.
        """
        tokens: Tokens = Tokens.load(inputs["tokenize"])
        examples: Examples = Examples.load(inputs["ingest"])
        predictor = Predictor(
            self.task,
            model,
            {field: tokens.tokenizer(field) for field in FIELDS[self.task] if field != "label"},
            tokens.labels() if self.task == "classification" else [],
            self.decode,
        )
        ranked = ranked_labels(predictor.labels)

        def measure() -> float:
            with _as_served():
                return self._measured(predictor, examples, ranked)

        return measure

    def _measured(self, predictor: Predictor, examples: Examples, ranked: tuple[str, str] | None) -> float:
        measure = Measure([self.metric], resamples=0)
        accumulator, done = measure.create_accumulator(), 0
        read, expected = FIELDS[self.task]
        for name in examples.parts_of("validation"):
            for batch in examples.batches(name, [read, expected], self.batch_size):
                answers = answer(predictor, batch[read], batch[expected], ranked, done)
                accumulator = measure.add_input(accumulator, answers)
                done += len(answers.inputs)
        metrics = measure.extract_output(accumulator)["metrics"]
        if self.metric not in metrics:
            raise UserError(
                f"train.monitor received {self.metric}, which is not defined on the validation split's "
                f"{done} examples; expected a metric that is"
                + (
                    ", which takes a model of two labels and examples of these"
                    if self.metric == "roc_auc"
                    else ""
                )
                + ". Set train.monitor to another one, or to loss."
            )
        return float(metrics[self.metric])


@contextmanager
def _as_served() -> Iterator[None]:
    """Computes without TensorFloat-32, as a loaded predictor does."""
    before = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(False)
    try:
        yield
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(before)
