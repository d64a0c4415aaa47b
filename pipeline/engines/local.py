"""This process as the engine."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pipeline.engines.engine import Build, Engine, Job

if TYPE_CHECKING:
    from apache_beam.runners.portability.fn_api_runner import FnApiRunner


class LocalEngine(Engine):
    """Beam's FnApiRunner, in this process.

    Args:
        options: `runner.options`.
        flags: of the command line.
    """

    ours: ClassVar[dict[str, Any]] = {}
    """Options that suit TensorFlow."""

    def __init__(self, options: Mapping[str, Any], flags: Sequence[str] = ()) -> None:
        self._flags: list[str] = []
        if self.ours or options or flags:
            from pipeline.engines.options import beam_options, refuse_unknown

            self._flags = beam_options(self.ours, options, flags)
            refuse_unknown(self._flags, "the local runner")

    def submit(self, build: Build, name: str, packages: Sequence[Path] = ()) -> Job:
        """Takes the job; it works when it is waited for."""
        return _LocalJob(self, build)

    def runner(self) -> FnApiRunner:
        """Returns Beam's runner by name, as its default first tries to download another one."""
        from apache_beam.runners.portability.fn_api_runner import FnApiRunner

        return FnApiRunner()

    @contextlib.contextmanager
    def prepared(self) -> Iterator[None]:
        """Prepares this process for the length of a job."""
        yield

    def run(self, build: Build) -> None:
        """Runs a pipeline to its end."""
        import apache_beam as beam
        from apache_beam.options.pipeline_options import PipelineOptions

        pipeline = beam.Pipeline(runner=self.runner(), options=PipelineOptions(self._flags))
        with self.prepared(), pipeline:
            build(pipeline)


class _LocalJob(Job):
    def __init__(self, engine: LocalEngine, build: Build) -> None:
        self._engine = engine
        self._build = build

    @property
    def note(self) -> None:
        """It ends with this process."""

    def wait(self) -> None:
        self._engine.run(self._build)

    def cancel(self) -> None:
        """The exception that ends the waiting has ended it."""
