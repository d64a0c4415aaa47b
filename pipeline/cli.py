"""The command line: rnnpipe, or python -m pipeline.

Everything heavy is imported inside the command that needs it, so that help and configuration errors come at
once.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from components.errors import UserError
from components.redaction import without_password
from pipeline.cli_crossval import crossval
from pipeline.cli_models import evaluate, predict, pull, rollback, score, serve
from pipeline.cli_options import (
    ConfigAndFlags,
    ConfigFile,
    Detach,
    Force,
    Overrides,
    Pipeline,
    Root,
    Until,
    Verbose,
    config_and_flags,
)
from pipeline.cli_sweep import app as sweep_app
from pipeline.init.command import init
from pipeline.output import drop_output, prepare_output, steady_output

app = typer.Typer(
    name="rnnpipe",
    help="Recurrent text models, from a table of text to a served SavedModel.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

DEFAULT = Path("pipeline.yaml")

app.command()(init)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"rnnpipe {version('rnnpipe')}")
        raise typer.Exit


@app.callback()
def _program(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Recurrent text models, from a table of text to a served SavedModel."""


@app.command()
def run(
    arguments: ConfigAndFlags = None,
    set_: Overrides = None,
    until: Until = None,
    force: Force = None,
    verbose: Verbose = False,
    detach: Detach = False,
) -> None:
    """Run the pipeline; reuse every stage that nothing has changed.

    Behind -- stand flags of Beam, such as --job_endpoint=localhost:8073; see docs/runners.md.
    """
    from pipeline.config import load_config
    from pipeline.run.interrupt import EXIT_CODE as INTERRUPTED
    from pipeline.run.pipeline import run_pipeline
    from pipeline.temporary import temporary_folder

    config, flags = config_and_flags(arguments or [], DEFAULT)
    overrides = set_ or []
    loaded = load_config(config, overrides)
    with temporary_folder():
        code = run_pipeline(
            loaded,
            Console(file=steady_output()),
            str(config),
            overrides,
            until=until,
            force=force or [],
            verbose=verbose,
            flags=flags,
            detach=detach,
        )
    if code == INTERRUPTED:
        # Everything is written; the libraries' threads would take another second or two to wind down.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    raise typer.Exit(code)


@app.command()
def plan(
    config: ConfigFile = DEFAULT, set_: Overrides = None, until: Until = None, force: Force = None
) -> None:
    """Show what a run would do, stage by stage, and why."""
    from pipeline.config import load_config
    from pipeline.config.places import Places
    from pipeline.plan.planning import check_data, make_plan
    from pipeline.run.console import show_plan
    from pipeline.run.folder import keys_of
    from pipeline.run.models import initial_of
    from pipeline.store.store import Store

    loaded = load_config(config, set_ or [])
    places = Places.of(loaded)
    store = Store(places.root)
    plans = make_plan(
        loaded,
        places,
        store,
        until=until,
        force=force or [],
        initial=initial_of(loaded),
        earlier=lambda: keys_of(places.root, loaded.name),
    )
    check_data(loaded, places, plans)
    console = Console()
    show_plan(console, loaded, plans)
    if loaded.sweep is not None and plans.rungs:
        from pipeline.run.sweep_table import total, trials_table
        from pipeline.sweep.pace import Pace

        pace = Pace(store)
        console.print()
        console.print(trials_table(plans, pace))
        console.print(total(plans, loaded.sweep, pace), highlight=False)


@app.command()
def schema() -> None:
    """Print the JSON schema of pipeline.yaml."""
    from pipeline.config import config_schema

    print(json.dumps(config_schema(), indent=2, ensure_ascii=False))


app.command()(crossval)
app.add_typer(sweep_app, name="sweep")
for command in (predict, evaluate, score, serve, rollback, pull):
    app.command()(command)


@app.command()
def runs(root: Root = "runs", name: Pipeline = None) -> None:
    """List the runs pipeline by pipeline: encoder, metrics, and which one is served."""
    from pipeline.report.runs_table import records_of, runs_tables

    console = Console()
    console.print(runs_tables(records_of(root, name), console.width), highlight=False)


@app.command()
def track(
    run: Annotated[str, typer.Argument(help="The run's id, or part of it.")],
    root: Root = "runs",
) -> None:
    """Send MLflow what it did not get while a run went on."""
    from pipeline.report.facts import find_runs
    from pipeline.tracking.track import track as send

    (sent_run,) = find_runs(root, [run])
    problems = send(sent_run)
    if problems:
        raise UserError(" ".join(problems))
    (sent,) = find_runs(root, [sent_run.record.id])
    print(f"MLflow has all of {sent.record.id} now, as {sent.record.tracking['run']}")


@app.command()
def compare(
    run: Annotated[list[str] | None, typer.Argument(help="Ids of runs, or parts of them.")] = None,
    newest: Annotated[int, typer.Option(min=2, max=26, help="How many runs, if none is named.")] = 5,
    root: Root = "runs",
    name: Pipeline = None,
    html: Annotated[Path | None, typer.Option(help="Also write a page with a picture.")] = None,
) -> None:
    """Set runs side by side: what differs, by how much, and whether that is more than noise."""
    from pipeline.report.compare import compare as side_by_side
    from pipeline.report.compare_text import comparison_text
    from pipeline.report.facts import find_runs

    comparison = side_by_side(find_runs(root, run or [], newest, name))
    console = Console()
    console.print(comparison_text(comparison, console.width), highlight=False)
    if html:
        from pipeline.report.pages import comparison_page

        html = html.expanduser()
        html.write_text(comparison_page(comparison), encoding="utf-8")
        print(f"\nwritten to {html}")


@app.command()
def clean(
    root: Root = "runs",
    keep: Annotated[
        int | None, typer.Option(min=1, help="Keep the artifacts of so many newest keys of each stage only.")
    ] = None,
) -> None:
    """Delete what no run needs, and is older than a day: unfinished attempts, artifacts that were rebuilt."""
    from pipeline.config.places import root_of
    from pipeline.store.clean import clean as clean_root
    from pipeline.temporary import remove_abandoned

    print(clean_root(root_of(root), keep))
    if removed := remove_abandoned():
        print(f"deleted the temporary files of {removed} commands that were killed")


@app.command()
def ui(
    config: ConfigFile = DEFAULT,
    set_: Overrides = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port on 127.0.0.1.")] = 5000,
    browser: Annotated[
        bool | None,
        typer.Option(
            "--browser/--no-browser", help="Whether to open it there. Default: from a terminal on a desktop."
        ),
    ] = None,
) -> None:
    """Open the MLflow UI on the pipeline's experiment."""
    from pipeline.config import load_config, resolved
    from pipeline.tracking.ui import show_ui

    tracking = resolved(load_config(config, set_ or []))["tracking"]
    raise typer.Exit(show_ui(tracking["uri"], tracking["experiment"], port, browser))


def main() -> None:
    """Runs the command line; errors meant for the user are printed without a traceback."""
    prepare_output()
    try:
        app()
    except UserError as error:
        print(without_password(str(error)), file=sys.stderr)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        drop_output()
        sys.exit(1)
    except OSError as error:  # a full disk, no permission, a store that cannot be reached
        print(without_password(str(error)), file=sys.stderr)
        sys.exit(1)
