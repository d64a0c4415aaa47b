"""What a stage knows of itself; plan, job, console and tracking ask it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from components.artifacts.artifact import Artifact, Reference
from components.ingest.sources import Source
from components.plugin_sources import plugin_sources
from components.strict import Strict
from components.user_file import UserFile
from components.work import Work
from pipeline.config import PipelineConfig
from pipeline.plan.fingerprint import library_versions, source_fingerprint
from pipeline.plan.ingredients import Ingredients
from pipeline.stages.log import StageLog

if TYPE_CHECKING:
    import apache_beam as beam

Reads = Mapping[str, tuple[str, ...]]
"""Parts of artifacts by the name under which a stage reads them, which is most often another stage's."""


@dataclass(frozen=True)
class NodeWork:
    """What a stage's transform needs to know of a node.

    Args:
        name: of the node.
        config: of its trial.
        sources: the user's files.
        work: where it puts files and reports.
        given: the artifacts among what it reads that no node makes, by the names that the stage gives them.
        parallel: of a trial of a sweep, how many a worker trains at the same time; the job goes on without
            one that fails. 0 of other nodes.
        files: the user's files that it reads beside the artifacts, as `Stage.user_files` names them.
    """

    name: str
    config: PipelineConfig
    sources: Sequence[Source]
    work: Work
    given: Mapping[str, Reference] = field(default_factory=dict)
    parallel: int = 0
    files: Mapping[str, UserFile] = field(default_factory=dict)


class Stage(ABC):
    """A stage: what it reads, what shapes its artifact, how it is made, and how it is shown.

    A new stage is a subclass, and a line in pipeline/stages/__init__.py.
    """

    kind: ClassVar[type[Artifact]]
    """The class of its artifacts; its name is the stage's."""
    module: ClassVar[str]
    """Where its transform is; its source is part of the key."""
    libraries: ClassVar[tuple[str, ...]]
    """Distributions whose version shapes the artifact."""
    together: ClassVar[bool] = False
    """Whether the nodes of all trials are one step of the job, its elements, and not a step each."""

    of_trial: ClassVar[bool] = False
    """Whether its files are kept with the trial in MLflow, and not with the run that trials share."""
    leads: ClassVar[bool] = False
    """Whether its metrics come before those of other stages, as MLflow's charts begin with the first."""

    @property
    def name(self) -> str:
        """As in pipeline.yaml and on the command line."""
        return self.kind.stage

    @abstractmethod
    def reads(self, config: PipelineConfig) -> Reads:
        """Says what it reads of other artifacts; nothing if it reads the user's files."""

    @abstractmethod
    def settings(self, config: PipelineConfig) -> dict[str, Any]:
        """Returns the part of the configuration that shapes the artifact."""

    def parts(self, config: PipelineConfig, whole: Ingredients) -> dict[str, Ingredients]:
        """Says what shapes each part of the artifact; a part that is left out is shaped by all.

        Args:
            config: of the trial.
            whole: all that shapes the artifact.
        """
        return {}

    def lineage(self, config: PipelineConfig, whole: Ingredients) -> Ingredients | None:
        """Says what shapes the unfinished work that attempts at other artifacts may go on from, too.

        Args:
            config: of the trial.
            whole: all that shapes the artifact.

        Returns:
            None where all that is unfinished is lost.
        """
        return None

    def source(self, config: PipelineConfig) -> str:
        """Returns the hash of the code that makes the artifact."""
        return source_fingerprint(self.module)

    def versions(self, config: PipelineConfig) -> dict[str, str]:
        """Returns the versions of the libraries that shape the artifact, and hashes of the user's modules."""
        return {**library_versions(self.libraries), **plugin_sources(*self.plugs(config))}

    def user_files(self, config: PipelineConfig) -> Mapping[str, str]:
        """Returns the user's files that are read beside the artifacts, by what people call them.

        They count by their content, and their place must be in no setting.
        """
        return {}

    def plugs(self, config: PipelineConfig) -> tuple[object, ...]:
        """Returns the sections of the configuration that may name something in the user's modules."""
        return ()

    def remark(self, config: PipelineConfig, differences: Sequence[str]) -> str:
        """Says what else people should know of a node that runs.

        Args:
            config: of the trial.
            differences: from the most similar artifact there is.

        Returns:
            Empty if there is nothing to say.
        """
        return ""

    def carried(self, carry: Callable[[Path], str]) -> Stage:
        """Returns the stage as workers on other machines can do it.

        Args:
            carry: puts a directory of this machine where they see it, and returns its address.
        """
        return self

    def stopping(self, epoch: int) -> Stage:
        """Returns the stage as it works in a rung of a sweep, if its trials can stop before their end.

        Args:
            epoch: after which a trial stops.
        """
        raise NotImplementedError(f"{self.name} has no epochs after which a trial could stop")

    def deterministic(self, config: PipelineConfig) -> bool:
        """Whether the same ingredients always give the same files."""
        return True

    @abstractmethod
    def work(self, node: NodeWork) -> beam.PTransform:
        """Makes the transform of one node: {name: Reference} of what it reads to one Made."""

    def transform(self, nodes: Sequence[NodeWork]) -> beam.PTransform:
        """Makes the transform of a step: (node's name, {name: Reference}) to (node's name, Made).

        Args:
            nodes: one, or where nodes go `together` several.
        """
        from pipeline.run.step import OneNode

        (node,) = nodes
        return OneNode(node.name, self.work(node))

    @abstractmethod
    def describe(self, summary: Mapping[str, Any]) -> str:
        """Says in a line what an artifact holds.

        Args:
            summary: of the artifact.
        """

    def details(self, summary: Mapping[str, Any]) -> list[str]:
        """Says in further lines what was proved of an artifact.

        Args:
            summary: of the artifact.
        """
        return []

    def log(self, artifact: Artifact) -> StageLog:
        """Reads what MLflow gets of an artifact.

        Args:
            artifact: whose figures are read; its files are only named.

        Raises:
            UserError: if a file of it is missing or damaged.
            OSError: if it cannot be read.
        """
        return StageLog(
            tags={f"key.{self.name}": artifact.manifest.key},
            files={f"{self.name}/{file}": file for file in artifact.published if artifact.has(file)},
        )


def dump(section: Strict | None, *exclude: str) -> dict[str, Any]:
    """Returns a section of the configuration as plain data.

    Args:
        section: None gives nothing.
        exclude: keys that are left out.
    """
    return section.model_dump(mode="json", exclude=set(exclude)) if section else {}
