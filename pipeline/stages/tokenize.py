"""Examples to token ids, and the vocabularies that they are learnt by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from components.artifacts.artifact import Artifact
from components.artifacts.tokens import Tokens
from components.strict import SPLITS
from pipeline.config import PipelineConfig, flatten
from pipeline.plan.ingredients import Ingredients
from pipeline.stages.log import StageLog
from pipeline.stages.stage import NodeWork, Reads, Stage, dump

if TYPE_CHECKING:
    import apache_beam as beam


INITIAL_TOKENS = "initial_tokens"
"""The name by which the vocabularies of the model are read that training starts from."""


class TokenizeStage(Stage):
    """Learns the tokenizers, and applies them."""

    kind = Tokens
    module = "components.tokenize.transform"
    libraries = ("tensorflow", "tensorflow-text", "sentencepiece", "pyarrow")

    def reads(self, config: PipelineConfig) -> Reads:
        """The examples, and the vocabularies that a warm start keeps."""
        initial = {INITIAL_TOKENS: ("vocabulary",)} if config.train.init_from else {}
        return {"ingest": SPLITS, **initial}

    def settings(self, config: PipelineConfig) -> dict[str, Any]:
        """The tokenizers."""
        return {"task": config.task, "tokenize": dump(config.tokenize)}

    def plugs(self, config: PipelineConfig) -> tuple[object, ...]:
        """Tokenizers."""
        return (config.tokenize,)

    def parts(self, config: PipelineConfig, whole: Ingredients) -> dict[str, Ingredients]:
        """Vocabularies are learnt from the train split alone, and from those that are kept."""
        learnt = ("ingest train", f"{INITIAL_TOKENS} vocabulary")
        parts: dict[str, Ingredients] = {
            split: whole.reduced(upstream=(*learnt, f"ingest {split}")) for split in SPLITS
        }
        return {**parts, "vocabulary": whole.reduced(upstream=learnt)}

    def work(self, node: NodeWork) -> beam.PTransform:
        """Makes components.tokenize.transform.Tokenize."""
        from components.tokenize.transform import Tokenize

        return Tokenize(node.config.tokenize, node.config.task, node.work, node.given.get(INITIAL_TOKENS))

    def describe(self, summary: Mapping[str, Any]) -> str:
        """Counts tokens and labels."""
        sizes = [f"{field} vocabulary {size:,}" for field, size in summary["vocabulary"].items()]
        return ", ".join([*sizes, f"{summary['labels']:,} labels"] if "labels" in summary else sizes)

    def details(self, summary: Mapping[str, Any]) -> list[str]:
        """Says what `auto` became, and why."""
        return [f"{field}: {chosen['why']}" for field, chosen in summary.get("chosen", {}).items()]

    def log(self, artifact: Artifact) -> StageLog:
        """Adds the settings that `auto` became."""
        log = super().log(artifact)
        for field, chosen in artifact.summary.get("chosen", {}).items():
            log.params |= flatten({f"chosen.tokenize.{field}": chosen["settings"]})
        return log
