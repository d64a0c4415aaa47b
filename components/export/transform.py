"""The export stage."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam

from components.evaluate.config import DecodeConfig
from components.events import StageProgress, emit
from components.export.config import ExportConfig
from components.strict import Task


class Export(beam.PTransform):
    """Freezes tokenizer, model and decoder into a SavedModel, proves it, and pushes it if it is blessed.

    Writes model/ (the SavedModel) and validation.json (what the replay found).

    Args:
        config: where the served model goes, and how much is replayed.
        task: classification or seq2seq.
        name: what the model is served as; pushed to <config.directory>/<name>/<version>.
        key: of the artifact, noted in the pushed version.
        decode: how answers are searched for (seq2seq), as in evaluation.
        output: directory to write into.
    """

    def __init__(
        self, config: ExportConfig, task: Task, name: str, key: str, decode: DecodeConfig | None, output: str
    ) -> None:
        super().__init__()
        self._export = _Export(config, task, name, key, decode, output)

    def expand(self, inputs: beam.PCollection) -> beam.PCollection:
        """{stage: directory} to {"pushed", "version", "blessed", "reasons", "replayed"}."""
        return inputs | "export" >> beam.ParDo(self._export)


class _Export(beam.DoFn):
    def __init__(
        self, config: ExportConfig, task: Task, name: str, key: str, decode: DecodeConfig | None, output: str
    ) -> None:
        self._config = config
        self._task = task
        self._name = name
        self._key = key
        self._decode = decode
        self._output = output

    def process(self, upstream: dict[str, str]) -> Iterator[dict[str, Any]]:
        from components.export.push import push
        from components.export.validate import validate

        model = str(Path(self._output) / "model")
        evaluated = Path(upstream["evaluate"])
        emit(StageProgress("export", 0, 3, "freezing the model"))
        self._freeze(upstream, model)
        emit(StageProgress("export", 1, 3, "replaying evaluated examples"))
        report = validate(
            model,
            str(evaluated / "predictions.jsonl"),
            self._config.replay_examples,
            str(Path(self._output) / "validation.json"),
        )
        emit(StageProgress("export", 2, 3, "pushing"))
        blessing = json.loads((evaluated / "blessing.json").read_text(encoding="utf-8"))
        base = Path(self._config.directory) / self._name
        version = push(model, base, self._key) if blessing["blessed"] else None
        yield {
            "pushed": str(base / str(version)) if version else None,
            "version": version,
            "blessed": blessing["blessed"],
            "reasons": blessing["reasons"],
            "replayed": report["replayed"],
        }

    def _freeze(self, upstream: dict[str, str], model: str) -> None:
        from components.export.saved_model import export_saved_model
        from components.predictor import load_predictor

        keras_model = str(Path(upstream["train"]) / "model.keras")
        predictor = load_predictor(upstream["tokenize"], keras_model, self._task, self._decode)
        export_saved_model(
            predictor, list(predictor.tokenizers.values()), model, sources=list(upstream.values())
        )
