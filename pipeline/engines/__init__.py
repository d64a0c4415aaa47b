"""What runs the Beam job: this process, worker processes, a portable engine, or Dataflow."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.config.models import PipelineConfig
from pipeline.engines.engine import Engine


def engine_of(config: PipelineConfig, flags: Sequence[str] = ()) -> Engine:
    """Returns the engine of a configuration.

    Args:
        config: of the run.
        flags: Beam's flags from the command line; they count more than `runner.options`.

    Raises:
        UserError: if an option is not known, or one is missing that the engine needs.
    """
    kind = config.runner.type
    if kind == "portable":
        from pipeline.engines.portable import PortableEngine

        return PortableEngine(config.runner.options, flags)
    if kind == "dataflow":
        from pipeline.engines.dataflow import DataflowEngine

        return DataflowEngine(config.runner.options, flags)
    if kind == "processes":
        from pipeline.engines.processes import ProcessesEngine

        return ProcessesEngine(config.runner.options, flags)
    from pipeline.engines.local import LocalEngine

    return LocalEngine(config.runner.options, flags)
