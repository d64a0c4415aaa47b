"""The export stage."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import apache_beam as beam

from components.artifacts.artifact import Reference
from components.artifacts.evaluation import Evaluation
from components.artifacts.exported_model import add_model, decoding_hash, model_path, validation_path
from components.artifacts.tokens import Tokens
from components.artifacts.trained_model import TrainedModel
from components.export.config import ExportConfig
from components.models.decode import DecodeConfig
from components.reports import Progress, emit
from components.strict import Task
from components.work import Attempt, Made, Work


class Export(beam.PTransform):
    """Freezes tokenizer, model and decoder into a SavedModel, and proves it.

    Pushing it is a copy that the run makes when it is over, so that a model of an earlier run can be pushed
    again without this stage.

    Args:
        config: how much is replayed.
        task: classification or seq2seq.
        decode: how answers are searched for (seq2seq), as in evaluation.
        work: of the node.
    """

    def __init__(self, config: ExportConfig, task: Task, decode: DecodeConfig | None, work: Work) -> None:
        super().__init__()
        self._export = _Export(config, task, decode, work)

    def expand(self, inputs: beam.PCollection) -> beam.PCollection:
        """{"tokenize", "train", "evaluate": Reference} to Made."""
        return inputs | "export" >> beam.ParDo(self._export)


class _Export(beam.DoFn):
    def __init__(self, config: ExportConfig, task: Task, decode: DecodeConfig | None, work: Work) -> None:
        self._config = config
        self._task = task
        self._decode = decode or (DecodeConfig() if task == "seq2seq" else None)
        self._work = work

    def process(self, inputs: Mapping[str, Reference]) -> Iterator[Made]:
        with self._work.attempt("export") as attempt:
            made = self._exported(inputs, attempt)
        yield made

    def _exported(self, inputs: Mapping[str, Reference], attempt: Attempt) -> Made:
        from components.export.validate import validate

        trained: TrainedModel = TrainedModel.load(inputs["train"])
        evaluation: Evaluation = Evaluation.load(inputs["evaluate"])
        evaluated, temperature = evaluation.predictions_file(), evaluation.temperature
        emit(Progress(self._work.stage, 0, 2, "freezing the model"))
        examples = attempt.scratch() / "examples.jsonl"
        tokens = Tokens.load(inputs["tokenize"])
        problems = self._freeze(tokens, trained, temperature, evaluated, examples, model_path(attempt))
        emit(Progress(self._work.stage, 1, 2, "replaying evaluated examples"))
        report = validate(
            str(model_path(attempt)),
            str(examples),
            self._config.replay_examples,
            str(validation_path(attempt)),
            problems,
        )
        size = sum(path.stat().st_size for path in model_path(attempt).rglob("*") if path.is_file())
        summary: dict[str, Any] = {
            "replayed": report["replayed"],
            "tiers": report["tiers"],
            "bytes": size,
            "model": {
                "weights": trained.summary["weights"],
                "decoding": decoding_hash(self._decode, temperature),
            },
        }
        return Made(add_model(attempt), summary)

    def _freeze(
        self,
        tokens: Tokens,
        trained: TrainedModel,
        temperature: float,
        evaluated: Path,
        examples: Path,
        model: Path,
    ) -> list[str]:
        """Writes the SavedModel, and the examples to replay; returns what is wrong with its structure."""
        from components.export.examples import write_examples
        from components.export.saved_model import export_saved_model, structure_problems
        from components.export.warmup import write_warmup
        from components.predictor import load_predictor

        keras_model = trained.model_file()
        predictor = load_predictor(tokens, keras_model, self._task, self._decode, temperature)
        variables = export_saved_model(predictor.signatures, list(predictor.tokenizers.values()), str(model))
        rows = write_examples(examples, evaluated, self._config.replay_examples, predictor.score)
        asked = {name: [row[name] for row in rows] or [""] for name in ("input", "target")}
        write_warmup(str(model), predictor.signatures, asked["input"], asked["target"])
        # It must depend neither on where it was made nor on what it was made from.
        vocabulary = [name for start in tokens.parts["vocabulary"] for name in tokens.names(start)]
        sources = [keras_model, evaluated, *map(tokens.file, vocabulary)]
        paths = {str(path) for path in (model, *(source.parent for source in sources))}
        return structure_problems(str(model), variables, sorted(paths))
