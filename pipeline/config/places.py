"""Where a run's things are, resolved where the command is given: a worker may stand in another folder."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from upath import UPath

from components import files
from components.errors import UserError
from components.ingest.sources import Source, find_sources
from components.text import is_utf8_path, printable
from pipeline.config.models import PipelineConfig


def root_of(root: str | os.PathLike[str] | UPath) -> UPath:
    """Resolves the root of a pipeline, which need not be there yet.

    Raises:
        UserError: if it is a file, is below one, or is an address that cannot be used.
    """
    place = files.resolve(root)
    if files.is_local(place):
        for path in (files.local(place), *files.local(place).parents):
            if path.exists():
                if not path.is_dir():
                    raise UserError(
                        f"received the root {root}, but {path} is a file; expected a directory, which is "
                        "made if it is not there."
                    )
                break
    return place


@dataclass(frozen=True)
class Places:
    """Absolute places.

    Args:
        root: of the artifacts and the runs.
        serving: where models are pushed to.
        sources: the user's files.
    """

    root: UPath
    serving: UPath
    sources: Sequence[Source]

    @classmethod
    def of(cls, config: PipelineConfig) -> Places:
        """Finds them.

        Raises:
            UserError: if an address cannot be used, or a file is not there.
        """
        return cls(
            _in_utf8("root", config.root, root_of(config.root)),
            _in_utf8("export.directory", config.export.directory, files.resolve(config.export.directory)),
            find_sources(config.ingest, config.task),
        )


def _in_utf8(key: str, given: str, place: UPath) -> UPath:
    if not is_utf8_path(str(place)):
        raise UserError(
            f"{key}: received {given!r}, which is {printable(str(place))}, expected a path in UTF-8: "
            f"TensorFlow and MLflow know no other. Rename the folder, or work in another one."
        )
    return place
