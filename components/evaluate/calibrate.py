"""What the evaluate stage learns from the validation split: the temperature, and the threshold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.pvalue import AsList
from apache_beam.utils.shared import Shared

from components.artifacts.artifact import Reference
from components.artifacts.examples import Examples
from components.errors import UserError
from components.evaluate.candidates import Candidate
from components.evaluate.config import EvaluateConfig
from components.evaluate.coverage import CoverageCurve, Selection
from components.evaluate.sample import Sample
from components.evaluate.temperature import Temperature, fit_temperature
from components.out_of_memory import naming_batch_size
from components.reports import Warned, emit
from components.strict import FIELDS
from components.text import normal
from components.work import Work

Array = np.ndarray[Any, Any]

SAMPLED = 32 << 20  # bytes of logits or scores that are looked at together


@dataclass(frozen=True)
class Calibration:
    """What was learnt from the validation split.

    Args:
        fitted: the temperature; None where none was wanted.
        chosen: what the threshold for the target accuracy selects there; None where none is wanted, or none
            reaches it.
        examples: of the validation split that it is chosen on; 0 where there is none.
    """

    fitted: Temperature | None = None
    chosen: Selection | None = None
    examples: int = 0

    @property
    def temperature(self) -> float:
        """What the logits are divided by."""
        return self.fitted.value if self.fitted else 1.0


class Calibrate(beam.PTransform):
    """Answers the validation split with a classifier, and fits to it what `config` wants.

    {stage: Reference} to one Calibration. Of more than 32 MiB of logits a sample is used, the same one
    whatever the number of workers.

    Args:
        config: what is wanted, and how many texts are answered at once.
        work: of the node.
        candidate: the model that the trial has trained.
    """

    def __init__(self, config: EvaluateConfig, work: Work, candidate: Candidate) -> None:
        super().__init__()
        self._config = config
        self._work = work
        self._candidate = candidate

    def expand(self, inputs: beam.PCollection) -> beam.PCollection:
        """Answers, samples and fits."""
        answered = (
            inputs
            | "find validation" >> beam.FlatMap(_parts, self._config, self._work)
            | "spread validation" >> beam.Reshuffle()
            | "answer validation" >> beam.ParDo(_Answer(self._config, self._work, self._candidate))
        )
        sampled = answered | "sample validation" >> beam.CombineGlobally(Sample(SAMPLED)).without_defaults()
        return inputs | "fit" >> beam.Map(_fit, AsList(sampled), self._config, self._work)


def _parts(
    inputs: Mapping[str, Reference], config: EvaluateConfig, work: Work
) -> list[tuple[Mapping[str, Reference], str, int]]:
    """The files of the validation split, with the number of examples before."""
    with work.attempt("find validation"):
        examples: Examples = Examples.load(inputs["ingest"])
        names = examples.parts_of("validation")
        if config.calibrate and not names:
            raise UserError(
                f"evaluate.calibrate received {config.calibrate}, which is fitted to the validation split, "
                "but the ingested data has none: name files for `validation` in ingest.files, or give it a "
                "fraction in ingest.holdout."
            )
        found, before = [], 0
        for name in names:
            found.append((inputs, name, before))
            before += sum(len(batch["label"]) for batch in examples.batches(name, ["label"]))
        return found


class _Answer(beam.DoFn):
    """Answers a file: `number`, the `label` that is expected (-1: none of the model's) and the `logits`."""

    def __init__(self, config: EvaluateConfig, work: Work, candidate: Candidate) -> None:
        self._batch_size = config.batch_size
        self._work = work
        self._candidate = candidate
        self._model = Shared()

    def process(self, part: tuple[Mapping[str, Reference], str, int]) -> Iterator[Array]:
        with (
            self._work.attempt("calibrate"),
            naming_batch_size("evaluate.batch_size", self._batch_size, "the sizes of the model"),
        ):
            yield from self._answer(*part)

    def _answer(self, inputs: Mapping[str, Reference], name: str, number: int) -> Iterator[Array]:
        import tensorflow as tf

        read, expected = FIELDS["classification"]
        predictor: Any = self._model.acquire(
            lambda: self._candidate.load(inputs, "classification", None), tag=str(inputs["train"].manifest)
        )
        places = {normal(label): place for place, label in enumerate(predictor.labels)}
        examples: Examples = Examples.load(inputs["ingest"])
        for batch in examples.batches(name, [read, expected], self._batch_size):
            logits = predictor.logits(tf.constant(batch[read], tf.string)).numpy()
            kind = [("number", "i8"), ("label", "i4"), ("logits", "f4", logits.shape[1:])]
            rows = np.empty(len(logits), kind)
            rows["number"] = np.arange(number, number + len(rows))
            rows["label"] = [places.get(normal(label), -1) for label in batch[expected]]
            rows["logits"] = logits
            number += len(rows)
            yield rows


def _fit(
    inputs: Mapping[str, Reference], sampled: Sequence[Array], config: EvaluateConfig, work: Work
) -> Calibration:
    with work.attempt("fit temperature"):
        rows = sampled[0] if sampled else None
        if rows is None:
            return Calibration()
        fitted = _temperature(rows, work) if config.calibrate else None
        if config.target_accuracy is None:
            return Calibration(fitted, examples=len(rows))
        logits = rows["logits"] / np.float32(fitted.value if fitted else 1.0)
        chosen = CoverageCurve(_scores(logits), rows["logits"].argmax(axis=1) == rows["label"])
        return Calibration(fitted, chosen.reaching(config.target_accuracy), len(rows))


def _temperature(rows: Array, work: Work) -> Temperature:
    known = rows[rows["label"] >= 0]
    if not len(known):
        raise UserError(
            "evaluate.calibrate: no label of the validation split is one of the model's, so no temperature "
            "can be fitted; expected the labels of the train split. Look at the files of validation."
        )
    fitted = fit_temperature(known["logits"], known["label"])
    if fitted.problem:
        message = f"no best temperature on {len(known):,} validation examples: {fitted.problem}; it stays 1"
        emit(Warned(work.stage, message))
    return fitted


def _scores(logits: Array) -> Array:
    """The greatest probability in each row [n], float32 as it is served."""
    powers = np.exp((logits - logits.max(axis=1, keepdims=True)).astype(np.float64))
    return np.asarray(1 / powers.sum(axis=1), np.float32)
