"""A candidate and examples to metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.artifacts.artifact import Artifact
from components.artifacts.evaluation import Evaluation
from components.evaluate.candidates import Candidate, Exported, Trained
from components.evaluate.metrics import shown
from pipeline.config import PipelineConfig
from pipeline.plan.fingerprint import library_versions
from pipeline.plan.ingredients import Ingredients
from pipeline.stages.log import StageLog
from pipeline.stages.stage import NodeWork, Reads, Stage, dump

if TYPE_CHECKING:
    import apache_beam as beam

EXAMPLES = ("validation", "test", "kept")
_PICTURES = "plots/"
_FIGURES = (  # they shape no answer
    "metrics",
    "resamples",
    "slices",
    "worst_examples",
    "attention_maps",
    "baseline",
    "target_accuracy",
    "threshold",
)
_FLOORS = ("train",)


class EvaluateStage(Stage):
    """Measures a candidate on the test split.

    Args:
        candidate: the model that is measured; by default the one that the trial has trained.
        floors: whether floors are measured beside it; on the same examples once is enough.
    """

    kind = Evaluation
    module = "components.evaluate.transform"
    libraries = ("tensorflow", "tensorflow-text", "keras", "sacrebleu", "rapidfuzz", "matplotlib")
    of_trial = True
    leads = True

    def __init__(self, candidate: Candidate | None = None, floors: bool = True) -> None:
        self.candidate = candidate or Trained()
        self.floors = floors

    def reads(self, config: PipelineConfig) -> Reads:
        """The examples, those of train for the floors, and what the candidate is made of."""
        train = _FLOORS if self.floors else ()
        return {"ingest": (*train, *EXAMPLES), **self.candidate.reads}

    def settings(self, config: PipelineConfig) -> dict[str, Any]:
        """What is measured; what is good enough is not asked before everything is measured."""
        own = () if self.floors else ("baseline",)
        evaluate = {**dump(config.evaluate, "bless", *own), "metrics": config.evaluate.measured(config.task)}
        if not self.candidate.identity:
            return {"task": config.task, "evaluate": evaluate, "decode": dump(config.decode)}
        # It brings its own decoder and temperature, and answers alike in batches of any size.
        del evaluate["batch_size"], evaluate["calibrate"]
        if self.candidate.chosen:
            evaluate["threshold"] = dict(vars(self.candidate.chosen))
        return {"task": config.task, "evaluate": evaluate, "candidate": self.candidate.identity}

    def versions(self, config: PipelineConfig) -> dict[str, str]:
        """The baseline needs another library."""
        needed = ("scikit-learn",) if self.floors and config.evaluate.baseline else ()
        return {**super().versions(config), **library_versions(needed)}

    def plugs(self, config: PipelineConfig) -> tuple[object, ...]:
        """Metrics, and what the candidate is made of."""
        own = () if self.candidate.identity else (config.tokenize, config.model)
        return (config.evaluate, *own)

    def parts(self, config: PipelineConfig, whole: Ingredients) -> dict[str, Ingredients]:
        """What is only counted shapes no answer."""
        answered = whole.upstream.keys() - {"ingest kept", "ingest train", "tokenize report"}
        return {"predictions": whole.reduced([f"evaluate.{name}" for name in _FIGURES], upstream=answered)}

    def carried(self, carry: Callable[[Path], str]) -> EvaluateStage:
        """Has workers read an exported candidate from there."""
        if not isinstance(self.candidate, Exported):
            return self
        candidate = replace(self.candidate, directory=carry(Path(self.candidate.directory)))
        return EvaluateStage(candidate, self.floors)

    def work(self, node: NodeWork) -> beam.PTransform:
        """Makes components.evaluate.transform.Evaluate."""
        from components.evaluate.transform import Evaluate

        config = node.config
        return Evaluate(
            config.evaluate,
            config.decode,
            config.task,
            node.work,
            self.candidate,
            self.floors,
            tuple(config.ingest.keep),
        )

    def describe(self, summary: Mapping[str, Any]) -> str:
        """Names the metrics beside the floors, and counts the examples."""
        return f"{format_metrics(summary)} on {summary['examples']:,} examples"

    def details(self, summary: Mapping[str, Any]) -> list[str]:
        """Says how scores were calibrated, which threshold a target accuracy needs, and the worst slice."""
        worst = [summary["worst_slice"]] if "worst_slice" in summary else []
        return [*summary.get("confidence", []), *worst]

    def log(self, artifact: Artifact) -> StageLog:
        """Adds metrics, intervals and plots."""
        log = super().log(artifact)
        assert isinstance(artifact, Evaluation)
        report = artifact.report()
        split = report["split"]
        log.metrics = {f"{split}/{name}": value for name, value in report["metrics"].items()}
        for metric, (low, high) in report["intervals"].items():
            log.intervals |= {f"{split}/{metric}.low": low, f"{split}/{metric}.high": high}
        for floor, figures in report.get("floors", {}).items():
            log.metrics |= {f"floor/{floor}/{name}": value for name, value in figures["metrics"].items()}
        log.metrics |= _confidence_metrics(report.get("confidence", {}), split)
        log.files |= {name: name for name in artifact.names(_PICTURES)}
        return log


def _confidence_metrics(confidence: Mapping[str, Any], split: str) -> dict[str, float]:
    """What MLflow gets of a classifier's confidence."""
    fitted, before = confidence.get("temperature"), confidence.get("uncalibrated")
    threshold = confidence.get("threshold") or {}
    values = {
        "temperature": fitted and fitted["temperature"],
        f"{split}/aurc": confidence.get("aurc"),
        f"{split}/calibration_error.uncalibrated": before and before["calibration_error"],
    }
    if chosen := threshold.get("chosen"):
        values["threshold"] = chosen["threshold"]
        here = threshold["evaluated"]
        values |= {f"{split}/threshold.{name}": here[name] for name in ("coverage", "accuracy")}
    return {name: value for name, value in values.items() if value is not None}


def format_metrics(summary: Mapping[str, Any]) -> str:
    """Returns the metrics in a line, each with the floors behind it.

    Args:
        summary: of an evaluation.
    """
    shown_metrics = []
    for name, value in summary["metrics"].items():
        floors = ", ".join(
            f"{floor} {shown(name, metrics[name])}"
            for floor, metrics in summary.get("floors", {}).items()
            if name in metrics
        )
        shown_metrics.append(f"{name} {shown(name, value)}{f' ({floors})' if floors else ''}")
    return ", ".join(shown_metrics)
