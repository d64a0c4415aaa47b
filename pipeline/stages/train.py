"""Tokens to a fitted model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from components.artifacts.artifact import Artifact
from components.artifacts.trained_model import CURVES, TrainedModel
from components.train.coverage import told
from components.train.monitor import GREEDY, greedy, is_measured
from pipeline.config import PipelineConfig, flatten
from pipeline.plan.fingerprint import library_versions, source_fingerprint
from pipeline.plan.ingredients import Ingredients
from pipeline.stages.log import StageLog
from pipeline.stages.stage import NodeWork, Reads, Stage, dump
from pipeline.stages.tokenize import INITIAL_TOKENS

if TYPE_CHECKING:
    import apache_beam as beam

    from components.train.transform import Trial


_MONITORED = "components.train.monitored"
_MEASURING = ("tensorflow-text", "sacrebleu", "rapidfuzz", "pyarrow")  # what evaluate's metrics need
VECTORS = "vector"
"""What people call the file of word vectors."""
INITIAL_MODEL = "initial_model"
"""The name by which the model is read that training starts from."""


class TrainStage(Stage):
    """Fits a trial's model; all trials are elements of one step.

    Args:
        stop: the epoch after which it stops; 0 for `train.epochs`.
    """

    kind = TrainedModel
    module = "components.train.transform"
    libraries = ("tensorflow", "keras", "numpy", "scipy")
    together = True
    of_trial = True

    def __init__(self, stop: int = 0) -> None:
        self.stop = stop

    def stopping(self, epoch: int) -> TrainStage:
        """Trains until the end of an epoch; the schedules span `train.epochs` all the same."""
        return TrainStage(epoch)

    def reads(self, config: PipelineConfig) -> Reads:
        """The tokens that it fits to, those that it is watched on, and where it starts from."""
        texts = {"ingest": ("validation",)} if is_measured(config.train) else {}
        initial: Reads = {}
        if config.train.init_from:
            initial = {INITIAL_TOKENS: ("vocabulary",), INITIAL_MODEL: ("model",)}
        return {**texts, "tokenize": ("vocabulary", "train", "validation"), **initial}

    def settings(self, config: PipelineConfig) -> dict[str, Any]:
        """Network, fitting and seed; greedy decoding where a metric of texts is monitored."""
        settings: dict[str, Any] = {
            "task": config.task,
            "seed": config.seed,
            "model": dump(config.model),
            # The earlier model counts by what it means, and the machine not at all.
            "train": dump(config.train, "init_from", "resources"),
        }
        del settings["model"]["embeddings"]["file"]  # it counts by its content
        if is_measured(config.train) and config.task == "seq2seq":
            settings["decode"] = greedy(config.decode).model_dump(mode="json", include=GREEDY)
        if self.stop and config.train.spans_epochs:
            settings["stop"] = self.stop
        elif self.stop:  # it is the same as a training of so many epochs
            settings["train"]["epochs"] = self.stop
        return settings

    def source(self, config: PipelineConfig) -> str:
        """The code of evaluate counts only where its metrics are monitored."""
        if is_measured(config.train):
            return source_fingerprint(_MONITORED)
        return source_fingerprint(self.module, without=("components.evaluate",))

    def versions(self, config: PipelineConfig) -> dict[str, str]:
        """The same of evaluate's libraries."""
        measured = _MEASURING if is_measured(config.train) else ()
        return {**super().versions(config), **library_versions(measured)}

    def user_files(self, config: PipelineConfig) -> Mapping[str, str]:
        """Word vectors."""
        file = config.model.embeddings.file
        return {VECTORS: file} if file else {}

    def plugs(self, config: PipelineConfig) -> tuple[object, ...]:
        """Layers and tokenizers, and the metric that is monitored."""
        return (config.tokenize, config.model, config.train)

    def lineage(self, config: PipelineConfig, whole: Ingredients) -> Ingredients:
        """A training goes on after its last epoch, unless something spans all of its epochs."""
        spanned = () if config.train.spans_epochs else ("train.epochs",)
        return whole.reduced(without=("stop", *spanned))

    def remark(self, config: PipelineConfig, differences: Sequence[str]) -> str:
        """Says why more epochs do not go on from the last checkpoint."""
        reason = config.train.spans_epochs
        more = any(difference.startswith("train.epochs: ") for difference in differences)
        return f"trains from the start, as {reason}" if reason and more else ""

    def deterministic(self, config: PipelineConfig) -> bool:
        """As it is configured."""
        return config.train.deterministic

    def work(self, node: NodeWork) -> beam.PTransform:
        """A step of its own for one trial."""
        return self.transform([node])

    def transform(self, nodes: Sequence[NodeWork]) -> beam.PTransform:
        """Makes components.train.transform.Train."""
        from components.train.transform import Train

        return Train({node.name: _trial(node, self.stop) for node in nodes})

    def describe(self, summary: Mapping[str, Any]) -> str:
        """Says how large the model is, which epoch was kept, and its loss."""
        name = "loss" if "loss" in summary else "squared_error"  # of a readout in closed form
        kept = f"{summary['parameters']:,} parameters, epoch {summary['kept_epoch']} kept"
        return f"{kept}, {name.replace('_', ' ')} {summary.get(f'val_{name}', summary[name]):.4f}"

    def details(self, summary: Mapping[str, Any]) -> list[str]:
        """Says what it was trained on, how much of the vocabulary had vectors, and what was chosen."""
        if "device" not in summary:  # of an earlier version
            return []
        intra, inter = (summary["threads"][name] for name in ("intra_op", "inter_op"))
        earlier = "".join(f" (begun with {count})" for count in summary.get("earlier_threads", ()))
        threads = f"{intra} {'thread' if intra == 1 else 'threads'} within operations{earlier}"
        vectors = [told(summary["vectors"])] if "vectors" in summary else []
        chosen = [entry["why"] for entry in summary.get("chosen", {}).values()]
        return [f"on {summary['device']}, {threads} and {inter} between them", *vectors, *chosen]

    def log(self, artifact: Artifact) -> StageLog:
        """Adds the device, what was chosen, the epochs and their curves."""
        log = super().log(artifact)
        assert isinstance(artifact, TrainedModel)
        history = artifact.history()
        log.metrics["best_epoch"] = history["best_epoch"]
        log.epochs = history["epochs"]
        for section, chosen in artifact.summary.get("chosen", {}).items():
            log.params |= flatten({f"chosen.{section}": chosen["settings"]})
        if device := artifact.summary.get("device"):
            threads = artifact.summary["threads"]
            log.tags |= {"device": device, **{f"threads.{name}": str(threads[name]) for name in threads}}
        if artifact.has(CURVES):
            log.files[CURVES] = CURVES
        return log


def _trial(node: NodeWork, stop: int) -> Trial:
    from components.train.transform import Trial
    from components.train.warm_start import InitialModel

    config = node.config
    trial = Trial(
        config.train,
        config.model,
        config.task,
        config.seed,
        node.work,
        stop=stop,
        parallel=node.parallel,
        vectors=node.files.get(VECTORS),
    )
    if INITIAL_MODEL in node.given:
        initial = InitialModel(node.given[INITIAL_TOKENS], node.given[INITIAL_MODEL])
        trial = replace(trial, initial=initial)
    if not is_measured(config.train):
        return trial
    from components.train.monitored import measuring

    return replace(trial, measuring=measuring(config.train, config.task, config.decode))
