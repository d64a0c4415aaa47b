"""Brings an earlier version of a served model back."""

from __future__ import annotations

import os
from dataclasses import dataclass

from upath import UPath

from components import files
from components.artifacts.exported_model import ModelId
from components.errors import UserError
from pipeline.serving.claims import Claim
from pipeline.serving.served import Seen, Served
from pipeline.serving.versions import Content
from pipeline.tracking.mlflow_client import one_line, open_client, quiet_mlflow, without_password
from pipeline.tracking.registry import give_alias, registered


@dataclass(frozen=True)
class RolledBack:
    """What a rollback did.

    Args:
        old: the version that was served before.
        source: the version that was brought back.
        directory: where it is served now, under a new number.
        registry: what came of the champion in MLflow's registry, in a sentence.
    """

    old: int
    source: int
    directory: UPath
    registry: str


def roll_back(base: str | os.PathLike[str], version: int | None = None) -> RolledBack:
    """Pushes an earlier version again, as the newest, and makes it the champion.

    The version that gave way stays where it is, but a run that makes the same model does not push it again.

    Args:
        base: the served model's directory, such as serving/dates.
        version: which one; None for the newest that is another model.

    Raises:
        UserError: if there is no such version, or it cannot be copied.
    """
    directory = files.resolve(base)
    served = Served(directory.parent, directory.name)
    while True:
        seen = served.complete_unfinished()
        if seen.newest is None:
            raise UserError(
                f"{base} holds no version of a model; expected the directory that models are pushed to, such "
                "as serving/<name>: give the name, or --directory."
            )
        source = _earlier(served, seen) if version is None else version
        if source not in seen.versions or source == seen.newest:
            others = (
                ", ".join(str(version) for version in sorted(seen.versions) if version != seen.newest)
                or "none"
            )
            raise UserError(f"received version {source}; expected an earlier one of {base}: {others}.")
        place = seen.versions[source]
        known = served.content(source, place)
        content = known or Content.of_files(place)
        files_there = served.whole(source, content)
        before = served.claims.of(source)
        registries = served.claims.registries(source)
        wanted = Claim(
            number=0,
            content=content,
            artifact=before.artifact if before else None,
            rules=before.rules if before else "",
            tracking=registries[0] if registries else "",
            given_up=_given_up(served, seen, content),
            brings_back=source,
        )
        claim = served.claim(seen, wanted)
        if claim is not None and served.complete(claim, files_there):
            break
    said = []
    for registry in registries:
        moved, sentence = _move_alias(served.name, content.digest, registry, source)
        said.append(sentence)
        if moved:
            served.claims.mark(claim.number, "registered", registry)
        if registry != claim.tracking:
            served.claims.mark(claim.number, "meant", registry)
    directory = served.base / str(claim.number)
    return RolledBack(seen.newest, source, directory, "; ".join(said) or "it is in no registry")


def _earlier(served: Served, seen: Seen) -> int:
    """The newest version that is neither what is served now nor what was given up."""
    assert seen.newest is not None
    given_up = served.given_up(seen)
    now = served.content(seen.newest, seen.versions[seen.newest])
    others = []
    for number, place in seen.versions.items():
        content = served.content(number, place)
        if number == seen.newest or (content and content.model in given_up):
            continue
        if content is None or now is None or not _same(content, now):
            others.append(number)
    if not others:
        raise UserError(
            f"{served.base} holds no other model than the one that is served and those that were rolled "
            "back; nothing to go back to. --version brings any of them back. Runs that push keep as many "
            "versions as export.keep_versions says."
        )
    return max(others)


def _same(one: Content, other: Content) -> bool:
    return one.digest == other.digest or (one.model is not None and one.model == other.model)


def _given_up(served: Served, seen: Seen, content: Content) -> tuple[ModelId, ...]:
    """All models that have given way once this one is back."""
    assert seen.newest is not None
    now = served.content(seen.newest, seen.versions[seen.newest])
    given_up = {*served.given_up(seen), *([now.model] if now and now.model else [])}
    return tuple(sorted(given_up - {content.model}))


def _move_alias(name: str, digest: str, tracking: str, version: int) -> tuple[bool, str]:
    """Moves the alias in the registry; whatever goes wrong there is said, for what is served is served."""
    quiet_mlflow()
    try:
        client = open_client(tracking)
        registered_version = registered(client, name, digest)
        if registered_version is None:
            where = f"MLflow at {without_password(tracking)}"
            return False, (
                f"{where} has no version of it, and the alias stays where it was; runs are compared with "
                "what is served"
            )
        give_alias(client, name, registered_version.version)
    except Exception as error:
        code = getattr(error, "error_code", "")
        if code in ("UNAUTHENTICATED", "PERMISSION_DENIED", "CUSTOMER_UNAUTHORIZED"):
            wanted = "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
            return False, (
                f"MLflow at {without_password(tracking)} wants a user: set {wanted}, then "
                f"rnnpipe rollback {name} --version {version}"
            )
        return False, (
            f"MLflow at {without_password(tracking)} could not be updated ({one_line(error)}): set the alias "
            f"champion there by hand, or when it answers: rnnpipe rollback {name} --version {version}"
        )
    return True, f"version {registered_version.version} is the champion in MLflow"
