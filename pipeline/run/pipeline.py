"""The command `run`: from a configuration to the summary of its run."""

from __future__ import annotations

from collections.abc import Collection

from rich.console import Console

from components.redaction import without_password
from pipeline.config import PipelineConfig
from pipeline.config.places import Places
from pipeline.plan.planning import make_plan
from pipeline.run.console import command_line
from pipeline.run.execute import Run
from pipeline.run.libraries import silence_libraries
from pipeline.run.models import initial_of
from pipeline.run.summary import summarize
from pipeline.store.clean import clean_cheaply
from pipeline.store.store import Store


def run_pipeline(
    config: PipelineConfig,
    console: Console,
    config_file: str,
    overrides: Collection[str] = (),
    until: str | None = None,
    force: Collection[str] = (),
    verbose: bool = False,
) -> int:
    """Plans, runs what must run, pushes what may be pushed, and says what came of it.

    Args:
        config: the run's configuration.
        console: where to speak.
        config_file: how the user named the configuration, for advice.
        overrides: what the user set on the command line, for advice.
        until: last stage wanted; None means all.
        force: stages to run although they could be reused.
        verbose: whether failures show the traceback.

    Returns:
        The exit code: 0, 1 (failed), 3 (the model is not good enough to be pushed) or 130 (interrupted).
    """
    if not verbose:
        silence_libraries()
    places = Places.of(config)
    store = Store(places.root)
    clean_cheaply(places.root)
    plan = make_plan(config, places, store, until, force, initial_of(config))
    command = _command(config_file, overrides, until, force, verbose)
    run = Run(config, console, command, places, plan, store, force, verbose)
    if run.nothing_to_do():
        console.print(f"[bold]{config.name}[/]: nothing to do, all {len(plan)} stages are reused.")
    elif code := run.execute():
        return code
    return summarize(config, console, config_file, run.outcome())


def _command(
    config_file: str, overrides: Collection[str], until: str | None, force: Collection[str], verbose: bool
) -> str:
    """The command that goes on with this run; passwords are left out, for logs keep what is printed."""
    options = [f"--set={without_password(override)}" for override in overrides]
    options += [f"--until={until}"] if until else []
    options += [f"--force={stage}" for stage in force]
    options += ["--verbose"] if verbose else []
    return command_line("run", config_file, *options)
