"""Configuration of the export stage."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator

from components.strict import Strict


class ExportConfig(Strict):
    """Where the served model goes."""

    directory: str = "serving"
    """A blessed model is pushed to <directory>/<name>/<version>."""
    keep_versions: Annotated[int, Field(ge=2)] = 5
    """How many versions stay there: the newest ones. Older ones are removed by the next push."""
    replay_examples: Annotated[int, Field(ge=32)] = 64
    """Evaluated examples that the SavedModel must answer in a fresh process as it did in evaluation."""

    @field_validator("directory")
    @classmethod
    def _local(cls, directory: str) -> str:
        if "://" in directory:
            raise ValueError("expected a local directory; copy it to object storage once it is pushed")
        return directory
