"""The five stages: what each reads, what shapes its artifact and each part of it, how its transform is made.

Nothing heavy is imported until a transform is made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from components.artifacts.artifact import Artifact
from components.artifacts.evaluation import Evaluation
from components.artifacts.examples import Examples
from components.artifacts.exported_model import ExportedModel
from components.artifacts.tokens import Tokens
from components.artifacts.trained_model import TrainedModel
from components.ingest.sources import Source
from components.ingest.splits import held_out
from components.strict import SPLITS, Strict
from components.train.monitor import GREEDY, greedy, is_measured
from components.work import Work
from pipeline.config import PipelineConfig
from pipeline.plan.ingredients import Ingredients

if TYPE_CHECKING:
    import apache_beam as beam

Transform = Callable[[PipelineConfig, Sequence[Source], Work], "beam.PTransform"]


@dataclass(frozen=True)
class Stage:
    """What the plan and the job need to know of a stage.

    Args:
        kind: the class of its artifacts; its name is the stage's.
        reads: the parts that it reads of the artifacts of other stages.
        module: where its transform is; its source is part of the key.
        libraries: distributions whose version shapes the output.
        settings: the part of the configuration that shapes the output.
        parts: what shapes each part of the artifact; a part that is left out is shaped by all.
        lineage: of all that shapes a training, what shapes it up to any epoch; None for other stages.
        transform: makes the Beam transform.
        changes: what of all this is otherwise with some configurations.
        remark: what else there is to say of a stage that runs because of these differences.
    """

    kind: type[Artifact]
    reads: Mapping[str, tuple[str, ...]]
    module: str
    libraries: tuple[str, ...]
    settings: Callable[[PipelineConfig], dict[str, Any]]
    transform: Transform
    parts: Callable[[PipelineConfig, Ingredients], dict[str, Ingredients]] = lambda _, whole: {}
    lineage: Callable[[PipelineConfig, Ingredients], Ingredients] | None = field(default=None)
    changes: Callable[[PipelineConfig], dict[str, Any]] = lambda _: {}
    remark: Callable[[PipelineConfig, Sequence[str]], str] = lambda _, __: ""

    def configured(self, config: PipelineConfig) -> Stage:
        """Returns the stage as it is with a configuration."""
        return replace(self, **self.changes(config))

    @property
    def name(self) -> str:
        """As in pipeline.yaml and on the command line."""
        return self.kind.stage


def _ingest(config: PipelineConfig, sources: Sequence[Source], work: Work) -> beam.PTransform:
    from components.ingest.transform import Ingest

    return Ingest(config.ingest, config.task, sources, work)


def _ingest_settings(config: PipelineConfig) -> dict[str, Any]:
    # The files count by their content, and fractions only where no files are named.
    settings = _dump(config.ingest, "files", "holdout")
    return {"task": config.task, "ingest": {**settings, "holdout": held_out(config.ingest)}}


def _ingest_parts(config: PipelineConfig, whole: Ingredients) -> dict[str, Ingredients]:
    examples = ("ingest.keep", "ingest.max_rejected")
    own = config.ingest.files if isinstance(config.ingest.files, dict) else {"train": ()}
    parts: dict[str, Ingredients] = {
        split: whole.reduced(without=examples, data=(split if split in own else "train",)) for split in SPLITS
    }
    return {**parts, "kept": whole.reduced(without=("ingest.max_rejected",))}


def _tokenize(config: PipelineConfig, sources: Sequence[Source], work: Work) -> beam.PTransform:
    from components.tokenize.transform import Tokenize

    return Tokenize(config.tokenize, config.task, work)


def _tokenize_parts(config: PipelineConfig, whole: Ingredients) -> dict[str, Ingredients]:
    parts: dict[str, Ingredients] = {
        split: whole.reduced(upstream=("ingest train", f"ingest {split}")) for split in SPLITS
    }
    return {**parts, "vocabulary": whole.reduced(upstream=("ingest train",))}


def _train(config: PipelineConfig, sources: Sequence[Source], work: Work) -> beam.PTransform:
    from components.train.transform import Train

    return Train(config.train, config.model, config.task, config.seed, work)


def _train_monitored(config: PipelineConfig, sources: Sequence[Source], work: Work) -> beam.PTransform:
    from components.train.monitored import monitored_train

    return monitored_train(config.train, config.model, config.task, config.seed, work, config.decode)


def _train_settings(config: PipelineConfig) -> dict[str, Any]:
    settings: dict[str, Any] = {"task": config.task, "seed": config.seed}
    settings |= {"model": _dump(config.model), "train": _dump(config.train)}
    if is_measured(config.train) and config.task == "seq2seq":
        settings["decode"] = greedy(config.decode).model_dump(mode="json", include=GREEDY)
    return settings


def _train_changes(config: PipelineConfig) -> dict[str, Any]:
    """A metric of evaluate is measured on raw texts, by the code of evaluate."""
    if not is_measured(config.train):
        return {}
    return {
        "reads": {"ingest": ("validation",), "tokenize": ("vocabulary", "train", "validation")},
        "module": "components.train.monitored",
        "libraries": (
            *("tensorflow", "tensorflow-text", "keras", "numpy", "scipy"),
            *("sacrebleu", "rapidfuzz", "pyarrow"),
        ),
        "transform": _train_monitored,
    }


def _train_lineage(config: PipelineConfig, whole: Ingredients) -> Ingredients:
    """A training goes on after its last epoch, unless something changes over all of its epochs."""
    return whole if config.train.spans_epochs else whole.reduced(without=("train.epochs",))


def _train_remark(config: PipelineConfig, differences: Sequence[str]) -> str:
    reason = config.train.spans_epochs
    other = any(each.startswith("train.epochs: ") for each in differences)
    return f"trains from the start, as {reason}" if reason and other else ""


def _evaluate(config: PipelineConfig, sources: Sequence[Source], work: Work) -> beam.PTransform:
    from components.evaluate.transform import Evaluate

    return Evaluate(config.evaluate, config.decode, config.task, work)


def _evaluate_parts(config: PipelineConfig, whole: Ingredients) -> dict[str, Ingredients]:
    figures = ("metrics", "resamples", "slices", "worst_examples", "attention_maps")
    answered = whole.upstream.keys() - {"ingest kept", "tokenize report"}
    return {"predictions": whole.reduced([f"evaluate.{name}" for name in figures], upstream=answered)}


def _export(config: PipelineConfig, sources: Sequence[Source], work: Work) -> beam.PTransform:
    from components.export.transform import Export

    return Export(config.export, config.task, config.decode, work)


def _dump(section: Strict | None, *exclude: str) -> dict[str, Any]:
    return section.model_dump(mode="json", exclude=set(exclude)) if section else {}


STAGES: tuple[Stage, ...] = (
    Stage(
        kind=Examples,
        reads={},
        module="components.ingest.transform",
        libraries=("apache-beam", "pyarrow"),
        settings=_ingest_settings,
        parts=_ingest_parts,
        transform=_ingest,
    ),
    Stage(
        kind=Tokens,
        reads={"ingest": SPLITS},
        module="components.tokenize.transform",
        libraries=("tensorflow", "tensorflow-text", "sentencepiece", "pyarrow"),
        settings=lambda config: {"task": config.task, "tokenize": _dump(config.tokenize)},
        parts=_tokenize_parts,
        transform=_tokenize,
    ),
    Stage(
        kind=TrainedModel,
        reads={"tokenize": ("vocabulary", "train", "validation")},
        module="components.train.transform",
        libraries=("tensorflow", "keras", "numpy", "scipy"),
        settings=_train_settings,
        lineage=_train_lineage,
        transform=_train,
        changes=_train_changes,
        remark=_train_remark,
    ),
    Stage(
        kind=Evaluation,
        reads={
            "ingest": ("validation", "test", "kept"),
            "tokenize": ("vocabulary", "report"),
            "train": ("model",),
        },
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
        parts=_evaluate_parts,
        transform=_evaluate,
    ),
    Stage(
        kind=ExportedModel,
        reads={"tokenize": ("vocabulary",), "train": ("model",), "evaluate": ("predictions",)},
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
