"""What the files in a run's folder hold; see pipeline/run/folder.py."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, final

from pydantic import AfterValidator
from typing_extensions import NotRequired, TypedDict

from components.errors import UserError
from pipeline.stages import stage_named


def _moment(text: str) -> str:
    if datetime.fromisoformat(text).tzinfo is None:
        raise ValueError("no time zone")
    return text


def _stage(name: str) -> str:
    try:
        return stage_named(name).name
    except UserError as error:
        raise ValueError(str(error)) from error


Moment = Annotated[str, AfterValidator(_moment)]
"""ISO 8601 with a time zone."""


@final
class OfNode(TypedDict):
    """Parts of another node's artifact."""

    node: str
    parts: list[str]


@final
class OfArtifact(TypedDict):
    """Parts of an artifact that no node makes, by their digests."""

    digests: dict[str, str]


class Chosen(TypedDict):
    """What a node is, or may turn out to be; its members are those of NodePlan."""

    stage: Annotated[str, AfterValidator(_stage)]
    trial: str
    key: str
    number: int
    reason: str
    reads: dict[str, OfNode | OfArtifact]
    reused: str | None


class Planned(Chosen):
    """A node that the run is to do or to reuse; its members are those of NodePlan."""

    trials: list[str]
    stop: NotRequired[int]
    choices: NotRequired[dict[str, Chosen]]


class OfRung(TypedDict):
    """What trials train until they are compared; its members are those of Rung."""

    stop: int
    nodes: dict[str, str]


class OfTrial(TypedDict):
    """A trial of a sweep; its members are those of TrialRecord."""

    id: str
    group: str
    seed: int
    settings: dict[str, Any]
    told: dict[str, Any]
    changes: dict[str, Any]


class Start(TypedDict):
    """start.json: what the run is to do."""

    name: str
    subject: str
    started: Moment
    config: dict[str, Any]
    code: dict[str, str]
    nodes: list[Planned]
    plan: NotRequired[str]
    trials: NotRequired[list[OfTrial]]
    rungs: NotRequired[list[OfRung]]
    pick: NotRequired[str]


class Picked(TypedDict):
    """pick.json: which trial of a sweep is evaluated and exported."""

    trial: str


class End(TypedDict):
    """end.json: how the run ended."""

    status: Literal["finished", "failed", "interrupted"]
    message: str
    ended: Moment
    verdict: dict[str, Any]
    served: str


class Submitted(TypedDict):
    """job.json: which job of which engine does the work; its members are those of JobNote."""

    engine: str
    id: str
    name: str
    page: str
    detached: bool


class Tracked(TypedDict):
    """tracking.json: where MLflow is, and which of its runs this is."""

    uri: str
    run: str
