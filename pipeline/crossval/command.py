"""The command `crossval`: from a configuration to a table of its folds."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from components import files
from components.artifacts.artifact import Artifact
from components.ingest.beginnings import check_columns
from pipeline.config import PipelineConfig
from pipeline.config.places import Places
from pipeline.crossval.answers import check_output, write_answers
from pipeline.crossval.folds import cross_validation
from pipeline.crossval.page import Page
from pipeline.crossval.plan import plan_folds
from pipeline.crossval.results import Results, results_of
from pipeline.crossval.table import folds_table, problems, remarks, summary_table
from pipeline.engines import engine_of
from pipeline.run.console import go_on_command, plan_table
from pipeline.run.execute import Run
from pipeline.run.libraries import silence_libraries
from pipeline.run.models import initial_of
from pipeline.run.sweep_table import trials_table
from pipeline.store.clean import clean_cheaply
from pipeline.store.store import Store
from pipeline.sweep.pace import Pace

FEWER_FOLDS = 1


def cross_validate(
    config: PipelineConfig,
    console: Console,
    config_file: str,
    overrides: Collection[str] = (),
    folds: int = 5,
    by: str | None = None,
    parallel: int = 1,
    output: Path | None = None,
    flags: Collection[str] = (),
    verbose: bool = False,
    plan_only: bool = False,
) -> int:
    """Trains a configuration once for every fold, and measures it on the records of that fold.

    Nothing is exported, judged or pushed. What is there already of any fold is reused.

    Args:
        config: as for a run.
        console: where to speak.
        config_file: how the user named the configuration, for advice.
        overrides: what the user set on the command line, for advice.
        folds: how many.
        by: the column whose values stay together.
        parallel: how many folds a worker trains at the same time.
        output: the file that gets the out-of-fold answers.
        flags: Beam's, from behind --.
        verbose: whether failures show the traceback.
        plan_only: whether to show only what would be done.

    Returns:
        The exit code: 0, 1 (failed, or some folds did) or 130 (interrupted).

    Raises:
        UserError: if the configuration cannot be cross-validated.
    """
    if not verbose:
        silence_libraries()
    whole = cross_validation(config, folds, by, parallel)
    places, first = Places.of(whole.config), whole.trials[0].config
    if output is not None:
        check_output(output, places.sources)
    check_columns(first.ingest, first.task, places.sources)
    engine = engine_of(config, list(flags))
    store = Store(places.root)
    plan = plan_folds(whole.trials, places, store, parallel, initial_of(config))
    if plan_only:
        console.print(plan_table(plan))
        console.print()
        console.print(trials_table(plan, Pace(store)))
        return 0
    clean_cheaply(places.root)
    for note in whole.notes:
        console.print(note, highlight=False, markup=False, soft_wrap=True)
    page = Page(whole.config, plan, whole.notes)
    command = _command(config_file, overrides, folds, by, parallel, output, verbose, flags)
    run = Run(whole.config, console, command, places, plan, store, (), verbose, engine=engine, page=page)
    if run.nothing_to_do():
        console.print(f"[bold]{config.name}[/]: nothing to do, all {len(plan)} stages are reused.")
    elif code := run.execute():
        return code
    results = page.results or results_of(whole.config, plan, lambda name: run.artifact(name, Artifact))
    _show(console, results)
    if output is not None and results.measured:
        count = write_answers(output, results.folds, places.sources, config.task, list(config.ingest.keep))
        console.print(
            f"answers      {output} ({count:,} records)", highlight=False, markup=False, soft_wrap=True
        )
    if files.exists(run.card):
        console.print(
            f"card         {files.relative(run.card)}", highlight=False, markup=False, soft_wrap=True
        )
    return FEWER_FOLDS if results.missing else 0


def _show(console: Console, results: Results) -> None:
    console.print()
    console.print(folds_table(results))
    if results.spreads:
        console.print()
        console.print(summary_table(results))
    console.print()
    for color, lines in (("red", problems(results)), ("dim", remarks(results))):
        for line in lines:
            console.print(f"[{color}]{escape(line)}[/]", highlight=False, soft_wrap=True)


def _command(
    config_file: str,
    overrides: Collection[str],
    folds: int,
    by: str | None,
    parallel: int,
    output: Path | None,
    verbose: bool,
    flags: Collection[str],
) -> str:
    """The command that goes on with this one."""
    options = [f"--folds={folds}"]
    options += [f"--by={by}"] if by is not None else []
    options += [f"--parallel={parallel}"] if parallel > 1 else []
    options += [f"--output={output}"] if output else []
    return go_on_command("crossval", config_file, options, overrides, verbose, flags)
