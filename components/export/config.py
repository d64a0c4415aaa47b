"""Configuration of the export stage."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator

from components.strict import Strict

_SCHEMES = ("s3", "gs", "memory")


class ExportConfig(Strict):
    """Where the served model goes."""

    directory: str = "serving"
    """A blessed model is pushed to <directory>/<name>/<version>. It may be at s3:// or gs://: `rnnpipe pull`
    mirrors it to a disk, from where TensorFlow Serving reads."""
    keep_versions: Annotated[int, Field(ge=2)] = 5
    """How many versions stay there: the newest ones. Older ones are removed by the next push."""
    replay_examples: Annotated[int, Field(ge=32)] = 64
    """Evaluated examples that the SavedModel must answer in a fresh process as it did in evaluation."""

    @field_validator("directory")
    @classmethod
    def _known(cls, directory: str) -> str:
        scheme, separator, _ = directory.partition("://")
        if separator and scheme not in _SCHEMES:
            known = ", ".join(f"{scheme}://" for scheme in _SCHEMES)
            raise ValueError(f"expected a local directory, or an address that begins with {known}")
        return directory
