"""The configuration of a whole run."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field, ModelWrapValidatorHandler, PrivateAttr, model_validator
from ruamel.yaml import YAML

from components.evaluate.config import EvaluateConfig
from components.export.config import ExportConfig
from components.ingest.config import IngestConfig
from components.models.config import ModelConfig
from components.models.decode import DecodeConfig
from components.strict import Strict, Task
from components.tokenize.config import TokenizeConfig
from components.train.config import TrainConfig
from pipeline.config.checks import misfits
from pipeline.config.defaults import fill_defaults, plain
from pipeline.config.problems import dotted
from pipeline.config.runners import LocalRunner, Runner
from pipeline.config.sweep import SweepConfig


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


class PipelineConfig(Strict):
    """One run: which files become which served model, and how.

    What is left out is filled in by task on construction, so that a configuration always says all that it
    means: the tokenizers, the decoder and its attention, the pooling, early stopping, the metrics and the
    experiment.
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
    """The tokenizer of each text column. Default: `auto`, by what the train split holds."""
    model: ModelConfig
    """The network between tokens and answer."""
    train: TrainConfig = Field(default_factory=TrainConfig)
    """How the model is fitted."""
    sweep: SweepConfig | None = None
    """Trials of one run, which differ in some settings. Default: one trial."""
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
    _written: dict[str, Any] = PrivateAttr(default_factory=dict)

    @model_validator(mode="wrap")
    @classmethod
    def _fill(cls, data: Any, validate: ModelWrapValidatorHandler[PipelineConfig]) -> PipelineConfig:
        if not isinstance(data, dict):
            return validate(data)
        config = validate(fill_defaults(data))
        if config.sweep is not None:
            config._written.update(plain(data))
        return config

    @property
    def epochs(self) -> int:
        """The most epochs that its model trains: with a readout in closed form one, a pass over the data."""
        return self.train.most_epochs if self.model.readout is None else 1

    @property
    def written(self) -> dict[str, Any]:
        """The data of a configuration with a sweep before anything was filled in; its trials are made of it.

        What is filled in depends on what is swept, as the decoder's units do on the encoder's.
        """
        return self._written

    def as_trial(self, sections: Mapping[str, Any]) -> PipelineConfig:
        """Returns it without a sweep.

        Args:
            sections: that are others, validated; whether they fit each other is not asked.
        """
        trial = self.model_copy(update={**sections, "sweep": None})
        trial._written = {}
        return trial

    @model_validator(mode="after")
    def _fits_its_task(self) -> PipelineConfig:
        problems = misfits(self.task, dict(self))
        if problems:
            raise ValueError("\n".join(f"{dotted(path)}: {message}" for path, message in problems))
        return self


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
