"""Mirrors a remote serving directory to a disk, from where servers read models."""

from __future__ import annotations

from collections.abc import Iterator

from upath import UPath

from components import files
from components.errors import UserError
from components.own_files import DamagedError
from pipeline.serving.served import Served
from pipeline.serving.serving_files import write_serving_files
from pipeline.serving.versions import (
    GRAPH,
    Note,
    damage,
    load_note,
    mirror,
    read_note,
    remove,
    remove_stale,
    versions,
)


def pull(url: str, directory: str) -> Iterator[str]:
    """Copies the versions that are not there yet, and removes those that are gone.

    It may be repeated, also after it was killed: a version is there whole or not at all.

    Args:
        url: of a directory of models, or of one model's versions.
        directory: on this machine, which holds a directory of versions for each model.

    Yields:
        What was done, a line for each version.

    Raises:
        UserError: if there is no model, or a version cannot be copied whole.
    """
    source, target = files.resolve(url), files.resolve(directory)
    if not files.is_local(target):
        raise UserError(f"received {directory}; expected a directory on this machine to pull the models to.")
    if versions(source):
        models = [source]
    else:
        names = [name for name in files.names(source) if not name.startswith(".")]
        models = [source / name for name in names if versions(source / name)]
    if not models:
        raise UserError(
            f"{url} holds no version of a model; expected the directory that models are pushed to, or one "
            "model's directory in it."
        )
    pushed = [model.name for model in models if files.names(target / f"{model.name}.rnnpipe")]
    if pushed:
        raise UserError(
            f"models are pushed to {directory} ({', '.join(pushed)}); expected another directory to pull to, "
            "such as served, since versions of both would have the same numbers."
        )
    damaged: list[str] = []
    for model in models:
        try:
            yield from _pull_model(model, target / model.name, damaged)
        except OSError as error:
            raise UserError(
                f"could not pull {model} to {target}: {error}. What is there stays as it was. Make room "
                "there, or allow this user to write there; then give the command again."
            ) from error
    write_serving_files(target)
    if damaged:
        raise UserError(". ".join(damaged))


def _pull_model(source: UPath, target: UPath, damaged: list[str]) -> Iterator[str]:
    remove_stale(target)
    there = Served(source.parent, source.name).look().versions
    for number, place in sorted(there.items(), reverse=True):  # what answers comes first
        name = f"{source.name}/{number}"
        try:
            note = load_note(place)
            if note is None:
                yield f"{name}  passed over: rnnpipe has not pushed it, and cannot know whether it is whole"
            elif _is_here(note, target / str(number)):
                yield f"{name}  is there"
            else:
                mirror(place, files.local(target / str(number)), note)
                size = sum(size for size, _ in note.content.files.values())
                yield f"{name}  pulled, {size / 1e6:.1f} MB"
        except (UserError, DamagedError) as error:
            unread = isinstance(error, DamagedError)
            problem = f"what is noted of it cannot be read: {error}" if unread else str(error)
            damaged.append(problem)
            yield f"{name}  not pulled: {problem}"
    here = versions(target)
    for number, place in sorted(here.items())[:-1]:  # whatever happened there, something answers here
        if number not in there and read_note(place) is not None:
            remove(place)
            yield f"{source.name}/{number}  removed, as it is gone there"


def _is_here(note: Note, place: UPath) -> bool:
    here = read_note(place) if files.exists(place / GRAPH) else None
    return here == note and not damage(place, note.content)
