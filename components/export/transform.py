"""The export stage."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam

from components.events import StageProgress, emit
from components.export.config import ExportConfig
from components.models.decode import DecodeConfig
from components.strict import Task


class Export(beam.PTransform):
    """Freezes tokenizer, model and decoder into a SavedModel, and proves it.

    Writes model/ (the SavedModel) and validation.json (what the replay found). Pushing it is a copy that the
    run makes when it is over, so that a model of an earlier run can be pushed again without this stage.

    Args:
        config: how much is replayed.
        task: classification or seq2seq.
        decode: how answers are searched for (seq2seq), as in evaluation.
        output: directory to write into.
    """

    def __init__(self, config: ExportConfig, task: Task, decode: DecodeConfig | None, output: str) -> None:
        super().__init__()
        self._export = _Export(config, task, decode, output)

    def expand(self, inputs: beam.PCollection) -> beam.PCollection:
        """{stage: directory} to {"replayed", "tiers", "bytes"}."""
        return inputs | "export" >> beam.ParDo(self._export)


class _Export(beam.DoFn):
    def __init__(self, config: ExportConfig, task: Task, decode: DecodeConfig | None, output: str) -> None:
        self._config = config
        self._task = task
        self._decode = decode
        self._output = output

    def process(self, upstream: dict[str, str]) -> Iterator[dict[str, Any]]:
        from components.export.validate import validate

        model = str(Path(self._output) / "model")
        emit(StageProgress("export", 0, 2, "freezing the model"))
        problems = self._freeze(upstream, model)
        emit(StageProgress("export", 1, 2, "replaying evaluated examples"))
        report = validate(
            model,
            str(Path(upstream["evaluate"]) / "predictions.jsonl"),
            self._config.replay_examples,
            str(Path(self._output) / "validation.json"),
            problems,
        )
        size = sum(path.stat().st_size for path in Path(model).rglob("*") if path.is_file())
        yield {"replayed": report["replayed"], "tiers": report["tiers"], "bytes": size}

    def _freeze(self, upstream: dict[str, str], model: str) -> list[str]:
        """Writes the SavedModel; returns what is wrong with its structure."""
        from components.export.replay import read_examples
        from components.export.saved_model import export_saved_model, structure_problems
        from components.export.warmup import BATCHES, write_warmup
        from components.predictor import load_predictor

        keras_model = str(Path(upstream["train"]) / "model.keras")
        predictor = load_predictor(upstream["tokenize"], keras_model, self._task, self._decode)
        variables = export_saved_model(predictor.signatures, list(predictor.tokenizers.values()), model)
        examples = read_examples(str(Path(upstream["evaluate"]) / "predictions.jsonl"), max(BATCHES))
        texts = [example["input"] for example in examples]
        write_warmup(model, predictor.signatures, texts or [""])
        # It must depend neither on where it was made nor on what it was made from.
        return structure_problems(model, variables, [model, *upstream.values()])
