"""Deletes what no run needs any more. Nothing else deletes artifacts.

What is younger than a day, by the clock of the store, stays, and so does all that a run works with which is
not over. Manifests go before the files that they list: what is half deleted is no artifact. Who commits files
that were deleted meanwhile makes a damaged artifact, which is named and rebuilt as any other.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from typing_extensions import TypedDict
from upath import UPath

from components import files, own_files
from components.artifacts.artifact import Manifest, artifact_folder
from components.artifacts.trained_model import TrainedModel, checkpoint_place
from components.carried import FOLDER, LIST
from components.errors import UserError
from components.files import Entry
from components.heartbeat import is_beating
from pipeline.store.store import MANIFEST

HOUR = 3600.0
DAY = 24 * HOUR
SILENT = 7 * DAY  # a run without an end that has said nothing for so long does not go on

_CLEANED = ".cleaned"  # its date says when a local root was cleaned last

Key = tuple[str, str]  # stage and key


class Cleaned(NamedTuple):
    """What was deleted.

    Args:
        artifacts: how many manifests.
        files: how many others, uploads that nobody has finished among them.
        size: bytes of all of them.
    """

    artifacts: int = 0
    files: int = 0
    size: int = 0

    def __str__(self) -> str:
        """For people."""
        if not self.artifacts and not self.files:
            return "nothing to delete"
        return f"deleted {self.artifacts} artifacts and {self.files} files, {self.size / 1e6:.1f} MB"


class _Listed(NamedTuple):
    """A manifest that was listed."""

    entry: Entry
    inputs: str
    number: int


class _Node(TypedDict):
    """What a run has noted of a node that it works with."""

    stage: str
    key: str


class _Start(TypedDict):
    """What of start.json is needed here."""

    nodes: list[_Node]


@dataclass
class _Folder:
    """What is in the folder of a key."""

    manifests: list[_Listed] = field(default_factory=list)
    attempts: dict[str, list[Entry]] = field(default_factory=lambda: defaultdict(list))


def clean(root: UPath, keep: int | None, now: float | None = None) -> Cleaned:
    """Deletes attempts without a manifest, and artifacts that were rebuilt, older than a day.

    Never what a run without an end refers to, unless it has been silent for a week, or for an hour where
    nobody can read what it refers to; nor the newest checkpoint
    of a training that has not finished.

    Args:
        root: under which all artifacts are.
        keep: how many of the newest keys of each stage keep their artifacts; None: all.
        now: in seconds since 1970; None: what the store says.

    Raises:
        UserError: if it cannot be read what a run works with that shows signs of life.
    """
    folders, checkpoints = _look(root)  # first: what is made from now on is not among it
    now = files.clock(root / "artifacts") if now is None else now
    in_use = _in_use(root, now)
    free = {key: folder for key, folder in folders.items() if key not in in_use}
    gone = [listed for folder in free.values() for listed in _superseded(folder, now)]
    if keep is not None:
        gone += [listed for key in _old_keys(folders, keep) & free.keys() for listed in free[key].manifests]
    manifests = {str(item.entry.path): item.entry for item in gone if _is_old(item.entry, now)}
    wanted, released, unreadable = _listed_files(root, folders, manifests)
    files.delete(entry.path for entry in manifests.values())
    leftovers = [*_left_aside(root, now), *_carried(root, now)]
    for key, folder in free.items():
        # What cannot be read may list anything.
        if key not in unreadable and _as_seen(root, key, folder):
            leftovers += _unlisted(folder, wanted, now)
    if not any(stage == TrainedModel.stage for stage, _ in unreadable):
        for states in checkpoints.values():
            leftovers += _old_checkpoints(states, wanted, released, now)
    _delete(root, leftovers)
    ended = files.end_uploads(root, now - DAY)
    deleted = [*manifests.values(), *leftovers]
    return Cleaned(len(manifests), len(leftovers) + ended, sum(entry.size for entry in deleted))


def clean_cheaply(root: UPath) -> None:
    """Deletes what killed runs have left of keys without any manifest, once a day, of local roots only.

    That it cannot be done costs space, and no more.
    """
    if not files.is_local(root):
        return
    with contextlib.suppress(Exception):
        now, cleaned = files.clock(root), root / "artifacts" / _CLEANED
        if not files.local(cleaned.parent).is_dir():
            return
        if files.exists(cleaned) and 0 <= now - files.local(cleaned).stat().st_mtime < DAY:
            return
        files.write(cleaned, b"")
        folders, _ = _look(root)
        in_use = _in_use(root, now)
        leftovers = _left_aside(root, now)
        for key, folder in folders.items():
            if key not in in_use and not folder.manifests and _as_seen(root, key, folder):
                leftovers += _unlisted(folder, (), now)
        _delete(root, leftovers)


def _look(root: UPath) -> tuple[dict[Key, _Folder], dict[str, list[Entry]]]:
    """Lists what is in the folder of each key, and in that of each training's checkpoints."""
    folders: dict[Key, _Folder] = defaultdict(_Folder)
    checkpoints: dict[str, list[Entry]] = defaultdict(list)
    base = root / "artifacts"
    for stage in files.names(base):
        for entry in files.entries(base / stage):
            key, *inside = entry.path.relative_to(base / stage).parts
            if key == "digests" or not inside:
                continue
            if stage == TrainedModel.stage and key == "checkpoints":
                checkpoints[str(entry.path.parent)].append(entry)
            elif len(inside) > 1:
                folders[stage, key].attempts[inside[0]].append(entry)
            elif match := MANIFEST.fullmatch(inside[0]):
                folders[stage, key].manifests.append(_Listed(entry, match[1], int(match[2])))
    return dict(folders), dict(checkpoints)


def _in_use(root: UPath, now: float) -> set[Key]:
    """The keys that runs work with which are not over."""
    runs: dict[str, dict[str, Entry]] = defaultdict(dict)
    for entry in files.entries(root / "runs"):
        run, *inside = entry.path.relative_to(root / "runs").parts
        runs[run]["/".join(inside)] = entry
    used: set[Key] = set()
    for said in runs.values():
        if "end.json" in said or "start.json" not in said:
            continue
        # What is noted of it later, in tracking.json for one, is no sign of life.
        signs = [name for name in said if name in ("start.json", "heartbeat") or name.startswith("work/")]
        newest = max(said[name].modified for name in signs)
        if now - newest > SILENT:
            continue
        place = said["start.json"].path
        try:
            used |= {(node["stage"], node["key"]) for node in own_files.load(place, _Start)["nodes"]}
        except own_files.DamagedError as error:
            heartbeat = place.parent / "heartbeat"
            if now - newest < HOUR or is_beating(heartbeat, unknown=True):
                raise UserError(
                    f"{place} cannot be read, so nobody knows what that run works with: {error.problem}. "
                    f"Nothing was deleted. If the run is over, delete {place.parent}."
                ) from error
            own_files.name(error)
    return used


def _superseded(folder: _Folder, now: float) -> list[_Listed]:
    """The manifests of lower numbers than another one of the same inputs that is older than a day."""
    highest: dict[str, int] = {}
    for listed in folder.manifests:
        if _is_old(listed.entry, now):
            highest[listed.inputs] = max(listed.number, highest.get(listed.inputs, 0))
    return [listed for listed in folder.manifests if listed.number < highest.get(listed.inputs, 0)]


def _old_keys(folders: Mapping[Key, _Folder], keep: int) -> set[Key]:
    """All but the newest keys of each stage, by when their newest artifact was made."""
    by_stage: dict[str, list[tuple[float, Key]]] = defaultdict(list)
    for key, folder in folders.items():
        if folder.manifests:
            newest = max(listed.entry.modified for listed in folder.manifests)
            by_stage[key[0]].append((newest, key))
    return {key for made in by_stage.values() for _, key in sorted(made, reverse=True)[keep:]}


def _listed_files(
    root: UPath, folders: Mapping[Key, _Folder], gone: Collection[str]
) -> tuple[set[str], set[str], set[Key]]:
    """The files of artifacts that stay, those of artifacts that go, and where a manifest cannot be read."""
    wanted: set[str] = set()
    released: set[str] = set()
    unreadable: set[Key] = set()
    for key, folder in folders.items():
        for listed in folder.manifests:
            goes = str(listed.entry.path) in gone
            try:
                manifest = own_files.load(listed.entry.path, Manifest)
            except FileNotFoundError:  # somebody else is cleaning
                continue
            except own_files.DamagedError as error:
                own_files.name(error)
                unreadable |= set() if goes else {key}
                continue
            places = {str(root / file.path) for file in manifest.files.values()}
            if goes:
                released |= places
            else:
                wanted |= places
    return wanted, released - wanted, unreadable


def _as_seen(root: UPath, key: Key, folder: _Folder) -> bool:
    """Whether no manifest has been created since the folder was listed: it may list any file there."""
    known = {listed.entry.path.name for listed in folder.manifests}
    there = files.names(artifact_folder(root, *key))
    return all(name in known or not MANIFEST.fullmatch(name) for name in there)


def _unlisted(folder: _Folder, wanted: Collection[str], now: float) -> list[Entry]:
    """The files that no manifest lists, of attempts that have written nothing for a day."""
    return [
        entry
        for entries in folder.attempts.values()
        if all(_is_old(entry, now) for entry in entries)
        for entry in entries
        if str(entry.path) not in wanted
    ]


def _old_checkpoints(
    states: list[Entry], wanted: Collection[str], released: Collection[str], now: float
) -> list[Entry]:
    """The checkpoints of a folder that no artifact lists, but the newest of an unfinished training."""
    places = {
        str(entry.path): place for entry in states if (place := checkpoint_place(entry.path.name)) is not None
    }
    start = (0, 0)
    finished = max((at for path, at in places.items() if path in wanted or path in released), default=start)
    newest = max(places, key=lambda path: (places[path], path), default="")
    goes_on = {newest} if places.get(newest, start) > finished else set()
    return [
        entry
        for entry in states
        if _is_old(entry, now) and str(entry.path) not in wanted and str(entry.path) not in goes_on
    ]


def _carried(root: UPath, now: float) -> list[Entry]:
    """What was carried to workers more than a week ago, its list first: without it all is carried again."""
    carried: dict[UPath, list[Entry]] = defaultdict(list)
    for entry in files.entries(root / FOLDER):
        carried[root / FOLDER / entry.path.relative_to(root / FOLDER).parts[0]].append(entry)
    return [
        entry
        for place, entries in carried.items()
        if all(now - entry.modified > SILENT for entry in entries)
        for entry in sorted(entries, key=lambda entry: entry.path != place / LIST)
    ]


def _left_aside(root: UPath, now: float) -> list[Entry]:
    left = [*files.left_aside(root / "artifacts"), *files.left_aside(root / "runs")]
    tokens = files.entries(root / "preflight")  # a job may wait for days until its workers look for them
    silent = [entry for entry in tokens if now - entry.modified > SILENT]
    return [*(entry for entry in left if _is_old(entry, now)), *silent]


def _delete(root: UPath, entries: Collection[Entry]) -> None:
    """Deletes files, and the local folders of attempts and keys that are empty then."""
    files.delete(entry.path for entry in entries)
    if not files.is_local(root):
        return
    stages = [root / "artifacts" / stage for stage in files.names(root / "artifacts")]
    for folder in {entry.path.parent for entry in entries}:
        while any(stage in folder.parents for stage in stages) and not files.names(folder):
            files.delete_empty_folders(folder)
            folder = folder.parent


def _is_old(entry: Entry, now: float) -> bool:
    return now - entry.modified > DAY
