"""Brings an earlier version of a served model back."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from upath import UPath

from components import files
from components.artifacts.exported_model import ModelId
from components.errors import UserError
from components.redaction import without_password
from pipeline.serving.claims import Claim
from pipeline.serving.served import Seen, Served
from pipeline.serving.versions import Content
from pipeline.tracking.mlflow_client import one_line, open_client, quiet_mlflow
from pipeline.tracking.registry import move_alias, registered


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


def roll_back(
    base: str | os.PathLike[str],
    version: int | None = None,
    tell: Callable[[RolledBack], None] = lambda done: None,
) -> RolledBack:
    """Pushes an earlier version again, as the newest, and makes it the champion.

    It may be repeated: one that was killed is completed, and only the next goes further back. The version
    that gave way stays where it is, but a run that makes the same model does not push it again.

    Args:
        base: the served model's directory, such as serving/dates.
        version: which one; None for the newest that is another model.
        tell: is called with what was done, before it counts as complete.

    Raises:
        UserError: if there is no such version, or it cannot be copied.
    """
    directory = files.resolve(base)
    served = Served(directory.parent, directory.name)
    seen = served.complete_unfinished()
    claim = None
    last = served.claims.of(seen.newest) if seen.newest is not None else None
    if last is not None and _is_wanted(served, last, version):
        version = last.brings_back
        claim = None if served.damage(seen) else last
    if claim is None:
        claim = _push_again(served, base, version)
    source = claim.brings_back
    assert source is not None
    sentences = []
    for registry in dict.fromkeys(served.claims.registries(source) + served.claims.registries(claim.number)):
        if not served.claims.meant(claim.number, registry):
            served.claims.mark(claim.number, "meant", registry)
        moved, sentence = _move_alias(served, claim, registry)
        sentences.append(sentence)
        if moved:
            served.claims.mark(claim.number, "registered", registry)
    old = max((number for number in served.look().versions if number < claim.number), default=source)
    place = served.base / str(claim.number)
    done = RolledBack(old, source, place, "; ".join(sentences) or "it is in no registry")
    tell(done)
    served.claims.complete_rollback(claim.number)
    return done


def _is_wanted(served: Served, last: Claim, version: int | None) -> bool:
    """Whether what was claimed last is the rollback that is asked for now, by the same command."""
    if last.brings_back is None:
        return False
    return last.brings_back == version or (
        version is None and not served.claims.is_complete_rollback(last.number)
    )


def _push_again(served: Served, base: str | os.PathLike[str], version: int | None) -> Claim:
    """Pushes an earlier version as the newest, and returns the claim by which it came."""
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
                ", ".join(str(number) for number in sorted(seen.versions) if number != seen.newest) or "none"
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
            return claim


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


def _move_alias(served: Served, claim: Claim, tracking: str) -> tuple[bool, str]:
    """Moves the alias in a registry; a failure there is only reported, for the model is served."""
    quiet_mlflow()
    mlflow = f"MLflow at {without_password(tracking)}"
    again = f"rnnpipe rollback {served.name} --version {claim.brings_back}"
    try:
        client = open_client(tracking)
        if registered(client, served.name, claim.content.digest) is None:
            return False, (
                f"{mlflow} has no version of it, and the alias stays where it was; runs are compared with "
                "what is served"
            )
        champion = move_alias(client, served)
    except Exception as error:
        code = getattr(error, "error_code", "")
        if code in ("UNAUTHENTICATED", "PERMISSION_DENIED", "CUSTOMER_UNAUTHORIZED"):
            wanted = "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
            return False, f"{mlflow} wants a user: set {wanted}, then {again}"
        return False, (
            f"{mlflow} could not be updated ({one_line(error)}): set the alias champion there by hand, or "
            f"when it answers: {again}"
        )
    if champion is None:
        return False, f"{mlflow} has no version of what was pushed meanwhile; the alias stays where it was"
    return True, f"version {champion.version} is the champion in MLflow"
