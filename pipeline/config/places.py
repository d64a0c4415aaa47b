"""Where a run's things are, resolved where the command is given: a worker may stand in another folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from upath import UPath

from components import files
from components.errors import UserError
from components.ingest.sources import Source, find_sources
from components.text import is_utf8_path, printable
from pipeline.config.models import PipelineConfig


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
            _resolved("root", config.root),
            _resolved("export.directory", config.export.directory),
            find_sources(config.ingest, config.task),
        )


def _resolved(key: str, given: str) -> UPath:
    place = files.resolve(given)
    if not is_utf8_path(str(place)):
        raise UserError(
            f"{key}: received {given!r}, which is {printable(str(place))}, expected a path in UTF-8: "
            f"TensorFlow and MLflow know no other. Rename the folder, or work in another one."
        )
    return place
