"""The command `run`: from a configuration to the summary of its run."""

from __future__ import annotations

from collections.abc import Collection

from rich.console import Console

from components.errors import UserError
from pipeline.config import PipelineConfig
from pipeline.config.places import Places
from pipeline.engines import engine_of
from pipeline.plan.planning import check_data, make_plan
from pipeline.run.console import go_on_command, show_plan
from pipeline.run.execute import Run
from pipeline.run.folder import keys_of
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
    flags: Collection[str] = (),
    detach: bool = False,
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
        flags: Beam's, from behind --.
        detach: whether to leave once an engine has taken the job.

    Returns:
        The exit code: 0, 1 (failed), 3 (the model is not good enough to be pushed) or 130 (interrupted).
    """
    if not verbose:
        silence_libraries()
    engine = engine_of(config, list(flags))
    if detach and not engine.detaches:
        raise UserError(
            f"--detach: the jobs of runner.type {config.runner.type} end with this process; expected "
            "portable or dataflow"
        )
    places = Places.of(config)
    store = Store(places.root)
    clean_cheaply(places.root)
    plan = make_plan(
        config,
        places,
        store,
        until,
        force,
        initial_of(config),
        earlier=lambda: keys_of(places.root, config.name),
    )
    check_data(config, places, plan)
    command = _command(config_file, overrides, until, force, verbose, flags)
    run = Run(config, console, command, places, plan, store, force, verbose, engine=engine, detach=detach)
    if run.nothing_to_do():
        console.print(f"[bold]{config.name}[/]: nothing to do, all {len(plan)} stages are reused.")
    else:
        show_plan(console, config, plan)
        console.print()
        if code := run.execute():
            return code
    if run.goes_on:
        return 0
    return summarize(config, console, config_file, run.outcome())


def _command(
    config_file: str,
    overrides: Collection[str],
    until: str | None,
    force: Collection[str],
    verbose: bool,
    flags: Collection[str],
) -> str:
    """The command that goes on with this run."""
    options = [f"--until={until}"] if until else []
    options += [f"--force={stage}" for stage in force]
    return go_on_command("run", config_file, options, overrides, verbose, flags)
