"""The train stage."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import apache_beam as beam
from apache_beam.pvalue import AsDict
from upath import UPath

from components import files
from components.artifacts.artifact import Reference, inputs_hash, manifest_path
from components.artifacts.tokens import Tokens
from components.artifacts.trained_model import checkpoint_folder
from components.errors import UserError
from components.heartbeat import Heartbeat, is_beating
from components.models.config import ModelConfig, readout_problem
from components.reports import Warned, emit
from components.strict import Task
from components.train.adapt import Summarize
from components.train.config import TrainConfig
from components.train.warm_start import InitialModel, check_network
from components.work import Attempt, Made, Work

if TYPE_CHECKING:
    import keras

_READ = {
    "ingest": ("validation",),
    "tokenize": ("vocabulary", "train", "validation"),
    "initial_tokens": ("vocabulary",),
    "initial_model": ("model",),
}
_PATIENCE = 1.0  # seconds between two looks at another's work: short, so that an interrupt is heard


Measuring = Callable[["keras.Model", Mapping[str, Reference]], Callable[[], float]]
"""Takes a model and what the stage reads, and gives a function that measures the model as it is then."""


@dataclass(frozen=True)
class Trial:
    """What is trained.

    Args:
        config: how to fit.
        model: what to fit.
        task: classification or seq2seq.
        seed: decides initial weights, dropout and the order of the examples.
        work: of its node.
        measuring: measures `config.monitored`, if that is a metric of evaluate; it also reads ingest.
        initial: an earlier model whose weights to start from, instead of drawn ones; `Tokenize` was given its
            tokens. Optimizer and schedules are fresh, and epochs count from 1. A training that is continued
            takes its weights from its checkpoint.

    Raises:
        UserError: the readout does not suit the model or the task, or the earlier model is another network.
    """

    config: TrainConfig
    model: ModelConfig
    task: Task
    seed: int
    work: Work
    measuring: Measuring | None = None
    initial: InitialModel | None = None

    def __post_init__(self) -> None:
        if problem := readout_problem(self.model, self.task):
            raise UserError(f"model.readout: {problem}")
        if self.initial is not None:
            check_network(self.initial, self.model)


class Train(beam.PTransform):
    """Fits models to tokens; makes a TrainedModel of every trial.

    Trials that are trained by gradient are elements of one step. Those with a readout in closed form have
    steps of their own, in which the data are parallel.

    Args:
        trials: by the names of their nodes.
    """

    def __init__(self, trials: Mapping[str, Trial]) -> None:
        super().__init__()
        self._trials = trials

    def expand(self, nodes: beam.PCollection) -> beam.PCollection:
        """(node, {"tokenize": reference, ...}) to (node, Made); see `result` for its summary."""
        made = []
        summaries: list[beam.PCollection] = []
        fitted = {name: trial for name, trial in self._trials.items() if trial.model.readout is None}
        for name, trial in self._trials.items():
            if trial.model.readout is not None:
                from components.train.readout import FitReadout

                fit = FitReadout(trial.model, trial.task, trial.seed, trial.config.batch_size, trial.work)
                made.append(_inputs(nodes, name) | f"{name} readout" >> fit | f"{name} made" >> _named(name))
            elif trial.model.encoder.adapts:
                summarize = Summarize(trial.model.encoder, trial.task, trial.work)
                summary = _inputs(nodes, name) | f"{name} summarize" >> summarize
                summaries.append(summary | f"{name} summarized" >> _named(name))
        if fitted:
            known = AsDict(tuple(summaries) | "summaries" >> beam.Flatten(pipeline=nodes.pipeline))
            made.append(nodes | "fit" >> beam.ParDo(_Fit(fitted), known))
        return tuple(made) | "all trials" >> beam.Flatten(pipeline=nodes.pipeline)


def _inputs(nodes: beam.PCollection, name: str) -> beam.PCollection:
    """What one node reads."""
    return (
        nodes
        | f"{name} alone" >> beam.Filter(lambda node, wanted: node[0] == wanted, name)
        | f"{name} inputs" >> beam.Values()
    )


def _named(name: str) -> beam.PTransform:
    return beam.Map(lambda value, node: (node, value), name)


class _Fit(beam.DoFn):
    def __init__(self, trials: Mapping[str, Trial]) -> None:
        self._trials = trials

    def process(
        self, node: tuple[str, dict[str, Reference]], summaries: Mapping[str, Any]
    ) -> Iterator[tuple[str, Made]]:
        name, inputs = node
        if name in self._trials:
            fit = _Training(self._trials[name])
            yield name, fit(inputs, summaries.get(name))


class _Training:
    """The training of one trial."""

    def __init__(self, trial: Trial) -> None:
        self._config = trial.config
        self._model = trial.model
        self._task = trial.task
        self._seed = trial.seed
        self._work = trial.work
        self._measuring = trial.measuring
        self._initial = trial.initial

    def __call__(self, inputs: dict[str, Reference], summary: Any) -> Made:
        read = inputs_hash(
            {
                f"{name} {part}": inputs[name].digests[part]
                for name, parts in _READ.items()
                for part in parts
                if name in inputs
            }
        )
        folder = checkpoint_folder(self._work, read)
        manifest = manifest_path(self._work.root, self._work.stage, self._work.key, read, self._work.number)
        with self._work.attempt("fit") as attempt:
            _wait(folder / "heartbeat", manifest, attempt.id)
            with Heartbeat(folder / "heartbeat", name=attempt.id):
                return self._train(inputs, summary, folder, attempt)

    def _train(
        self,
        inputs: dict[str, Reference],
        summary: Any,
        folder: UPath,
        attempt: Attempt,
    ) -> Made:
        from components.train.checkpoint import Checkpoints
        from components.train.dataset import TokenData
        from components.train.loop import Trainer
        from components.train.memory import check_memory
        from components.train.result import result
        from components.train.scope import training_scope
        from components.train.start import model_sizes, new_model
        from components.train.warm_start import start_from

        config, tokens = self._config, Tokens.load(inputs["tokenize"])
        split = partial(
            TokenData, tokens, task=self._task, batch_size=config.batch_size, buckets=config.length_buckets
        )
        splits = split("train"), split("validation")
        checkpoints = Checkpoints(self._work.root, folder, attempt.id)
        longest = max(splits[0].lengths().max(initial=1), 1)
        check_memory(config, self._model, self._task, model_sizes(self._task, tokens), int(longest))
        with training_scope(self._seed, config.precision, config.deterministic):
            model = new_model(self._model, self._task, tokens, self._seed)
            if summary is not None:
                self._model.encoder.adapt(model.encoder, summary)
            started = {} if self._initial is None else {"init": start_from(model, tokens, self._initial)}
            measure = self._measuring(model, inputs) if self._measuring else None
            trainer = Trainer(model, config, *splits, self._seed, checkpoints, measure)
            history, kept = trainer.fit(), trainer.kept()
        vocabulary = inputs["tokenize"].digests["vocabulary"]
        return result(
            attempt,
            model,
            history,
            kept["epoch"],
            vocabulary,
            checkpoints.newest,
            kept_step=kept["step"],
            **started,
        )


def _wait(heartbeat: UPath, manifest: UPath, attempt: str) -> None:
    """Waits while another attempt is at this very training; its last checkpoint saves the work then."""
    if not is_beating(heartbeat, others_than=attempt):
        return
    emit(Warned("train", "another run is training this very model: waiting for its result"))
    while is_beating(heartbeat, others_than=attempt) and not files.exists(manifest):
        time.sleep(_PATIENCE)
