"""A model where it is served: its versions, and the claims by which they came.

<directory>/<name>/<N>/saved_model.pb ...   what TensorFlow Serving watches
<directory>/<name>.rnnpipe/                 the claims

A push looks, decides, and claims the next number; if that is taken, it looks and decides again.
Nothing is locked, and every step may be repeated by anybody.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from upath import UPath

from components import files
from components.artifacts.exported_model import ExportedModel, ModelId
from components.errors import UserError
from components.own_files import DamagedError
from pipeline.serving.claims import ADVICE, CLOSED, PUSHED, Claim, Claims, described
from pipeline.serving.versions import (
    GRAPH,
    Content,
    TakenError,
    damage,
    local_copy,
    numbered,
    publish,
    read_note,
    remove,
    remove_stale,
    versions,
)

# A claim whose artifact only its own machine can read is left to that machine for so many seconds.
_PATIENCE, _PAUSE = 60.0, 1.0


@dataclass(frozen=True)
class Seen:
    """What there was at one moment.

    Args:
        versions: that are served, and their directories.
        highest: number of any claim or version; 0 if there is none.
        unfinished: the claims that nobody has finished.
    """

    versions: Mapping[int, UPath]
    highest: int
    unfinished: tuple[int, ...]

    @property
    def newest(self) -> int | None:
        """The version that answers; None if there is none."""
        return max(self.versions, default=None)


@dataclass(frozen=True)
class Pushed:
    """A version that was pushed.

    Args:
        place: its directory.
        warning: what had become of the version before; empty if it was whole.
    """

    place: UPath
    warning: str = ""


class Served:
    """One model where it is served.

    Args:
        directory: of all models.
        name: of this one.
    """

    def __init__(self, directory: UPath, name: str) -> None:
        self.name = name
        self.directory = directory
        self.base = directory / name
        """The directory of its versions."""
        self.claims = Claims(self.base)
        """Of its versions, and what is noted beside them."""

    def look(self) -> Seen:
        """Lists what is there."""
        claimed, done = self.claims.numbers()
        there = {
            number: place
            for number, place in versions(self.base).items()
            if not (number in done and self._is_leftover(number, place))
        }
        highest = max(claimed | numbered(self.base).keys(), default=0)
        return Seen(there, highest, tuple(sorted(claimed - done)))

    def complete_unfinished(self) -> Seen:
        """Finishes what others have begun, and looks; to be called before a verdict.

        Raises:
            UserError: if that is not possible here and now.
        """
        while True:
            for number, place in versions(self.base).items():
                if self._is_leftover(number, place):
                    remove(place)
            seen = self.look()
            if not seen.unfinished:
                return seen
            for number in seen.unfinished:
                self._complete_or_close(number)

    def claim(self, seen: Seen, claim: Claim) -> Claim | None:
        """Claims the next version.

        Args:
            seen: what was there before the verdict.
            claim: what is to be pushed; its number is set here.

        Returns:
            The claim; None if somebody else has got the number: look and decide again.

        Raises:
            UserError: if nothing can be written there.
        """
        numbered_claim = replace(claim, number=seen.highest + 1)
        return numbered_claim if self.claims.create(numbered_claim) else None

    def complete(self, claim: Claim, source: Path) -> bool:
        """Puts the files of a claimed version where they are served.

        Args:
            claim: of the version.
            source: a local directory with the SavedModel.

        Returns:
            Whether it is served; False if the claim was closed: look and decide again.

        Raises:
            UserError: if the files could not be copied whole; what is served stays as it was.
        """
        number, place = claim.number, self.base / str(claim.number)
        if self.claims.state(number) == CLOSED:
            return False
        try:
            remove_stale(self.base)
            publish(source, place, claim.note, lambda: not self.claims.state(number))
        except TakenError:
            self.claims.end(number, CLOSED, f"{place} holds something else")
            return False
        except OSError as error:
            raise UserError(f"could not push {source} to {self.base}: {error}. {ADVICE}") from error
        if self.claims.end(number, PUSHED) == PUSHED:
            return True
        if self._is_leftover(number, place):
            remove(place)
        return False

    def push(
        self,
        exported: ExportedModel,
        seen: Seen,
        champion: Mapping[str, Any] | None,
        rules: str,
        registry: str,
    ) -> Pushed | None:
        """Claims the next version for a model, and copies it there.

        Args:
            exported: the model.
            seen: what there was when it was accepted.
            champion: what it was compared with, described; None if with nothing.
            rules: by which it was accepted, as JSON.
            registry: where MLflow is to have it in its registry; empty if nowhere.

        Returns:
            None if somebody else was quicker: look and decide again.

        Raises:
            UserError: if its files are not those that were validated, or cannot be copied.
        """
        if damaged := exported.thorough_damage():
            raise UserError(
                f"refused to push: {damaged}; expected what was validated. Run again: it is rebuilt."
            )
        source = exported.saved_model()
        wanted = Claim(
            number=0,
            content=Content.of_export(exported),
            artifact=described(exported.reference),
            champion=champion,
            rules=rules,
            tracking=registry,
            given_up=tuple(model for model in self.given_up(seen) if model != exported.model_id),
        )
        damaged = self.damage(seen)
        claim = self.claim(seen, wanted)
        if claim is None or not self.complete(claim, source):
            return None
        place = self.base / str(claim.number)
        if not damaged:
            return Pushed(place)
        assert seen.newest is not None
        previous = files.relative(seen.versions[seen.newest])
        return Pushed(place, f"{previous}: {damaged}; the model is served as version {claim.number} now")

    def accept(self, seen: Seen, rules: str, registry: str) -> None:
        """Notes that the newest version is good enough by these rules, too, and meant for a registry."""
        assert seen.newest is not None
        if not self.claims.accepted(seen.newest, rules):
            self.claims.mark(seen.newest, "accepted", rules)
        if registry and not self.claims.meant(seen.newest, registry):
            self.claims.mark(seen.newest, "meant", registry)

    def place_of(self, seen: Seen, digest: str) -> UPath | None:
        """Returns the directory of the newest version if it has these files, whole; else None."""
        if seen.newest is None:
            return None
        place = seen.versions[seen.newest]
        content = self.content(seen.newest, place)
        if content is None or content.digest != digest or self.damage(seen):
            return None
        return place

    def is_settled(self, digest: str, rules: str, registry: str) -> bool:
        """Whether the newest version has these files, is good enough by these rules, and is registered."""
        seen = self.look()
        if seen.newest is None or seen.unfinished or self.place_of(seen, digest) is None:
            return False
        in_registry = self.claims.registered(seen.newest, registry)
        return self.claims.accepted(seen.newest, rules) and (in_registry or not registry)

    def prune(self, keep: int) -> None:
        """Removes all but the newest versions; claims stay."""
        there = self.look().versions
        for _, place in sorted(there.items())[:-keep]:
            remove(place)
        for number, place in numbered(self.base).items():
            # What a removal that was killed has left.
            if number not in there and number < max(there, default=0) and self.claims.state(number) == PUSHED:
                remove(place)

    def content(self, number: int, place: UPath) -> Content | None:
        """What the files of a version should be; None where rnnpipe has not pushed it, or nothing says it."""
        claim = self.claims.of(number)
        if claim is not None:
            return claim.content
        note = read_note(place)
        return note.content if note else None

    def damage(self, seen: Seen) -> str:
        """Says what has become of the newest version since it was pushed; empty if it is whole."""
        if seen.newest is None:
            return ""
        place = seen.versions[seen.newest]
        content = self.content(seen.newest, place)
        return damage(place, content) if content else ""

    def given_up(self, seen: Seen) -> tuple[ModelId, ...]:
        """The models that gave way to earlier ones, and have not been pushed since."""
        for number in range(seen.highest, 0, -1):
            claim = self.claims.of(number)
            if claim is not None:  # each was made in sight of those before
                return claim.given_up
            note = read_note(self.base / str(number))
            if note is not None and number in seen.versions:
                return note.given_up
        return ()

    def whole(self, number: int, content: Content) -> Path:
        """Returns a version's directory on this machine.

        Raises:
            UserError: if it is not there, or not what it should be.
        """
        place = versions(self.base).get(number)
        if place is None:
            raise UserError(f"{self.base / str(number)} is not there")
        if problem := damage(place, content):
            raise UserError(f"{place} is damaged: {problem}")
        return local_copy(place)

    def _complete_or_close(self, number: int) -> None:
        try:
            claim = self.claims.load(number)
        except DamagedError as error:
            self.claims.end(number, CLOSED, str(error))
            return
        if claim is None:
            return  # closed meanwhile
        place = self.base / str(number)
        if files.exists(place / GRAPH) and not damage(place, claim.content):
            self.claims.end(number, PUSHED)
            return
        try:
            source = self._source(claim)
        except (UserError, OSError) as error:
            at_hand = claim.is_at_hand and isinstance(error, UserError)
            if at_hand or self.claims.age(number) > _PATIENCE:
                self.claims.end(number, CLOSED, str(error))
            else:
                time.sleep(_PAUSE)
            return
        self.complete(claim, source)

    def _source(self, claim: Claim) -> Path:
        """Where the files of a claim can be copied from."""
        if claim.brings_back is not None:
            return self.whole(claim.brings_back, claim.content)
        exported = claim.exported()
        if exported.thorough_damage() or exported.manifest.digests["model"] != claim.content.digest:
            raise UserError(f"{exported.reference.manifest} does not hold what was claimed")
        return exported.saved_model()

    def _is_leftover(self, number: int, place: UPath) -> bool:
        """Whether a version came too late, when its claim had been closed."""
        if self.claims.state(number) != CLOSED:
            return False
        note = read_note(place)
        return note is not None and note.claim == self.claims.id_of(number)
