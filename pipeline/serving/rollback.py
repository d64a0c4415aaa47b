"""Brings an earlier version of a served model back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from components.errors import UserError
from components.export.push import Note, amend_note, push, pushing, read_note, versions
from pipeline.tracking.mlflow_client import one_line, open_client, quiet_mlflow, without_password
from pipeline.tracking.registry import crown, registered


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
    directory: Path
    registry: str


def roll_back(base: Path, version: int | None = None) -> RolledBack:
    """Pushes an earlier version again, as the newest, and makes it the champion.

    The version that gave way stays on disk, but a run that makes the same model does not push it again.

    Args:
        base: the served model's directory, such as serving/dates.
        version: which one; None for the newest that is another model.

    Raises:
        UserError: if there is no such version.
    """
    if not versions(base):
        raise UserError(
            f"{base} holds no version of a model; expected the directory that models are pushed to, such as "
            "serving/<name>: give the name, or --directory."
        )
    with pushing(base):
        known = versions(base)
        newest = max(known)
        source = _earlier(base, known, newest) if version is None else version
        if source not in known or source == newest:
            others = ", ".join(str(each) for each in sorted(known) if each != newest) or "none"
            raise UserError(f"received version {source}; expected an earlier one of {base}: {others}.")
        gone, note = read_note(base, newest), read_note(base, source) or Note("")
        given_up = {*(gone.rolled_back if gone else ())}
        if gone:
            remade = gone.identity == note.identity and gone.weights
            given_up.add(gone.weights if remade else gone.identity)
        given_up -= {note.identity, note.weights, ""}
        note = note._replace(rolled_back=tuple(sorted(given_up)), registered=False)
        pushed = push(known[source], base, note)
    crowned, said = _crown(base.name, note, source)
    amend_note(base, pushed, registered=crowned)
    return RolledBack(newest, source, base / str(pushed), said)


def _earlier(base: Path, known: dict[int, Path], newest: int) -> int:
    now = read_note(base, newest)
    notes = {number: read_note(base, number) for number in known if number != newest}
    others = [number for number, note in notes.items() if note is None or now is None or _other(note, now)]
    if not others:
        raise UserError(
            f"{base} holds no other model than the one that is served and those that were rolled back; "
            "nothing to go back to. --version brings any of them back. Runs that push keep as many versions "
            "as export.keep_versions says."
        )
    return max(others)


def _other(note: Note, now: Note) -> bool:
    """Whether a version is neither what is served now nor what was given up."""
    if {note.identity, note.weights} & {*now.rolled_back}:
        return False
    remade = note.weights and now.weights and note.weights != now.weights
    return note.identity != now.identity or bool(remade)


def _crown(name: str, note: Note, version: int) -> tuple[bool, str]:
    """Moves the alias in the registry; whatever goes wrong there is said, for what is served is served."""
    tracking = note.tracking
    if not tracking:
        return False, "it is in no registry"
    quiet_mlflow()
    try:
        client = open_client(tracking)
        found = registered(client, name, note.key, note.content)
        if found is None:
            where = f"MLflow at {without_password(tracking)}"
            return False, (
                f"{where} has no version of it, and the alias stays where it was; runs are compared with "
                "what is served"
            )
        crown(client, name, found.version)
    except Exception as error:
        code = getattr(error, "error_code", "")
        if code in ("UNAUTHENTICATED", "PERMISSION_DENIED", "CUSTOMER_UNAUTHORIZED"):
            wanted = "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
            return False, (
                f"MLflow at {without_password(tracking)} wants a user: set {wanted}, then "
                f"rnnpipe rollback {name} --version {version}"
            )
        return False, (
            f"MLflow at {without_password(tracking)} could not be told ({one_line(error)}): set the alias "
            f"champion there by hand, or when it answers: rnnpipe rollback {name} --version {version}"
        )
    return True, f"version {found.version} is the champion in MLflow"
