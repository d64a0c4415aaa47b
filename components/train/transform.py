"""The train stage."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, as_completed
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import apache_beam as beam
from apache_beam.pvalue import AsDict
from apache_beam.transforms.window import GlobalWindows
from apache_beam.utils.windowed_value import WindowedValue
from upath import UPath

from components import files
from components.artifacts.artifact import Reference, inputs_hash, manifest_path
from components.artifacts.tokens import Tokens
from components.artifacts.trained_model import checkpoint_folder
from components.errors import NoSpaceError, UserError
from components.heartbeat import Heartbeat, is_beating
from components.models.config import ModelConfig, readout_problem
from components.out_of_memory import naming_batch_size
from components.reports import Warned, emit
from components.strict import Task
from components.train.adapt import Summarize
from components.train.config import TrainConfig
from components.train.resources import Resources
from components.train.warm_start import InitialModel, check_network
from components.user_file import UserFile
from components.work import Attempt, Failed, Made, Work

if TYPE_CHECKING:
    import keras

_READ = {
    "ingest": ("validation",),
    "tokenize": ("vocabulary", "train", "validation"),
    "initial_tokens": ("vocabulary",),
    "initial_model": ("model",),
}
_SMALLER = "the sizes of the model or a tokenizer's max_sequence_length"
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
        stop: the epoch after which it stops, as if it had been cut short there; 0 for `config.epochs`.
        vectors: the file that `model.embeddings` names.
        parallel: of a trial of a sweep, how many a worker trains at the same time, in processes of their own;
            an error is the trial's own affair. 0 of a run of one trial.

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
    stop: int = 0
    parallel: int = 0
    vectors: UserFile | None = None

    def __post_init__(self) -> None:
        if problem := readout_problem(self.model, self.task):
            raise UserError(f"model.readout: {problem}")
        if self.initial is not None:
            check_network(self.initial, self.model)


class Train(beam.PTransform):
    """Fits models to tokens; makes a TrainedModel of every trial.

    Trials are elements of one step; if they need different resources, of a step for each kind of machine. The
    trial of a run of one with a readout in closed form has steps of its own, in which the data are parallel.

    Args:
        trials: by the names of their nodes.
    """

    def __init__(self, trials: Mapping[str, Trial]) -> None:
        super().__init__()
        self._trials = trials

    def expand(self, nodes: beam.PCollection) -> beam.PCollection:
        """(node, {"tokenize": reference, ...}) to (node, Made or Failed); see `result` for its summary."""
        made = []
        summaries: list[beam.PCollection] = []
        fitted: dict[str, Trial] = {}
        for name, trial in self._trials.items():
            if trial.model.readout is not None and not trial.parallel:
                from components.train.readout import FitReadout

                fit = _placed(FitReadout(trial), trial.config.resources)
                made.append(_inputs(nodes, name) | f"{name} readout" >> fit | f"{name} made" >> _named(name))
                continue
            fitted[name] = trial
            if trial.model.encoder.adapts:
                summarize = Summarize(trial.model.encoder, trial.task, trial.work)
                summary = _inputs(nodes, name) | f"{name} summarize" >> summarize
                summaries.append(summary | f"{name} summarized" >> _named(name))
        if fitted:
            known = AsDict(tuple(summaries) | "summaries" >> beam.Flatten(pipeline=nodes.pipeline))
            for number, (resources, trials) in enumerate(_by_resources(fitted), start=1):
                fit = _placed(beam.ParDo(_Fit(trials), known), resources)
                made.append(nodes | ("fit" if number == 1 else f"fit {number}") >> fit)
        # Behind a Flatten the first trial would wait for the last one.
        return made[0] if len(made) == 1 else tuple(made) | "all trials" >> beam.Flatten()


def _by_resources(trials: Mapping[str, Trial]) -> list[tuple[Resources | None, dict[str, Trial]]]:
    """Trials that need the same of their machine together, as a step has one kind."""
    groups: dict[Resources | None, dict[str, Trial]] = {}
    for name, trial in trials.items():
        groups.setdefault(trial.config.resources, {})[name] = trial
    return list(groups.items())


def _placed(transform: beam.PTransform, resources: Resources | None) -> beam.PTransform:
    """Has an engine that chooses machines give the steps of a transform what they need."""
    return transform.with_resource_hints(**resources.hints()) if resources else transform


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
    """Trials of a sweep overlap, as many as their `parallel` says: the bundle's end waits for them."""

    def __init__(self, trials: Mapping[str, Trial]) -> None:
        self._trials = trials

    def start_bundle(self) -> None:
        self._at_work: dict[Future[Made], str] = {}

    def process(
        self, node: tuple[str, dict[str, Reference]], summaries: Mapping[str, Any]
    ) -> Iterator[tuple[str, Made]]:
        name, inputs = node
        trial = self._trials.get(name)
        if trial is None:
            return
        if not trial.parallel:
            yield name, train_here(trial, inputs, summaries.get(name))
            return
        from components.train.children import pool_of

        self._at_work[pool_of(trial.parallel).submit(trial, inputs, summaries.get(name))] = name

    def finish_bundle(self) -> Iterator[WindowedValue]:
        try:
            for done in as_completed(self._at_work):
                yield GlobalWindows.windowed_value((self._at_work[done], _made_or_failed(done)))
        finally:  # what is trained while the job fails could not be committed
            for waiting in self._at_work:
                waiting.cancel()


def _made_or_failed(done: Future[Made]) -> Made | Failed:
    try:
        return done.result()
    except (OSError, NoSpaceError):  # which would meet the other trials, too
        raise
    except Exception as error:
        return Failed(str(error))


def train_here(
    trial: Trial,
    inputs: dict[str, Reference],
    summary: Any,
    admit: Callable[[int], None] = lambda needed: None,
) -> Made:
    """Trains a trial in this process.

    Args:
        trial: what is trained.
        inputs: what the stage reads.
        summary: what the encoder has to know of the train split; None if nothing.
        admit: is told the bytes that are needed, as far as they are known; returns when they may be taken.
    """
    if trial.model.readout is not None:
        from components.train.readout import fit_readout_here

        return fit_readout_here(trial, inputs, admit)
    return _Training(trial, admit)(inputs, summary)


class _Training:
    """The training of one trial."""

    def __init__(self, trial: Trial, admit: Callable[[int], None]) -> None:
        self._admit = admit
        self._config = trial.config
        self._model = trial.model
        self._task = trial.task
        self._seed = trial.seed
        self._work = trial.work
        self._measuring = trial.measuring
        self._initial = trial.initial
        self._vectors = trial.vectors
        self._stop = trial.stop

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
        began = time.monotonic()
        with self._work.attempt("fit") as attempt:
            _wait(folder / "heartbeat", manifest, attempt.id)
            with Heartbeat(folder / "heartbeat", name=attempt.id):
                made = self._train(inputs, summary, folder, attempt)
        return replace(made, seconds=time.monotonic() - began)

    def _train(
        self,
        inputs: dict[str, Reference],
        summary: Any,
        folder: UPath,
        attempt: Attempt,
    ) -> Made:
        from components.train.checkpoint import Checkpoints
        from components.train.class_weight import label_weights
        from components.train.dataset import TokenData
        from components.train.devices import device_facts, training_strategy, warn_of_idle_gpus
        from components.train.epochs import settled_epochs
        from components.train.loop import Trainer
        from components.train.memory import check_memory
        from components.train.network import built
        from components.train.result import result
        from components.train.scope import training_scope
        from components.train.start import model_sizes, new_model
        from components.train.vectors import put_vectors
        from components.train.warm_start import start_from

        config, tokens = self._config, Tokens.load(inputs["tokenize"])
        split = partial(
            TokenData, tokens, task=self._task, batch_size=config.batch_size, buckets=config.length_buckets
        )
        weights = label_weights(config.class_weight, tokens)
        splits = split("train", label_weights=weights), split("validation")
        checkpoints = Checkpoints(self._work.root, folder, attempt.id)
        longest = max(splits[0].lengths().max(initial=1), 1)
        sizes = model_sizes(self._task, tokens)
        network, chosen = built(self._model, self._task, tokens, self._vectors)
        config, settled = settled_epochs(config, self._task, int(splits[0].lengths().sum()))
        chosen |= settled
        started: dict[str, Any] = {"chosen": chosen} if chosen else {}
        self._admit(check_memory(config, network, self._task, sizes, int(longest)))
        with training_scope(self._seed, config.precision, config.deterministic):
            strategy = training_strategy(config.devices)
            devices = strategy.num_replicas_in_sync
            with strategy.scope():
                model = new_model(network, self._task, tokens, self._seed)
                if self._vectors is not None:
                    started["vectors"] = put_vectors(model, self._task, tokens, self._vectors)
            warn_of_idle_gpus(model, devices)
            if summary is not None:
                self._model.encoder.adapt(model.encoder, summary)
            if self._initial is not None:
                started["init"] = start_from(model, tokens, self._initial)
            measure = self._measuring(model, inputs) if self._measuring else None
            trainer = Trainer(model, config, *splits, self._seed, checkpoints, measure, strategy, self._stop)
            with naming_batch_size("train.batch_size", config.batch_size, _SMALLER):
                history, kept = trainer.fit(), trainer.kept()
        if trainer.earlier_threads:
            started["earlier_threads"] = trainer.earlier_threads
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
            **device_facts(devices),
        )


def _wait(heartbeat: UPath, manifest: UPath, attempt: str) -> None:
    """Waits while another attempt is at this very training; its last checkpoint saves the work then."""
    if not is_beating(heartbeat, others_than=attempt):
        return
    emit(Warned("train", "another run is training this very model: waiting for its result"))
    while is_beating(heartbeat, others_than=attempt) and not files.exists(manifest):
        time.sleep(_PATIENCE)
