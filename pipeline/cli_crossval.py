"""The command line of a cross-validation."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from pipeline.cli_options import ConfigAndFlags, Overrides, Verbose, config_and_flags
from pipeline.output import steady_output


def crossval(
    arguments: ConfigAndFlags = None,
    folds: Annotated[int, typer.Option(help="How many folds, from 2 to 20.")] = 5,
    by: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN",
            help="No value of this column is in two folds, as no author or site should be. Default: "
            "that of `ingest.split`, if it is by group. Without one, folds are stratified by label (seq2seq: "
            "by hash).",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write every record's out-of-fold answer there: .csv, .jsonl or .parquet.",
        ),
    ] = None,
    parallel: Annotated[int, typer.Option(min=1, help="Folds that a worker trains at the same time.")] = 1,
    set_: Overrides = None,
    plan: Annotated[bool, typer.Option("--plan", help="Only show what would be done.")] = False,
    verbose: Verbose = False,
) -> None:
    """Measure a configuration on all records, each by a model that has not seen it; see docs/crossval.md.

    Records are dealt to folds; for every fold a model is trained on the others. Nothing is exported or
    pushed. Behind -- stand flags of Beam, as for run.
    """
    from pipeline.config import load_config
    from pipeline.crossval.command import cross_validate
    from pipeline.temporary import temporary_folder

    config, flags = config_and_flags(arguments or [], Path("pipeline.yaml"))
    overrides = set_ or []
    loaded = load_config(config, overrides)
    with temporary_folder():
        code = cross_validate(
            loaded,
            Console(file=steady_output()),
            str(config),
            overrides,
            folds,
            by,
            parallel,
            output,
            flags,
            verbose,
            plan,
        )
    raise typer.Exit(code)
