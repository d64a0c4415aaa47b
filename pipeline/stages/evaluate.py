"""A candidate and examples to metrics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from components.artifacts.artifact import Artifact
from components.artifacts.evaluation import Evaluation
from components.evaluate.candidates import Candidate, Trained
from components.evaluate.metrics import shown
from pipeline.config import PipelineConfig
from pipeline.plan.ingredients import Ingredients
from pipeline.stages.log import StageLog
from pipeline.stages.stage import NodeWork, Reads, Stage, dump

if TYPE_CHECKING:
    import apache_beam as beam

EXAMPLES = ("validation", "test", "kept")
_PICTURES = "plots/"
_FIGURES = ("metrics", "resamples", "slices", "worst_examples", "attention_maps")  # they shape no answer


class EvaluateStage(Stage):
    """Measures a candidate on the test split.

    Args:
        candidate: the model that is measured; by default the one that the trial has trained.
    """

    kind = Evaluation
    module = "components.evaluate.transform"
    libraries = ("tensorflow", "tensorflow-text", "keras", "sacrebleu", "rapidfuzz", "matplotlib")
    of_trial = True
    leads = True

    def __init__(self, candidate: Candidate | None = None) -> None:
        self.candidate = candidate or Trained()

    def reads(self, config: PipelineConfig) -> Reads:
        """The examples, and what the candidate is made of."""
        return {"ingest": EXAMPLES, **self.candidate.reads}

    def settings(self, config: PipelineConfig) -> dict[str, Any]:
        """What is measured; what is good enough is not asked before everything is measured."""
        evaluate = {**dump(config.evaluate, "bless"), "metrics": config.evaluate.measured(config.task)}
        if not self.candidate.identity:
            return {"task": config.task, "evaluate": evaluate, "decode": dump(config.decode)}
        # It brings its own decoder, and answers alike in batches of any size.
        del evaluate["batch_size"]
        return {"task": config.task, "evaluate": evaluate, "candidate": self.candidate.identity}

    def plugs(self, config: PipelineConfig) -> tuple[object, ...]:
        """Metrics, and what the candidate is made of."""
        own = () if self.candidate.identity else (config.tokenize, config.model)
        return (config.evaluate, *own)

    def parts(self, config: PipelineConfig, whole: Ingredients) -> dict[str, Ingredients]:
        """What is only counted shapes no answer."""
        answered = whole.upstream.keys() - {"ingest kept", "tokenize report"}
        return {"predictions": whole.reduced([f"evaluate.{name}" for name in _FIGURES], upstream=answered)}

    def work(self, node: NodeWork) -> beam.PTransform:
        """Makes components.evaluate.transform.Evaluate."""
        from components.evaluate.transform import Evaluate

        config = node.config
        return Evaluate(config.evaluate, config.decode, config.task, node.work, self.candidate)

    def describe(self, summary: Mapping[str, Any]) -> str:
        """Names the metrics, and counts the examples."""
        return f"{format_metrics(summary['metrics'])} on {summary['examples']:,} examples"

    def log(self, artifact: Artifact) -> StageLog:
        """Adds metrics, intervals and plots."""
        log = super().log(artifact)
        assert isinstance(artifact, Evaluation)
        report = artifact.report()
        split = report["split"]
        log.metrics = {f"{split}/{name}": value for name, value in report["metrics"].items()}
        for metric, (low, high) in report["intervals"].items():
            log.intervals |= {f"{split}/{metric}.low": low, f"{split}/{metric}.high": high}
        log.files |= {name: name for name in artifact.names(_PICTURES)}
        return log


def format_metrics(metrics: Mapping[str, float]) -> str:
    """Returns the metrics in a line."""
    return ", ".join(f"{name} {shown(name, value)}" for name, value in metrics.items())
