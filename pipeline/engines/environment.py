"""What of an environment must be the same for the launcher and its workers."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from pipeline.engines.sources import source_digest


@dataclass(frozen=True)
class Environment:
    """Versions.

    Args:
        python: major and minor.
        beam: of apache-beam.
        tensorflow: of TensorFlow.
        keras: of Keras.
        rnnpipe: for people: two copies of one version may differ.
        source: a hash of rnnpipe's files.
    """

    python: str
    beam: str
    tensorflow: str
    keras: str
    rnnpipe: str
    source: str

    @classmethod
    def here(cls) -> Environment:
        """Returns that of this process, without importing anything of it."""
        return cls(
            python=f"{sys.version_info.major}.{sys.version_info.minor}",
            beam=_version("apache-beam"),
            tensorflow=_version("tensorflow"),
            keras=_version("keras"),
            rnnpipe=_version("rnnpipe"),
            source=source_digest(),
        )

    def differences(self, other: Environment, here: str = "here", there: str = "there") -> list[str]:
        """Says what is not the same.

        Args:
            other: another environment.
            here: what people call the place of this one.
            there: and that of the other.

        Returns:
            Phrases such as "Keras 3.15.1 here, 3.14.0 there"; none if they agree.
        """
        ours, theirs = self._shown(), other._shown()
        different = [name for name in ours if ours[name] != theirs[name]]
        if self.source == other.source:
            different = [name for name in different if name != "rnnpipe"]
        return [f"{name} {ours[name]} {here}, {theirs[name]} {there}" for name in different]

    def _shown(self) -> dict[str, str]:
        return {
            "Python": self.python,
            "Apache Beam": self.beam,
            "TensorFlow": self.tensorflow,
            "Keras": self.keras,
            "rnnpipe": f"{self.rnnpipe} (source {self.source})",
        }


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "missing"
