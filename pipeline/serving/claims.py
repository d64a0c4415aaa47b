"""Claims: who may push which version. All is created exclusively, and never changed or deleted.

<directory>/<name>.rnnpipe/<N>.json                  the claim of version N
                           <N>.done.json             pushed or closed, whichever was first
                           <N>.accepted-<hash>.json  good enough by other rules, too
                           <N>.meant-<hash>.json     meant for another registry, too
                           <N>.registered-<hash>.json
                           <N>.complete.json         a rollback whose result was printed
"""

from __future__ import annotations

import getpass
import hashlib
import json
import re
import socket
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from typing_extensions import TypedDict
from upath import UPath

from components import files, own_files
from components.artifacts.artifact import Reference
from components.artifacts.exported_model import ExportedModel, ModelId
from components.errors import UserError
from pipeline.config.name_checks import CLAIMS
from pipeline.serving.versions import Content, Note

PUSHED, CLOSED = "pushed", "closed"
ADVICE = (
    "What is served stays as it was. Make room there, allow this user to write there, or set "
    "export.directory to another directory; then run again."
)
_CLAIM = re.compile(r"([0-9]+)\.json")
_DONE = re.compile(r"([0-9]+)\.done\.json")


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # in a container nobody may have a name
        return "somebody"


class ArtifactName(TypedDict):
    """What an artifact is called by, as data that JSON can hold."""

    root: str
    stage: str
    key: str
    inputs: str
    number: int


@dataclass(frozen=True)
class Claim:
    """Which model is to be pushed as which version, and why.

    Args:
        number: the version.
        content: what its files are to be.
        artifact: the export artifact that has them, as `described` gives it; None if it is not known.
        champion: the model that it was compared with: title, model and digest; None if there was none.
        rules: by which it was accepted, as JSON.
        tracking: where MLflow is to have it in its registry; empty if nowhere.
        given_up: the models that have given way to earlier ones by now; they are not pushed again.
        brings_back: the version that a rollback brings back; None for a push.
        by: who claims it.
        host: on which machine.
        at: when, ISO 8601 in UTC.
        id: drawn for this attempt, which knows its claim by it where an answer was lost.
    """

    number: int
    content: Content
    artifact: ArtifactName | None = None
    champion: Mapping[str, Any] | None = None
    rules: str = ""
    tracking: str = ""
    given_up: tuple[ModelId, ...] = ()
    brings_back: int | None = None
    by: str = field(default_factory=_user)
    host: str = field(default_factory=socket.gethostname)
    at: str = field(default_factory=lambda: datetime.now(timezone.utc).isoformat(timespec="seconds"))
    id: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def note(self) -> Note:
        """What is noted in the version."""
        return Note(self.number, self.id, self.content, self.given_up)

    def exported(self) -> ExportedModel:
        """Reads the artifact that it names.

        Raises:
            UserError: if it cannot be read.
        """
        if self.artifact is None:
            raise UserError(f"the claim of version {self.number} names no artifact")
        named = self.artifact
        reference = Reference(
            files.resolve(named["root"]), named["stage"], named["key"], named["inputs"], named["number"], {}
        )
        artifact: ExportedModel = ExportedModel.load(reference)
        return artifact

    @property
    def is_at_hand(self) -> bool:
        """Whether the artifact, if it is anywhere, can be read from this machine."""
        remote = self.artifact is not None and "://" in self.artifact["root"]
        return remote or self.host == socket.gethostname()

    def as_bytes(self) -> bytes:
        """As JSON, for a file."""
        values = {**vars(self), "content": self.content.as_json()}
        return json.dumps(values, indent=1, ensure_ascii=False).encode()

    @classmethod
    def of(cls, data: bytes) -> Claim:
        """Reads what `as_bytes` gave.

        Raises:
            DamagedError: if it is something else.
        """
        return own_files.parse(data, cls)


class _End(TypedDict):
    """How a claim has ended."""

    state: str


class _Meant(TypedDict):
    """For which other registry a version is meant."""

    meant: str


def described(reference: Reference) -> ArtifactName:
    """What an artifact is called by."""
    return {
        "root": str(reference.root),
        "stage": reference.stage,
        "key": reference.key,
        "inputs": reference.inputs,
        "number": reference.number,
    }


class Claims:
    """All claims of one model.

    Args:
        base: the directory of its versions.
    """

    def __init__(self, base: UPath) -> None:
        self._base = base
        self._folder = base.parent / f"{base.name}{CLAIMS}"
        # What was created exclusively does not change.
        self._read: dict[int, Claim] = {}
        self._states: dict[int, str] = {}

    def numbers(self) -> tuple[set[int], set[int]]:
        """Lists which versions are claimed, and which of the claims are pushed or closed."""
        names = files.names(self._folder)
        claimed, done = (
            {int(match[1]) for match in map(kind.fullmatch, names) if match} for kind in (_CLAIM, _DONE)
        )
        return claimed, done

    def create(self, claim: Claim) -> bool:
        """Claims a version; returns whether nobody was quicker.

        Raises:
            UserError: if nothing can be written there.
        """
        try:
            files.create(self._path(claim.number), claim.as_bytes())
        except Exception as error:
            if self.id_of(claim.number) == claim.id:
                return True  # only the answer was lost
            if isinstance(error, FileExistsError):
                return False
            if isinstance(error, OSError):
                raise UserError(f"could not push to {self._base}: {error}. {ADVICE}") from error
            raise
        return True

    def of(self, number: int) -> Claim | None:
        """The claim that a version came by; None if it did not, or the claim was closed, or is damaged."""
        try:
            return self.load(number)
        except own_files.DamagedError as error:
            own_files.name(error)
            return None

    def load(self, number: int) -> Claim | None:
        """The claim that a version came by; None if it did not, or the claim was closed.

        Raises:
            DamagedError: if it cannot be read.
        """
        if self.state(number) == CLOSED:
            return None
        if number not in self._read:
            try:
                self._read[number] = own_files.load(self._path(number), Claim)
            except FileNotFoundError:
                return None
        return self._read[number]

    def id_of(self, number: int) -> str | None:
        """The id in a claim, closed or not; None if it cannot be read."""
        try:
            return own_files.load(self._path(number), Claim).id
        except (OSError, ValueError):
            return None

    def state(self, number: int) -> str:
        """Whether a claim is PUSHED or CLOSED; empty while it is neither."""
        if number not in self._states:
            try:
                state = own_files.load(self._done(number), _End)["state"]
                self._states[number] = CLOSED if state == CLOSED else PUSHED
            except FileNotFoundError:
                return ""
            except own_files.DamagedError as error:
                own_files.name(error)
                self._states[number] = PUSHED  # it was there to be read, whatever has become of it
        return self._states[number]

    def end(self, number: int, state: str, reason: str = "") -> str:
        """Ends a claim, unless it has ended; returns how it has.

        Raises:
            UserError: if nothing can be written there.
        """
        try:
            self._create(self._done(number), {"state": state, "reason": reason})
        except FileExistsError:
            pass
        except OSError as error:
            if not files.exists(self._done(number)):
                raise UserError(f"could not push to {self._base}: {error}. {ADVICE}") from error
        return self.state(number)

    def age(self, number: int) -> float:
        """Seconds since a claim was made, by the clock of the store."""
        modified = {entry.path.name: entry.modified for entry in files.entries(self._folder)}
        return files.clock(self._folder) - modified.get(self._path(number).name, 0.0)

    def accepted(self, number: int, rules: str) -> bool:
        """Whether a version was accepted by these rules."""
        claim = self.of(number)
        return (claim is not None and claim.rules == rules) or files.exists(
            self._mark(number, "accepted", rules)
        )

    def meant(self, number: int, registry: str) -> bool:
        """Whether a version is to be in this registry."""
        claim = self.of(number)
        meant = claim is not None and claim.tracking == registry
        return meant or files.exists(self._mark(number, "meant", registry))

    def complete_rollback(self, number: int) -> None:
        """Notes that a version was brought back, and that its command has printed the result.

        Raises:
            UserError: if it cannot be written.
        """
        self._note(self._complete(number), {"complete": "rollback"})

    def is_complete_rollback(self, number: int) -> bool:
        """Whether that was noted of a version."""
        return files.exists(self._complete(number))

    def registered(self, number: int, registry: str) -> bool:
        """Whether this registry has a version."""
        return files.exists(self._mark(number, "registered", registry))

    def registries(self, number: int) -> list[str]:
        """All registries that a version is meant for."""
        claim = self.of(number)
        registries = [claim.tracking] if claim is not None and claim.tracking else []
        for name in files.names(self._folder):
            meant = name.startswith(f"{number}.meant-")
            if meant and (noted := own_files.salvage(self._folder / name, _Meant)):
                registries.append(noted["meant"])
        return list(dict.fromkeys(registries))

    def mark(self, number: int, kind: str, value: str) -> None:
        """Notes something beside a claim, once and for all.

        Args:
            number: the version.
            kind: accepted, meant or registered.
            value: the rules, or the registry's address without a password.

        Raises:
            UserError: if it cannot be written.
        """
        self._note(self._mark(number, kind, value), {kind: value})

    def _note(self, path: UPath, values: dict[str, Any]) -> None:
        try:
            self._create(path, values)
        except FileExistsError:
            pass
        except OSError as error:
            raise UserError(f"could not note in {self._folder}: {error}. {ADVICE}") from error

    def _create(self, path: UPath, values: dict[str, Any]) -> None:
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        files.create(path, json.dumps({**values, "at": now}, indent=1).encode())

    def _path(self, number: int) -> UPath:
        return self._folder / f"{number}.json"

    def _done(self, number: int) -> UPath:
        return self._folder / f"{number}.done.json"

    def _complete(self, number: int) -> UPath:
        return self._folder / f"{number}.complete.json"

    def _mark(self, number: int, kind: str, value: str) -> UPath:
        return self._folder / f"{number}.{kind}-{hashlib.sha256(value.encode()).hexdigest()[:12]}.json"
