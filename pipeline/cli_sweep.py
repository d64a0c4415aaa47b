"""The commands of `rnnpipe sweep`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from rich.console import Console

from pipeline.cli_options import Root

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Sweeps: many trials of one run.")


@app.callback()
def _sweep() -> None:
    """Sweeps: many trials of one run."""


@app.command()
def show(
    run: Annotated[
        str | None, typer.Argument(help="The run's id, or part of it. Default: the newest sweep.")
    ] = None,
    csv: Annotated[bool, typer.Option("--csv", help="Write a row for every trial, with all digits.")] = False,
    root: Root = "runs",
) -> None:
    """Show the ranking of a sweep, also while it runs: what every trial scores, and which is picked."""
    from pipeline.config.places import root_of
    from pipeline.run.sweep_ranking import find_sweep, ranking_text

    record = find_sweep(root_of(root), run)
    if csv:
        from pipeline.run.ranking_csv import ranking_csv

        sys.stdout.write(ranking_csv(record))
        sys.stdout.flush()
    else:
        Console().print(ranking_text(record), highlight=False)
