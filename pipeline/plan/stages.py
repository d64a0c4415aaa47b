"""The five stages: what each depends on, and how its transform is made.

Nothing heavy is imported until a transform is made.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from components.strict import Strict
from pipeline.config import PipelineConfig

if TYPE_CHECKING:
    import apache_beam as beam


@dataclass(frozen=True)
class StageDirectories:
    """Where an attempt at a stage works: the directory to fill, and the one that all attempts share."""

    output: str
    scratch: str


@dataclass(frozen=True)
class Stage:
    """What the plan and the job need to know of a stage.

    Args:
        name: as in pipeline.yaml and on the command line.
        upstream: the stages whose artifacts it reads.
        module: where its transform is; its source is part of the key.
        libraries: distributions whose version shapes the output.
        settings: the part of the configuration that shapes the output.
        transform: makes the Beam transform.
    """

    name: str
    upstream: tuple[str, ...]
    module: str
    libraries: tuple[str, ...]
    settings: Callable[[PipelineConfig], dict[str, Any]]
    transform: Callable[[PipelineConfig, StageDirectories], beam.PTransform]


def _ingest(config: PipelineConfig, directories: StageDirectories) -> beam.PTransform:
    from components.ingest.transform import Ingest

    return Ingest(config=config.ingest, task=config.task, output=directories.output)


def _tokenize(config: PipelineConfig, directories: StageDirectories) -> beam.PTransform:
    from components.tokenize.transform import Tokenize

    return Tokenize(config=config.tokenize, task=config.task, output=directories.output)


def _train(config: PipelineConfig, directories: StageDirectories) -> beam.PTransform:
    from components.train.transform import Train

    return Train(
        config=config.train,
        model=config.model,
        task=config.task,
        seed=config.seed,
        checkpoints=directories.scratch,
        output=directories.output,
    )


def _evaluate(config: PipelineConfig, directories: StageDirectories) -> beam.PTransform:
    from components.evaluate.transform import Evaluate

    return Evaluate(config=config.evaluate, decode=config.decode, task=config.task, output=directories.output)


def _export(config: PipelineConfig, directories: StageDirectories) -> beam.PTransform:
    from components.export.transform import Export

    return Export(config=config.export, task=config.task, decode=config.decode, output=directories.output)


def _dump(section: Strict | None, *exclude: str) -> dict[str, Any]:
    return section.model_dump(mode="json", exclude=set(exclude)) if section else {}


STAGES: tuple[Stage, ...] = (
    Stage(
        name="ingest",
        upstream=(),
        module="components.ingest.transform",
        libraries=("apache-beam", "pyarrow"),
        # The files count by their content.
        settings=lambda config: {"task": config.task, "ingest": _dump(config.ingest, "files")},
        transform=_ingest,
    ),
    Stage(
        name="tokenize",
        upstream=("ingest",),
        module="components.tokenize.transform",
        libraries=("tensorflow", "tensorflow-text", "sentencepiece"),
        settings=lambda config: {"task": config.task, "tokenize": _dump(config.tokenize)},
        transform=_tokenize,
    ),
    Stage(
        name="train",
        upstream=("ingest", "tokenize"),
        module="components.train.transform",
        libraries=("tensorflow", "keras", "numpy", "scipy"),
        settings=lambda config: {
            "task": config.task,
            "seed": config.seed,
            "model": _dump(config.model),
            "train": _dump(config.train),
        },
        transform=_train,
    ),
    Stage(
        name="evaluate",
        upstream=("ingest", "tokenize", "train"),
        module="components.evaluate.transform",
        libraries=("tensorflow", "tensorflow-text", "keras", "sacrebleu", "rapidfuzz", "matplotlib"),
        settings=lambda config: {
            "task": config.task,
            "decode": _dump(config.decode),
            # What is good enough is not asked before everything is measured.
            "evaluate": {
                **_dump(config.evaluate, "bless"),
                "metrics": config.evaluate.measured(config.task),
            },
        },
        transform=_evaluate,
    ),
    Stage(
        name="export",
        upstream=("ingest", "tokenize", "train", "evaluate"),
        module="components.export.transform",
        libraries=("tensorflow", "tensorflow-text", "keras", "tensorflow-serving-api"),
        settings=lambda config: {
            "task": config.task,
            "decode": _dump(config.decode),
            "export": _dump(config.export, "directory", "keep_versions"),
        },
        transform=_export,
    ),
)
