"""The configuration of a whole run."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, Field, model_validator
from ruamel.yaml import YAML

from components.evaluate.config import EvaluateConfig
from components.evaluate.metrics import metric_names
from components.export.config import ExportConfig
from components.ingest.config import IngestConfig
from components.models.config import ModelConfig
from components.models.decode import DecodeConfig
from components.strict import FIELDS, Strict, Task
from components.tokenize.config import TokenizeConfig
from components.train.config import TrainConfig
from pipeline.config.checks import TEXTS, misfits
from pipeline.config.problems import dotted


class TrackingConfig(Strict):
    """Where runs are recorded."""

    enabled: bool = True
    """Whether runs are recorded in MLflow at all."""
    uri: str = "sqlite:///mlflow.db"
    """MLflow's tracking URI: a database or a server. A password in it is used and never recorded: for
    `rnnpipe track` set `MLFLOW_TRACKING_URI` to the whole address. A server's may also stand in
    `MLFLOW_TRACKING_USERNAME` and `MLFLOW_TRACKING_PASSWORD`."""
    experiment: str | None = None
    """The MLflow experiment, of at most 400 characters. Default: `name`."""


class LocalRunner(Strict):
    """In this process."""

    type: Literal["local"]


class ProcessesRunner(Strict):
    """In as many worker processes on this machine as it has cores."""

    type: Literal["processes"]


Runner = Annotated[LocalRunner | ProcessesRunner, Field(discriminator="type")]


class PipelineConfig(Strict):
    """One run: which files become which served model, and how.

    What is left out is filled in by task on construction, so that a configuration always says all that it
    means: the tokenizers, the decoder and its attention, the pooling, the metrics and the experiment.
    """

    renamed: ClassVar[Mapping[str, str]] = {"beam": "runner, with type instead of runner in it"}
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
    """The model's name: of its directories, of the served model and of the MLflow experiment. At most 200
    characters, and none of the names of what lies beside the models, such as `models.config`."""
    task: Task
    """`classification` (text to label) or `seq2seq` (text to text)."""
    root: str = "runs"
    """Directory of the artifacts."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 7
    """Seed of everything that is drawn at random."""
    ingest: IngestConfig
    """Which files to read, and how."""
    tokenize: TokenizeConfig = Field(default_factory=TokenizeConfig)
    """The tokenizer of each text column. Default: characters for all of them."""
    model: ModelConfig
    """The network between tokens and answer."""
    train: TrainConfig = Field(default_factory=TrainConfig)
    """How the model is fitted."""
    decode: DecodeConfig | None = None
    """seq2seq: how an answer is searched for. Default: the defaults of its keys."""
    evaluate: EvaluateConfig = Field(default_factory=EvaluateConfig)
    """What is measured on the test split, and what is good enough to be served."""
    export: ExportConfig = Field(default_factory=ExportConfig)
    """Where the served model goes."""
    tracking: TrackingConfig = Field(default_factory=TrackingConfig)
    """Where runs are recorded."""
    runner: Runner = LocalRunner(type="local")
    """What runs the Beam job."""

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, data: Any) -> Any:
        return fill_defaults(data) if isinstance(data, dict) else data

    @model_validator(mode="after")
    def _fits_its_task(self) -> PipelineConfig:
        problems = misfits(self.task, dict(self))
        if problems:
            raise ValueError("\n".join(f"{dotted(path)}: {message}" for path, message in problems))
        return self


def fill_defaults(data: dict[str, Any]) -> dict[str, Any]:
    """Returns the values of a `PipelineConfig` with the defaults that depend on the task or the name.

    Values of the wrong type are left for the validation to find.
    """
    task = data.get("task")
    if not isinstance(task, str) or task not in FIELDS:
        return data
    filled = {
        key: value.model_dump(exclude_unset=True) if isinstance(value, BaseModel) else value
        for key, value in data.items()
    }
    filled.setdefault("tokenize", {field: {"type": "characters"} for field in TEXTS[task]})
    if task == "seq2seq" and filled.get("decode") is None:
        filled["decode"] = {}
    if isinstance(model := filled.get("model"), dict):
        filled["model"] = _fill_model(task, model)
    evaluate = filled.get("evaluate", {})
    if isinstance(evaluate, dict) and evaluate.get("metrics", []) == []:
        filled["evaluate"] = {**evaluate, "metrics": list(metric_names(task))}
    name, tracking = filled.get("name"), filled.get("tracking", {})
    if isinstance(name, str) and isinstance(tracking, dict) and tracking.get("experiment") is None:
        filled["tracking"] = {**tracking, "experiment": name}
    return filled


def _fill_model(task: Task, model: dict[str, Any]) -> dict[str, Any]:
    if task == "classification":
        return {**model, "pooling": "last"} if model.get("pooling") is None else model
    if "decoder" in model or "attention" in model:  # once one is written, leaving the other out means none
        return model
    units = encoder.get("units") if isinstance(encoder := model.get("encoder"), dict) else None
    decoder = {"type": "gru"} | ({"units": units} if type(units) is int and units > 0 else {})
    return {**model, "attention": {"type": "bahdanau"}, "decoder": decoder}


def resolved(config: PipelineConfig) -> dict[str, Any]:
    """Returns `config` as plain data that JSON and YAML can hold, every default filled in."""
    return config.model_dump(mode="json")


def yaml_text(data: dict[str, Any]) -> str:
    """Returns plain data, such as `resolved` gives, as YAML."""
    text = io.StringIO()
    YAML(typ="safe").dump(data, text)
    return text.getvalue()


def flatten(data: dict[str, Any]) -> dict[str, Any]:
    """Returns nested data as one level, by the paths that --set takes.

    Args:
        data: Mappings, lists and scalars within each other, such as `resolved` returns.

    Returns:
        Scalars by dotted path, `train.optimizer.type` or `evaluate.metrics.0`. Empty mappings and lists have
        no entry.
    """
    flat: dict[str, Any] = {}
    for key, value in data.items():
        if isinstance(value, list):
            value = {str(index): item for index, item in enumerate(value)}
        if isinstance(value, dict):
            flat |= {f"{key}.{inner}": scalar for inner, scalar in flatten(value).items()}
        else:
            flat[key] = value
    return flat
