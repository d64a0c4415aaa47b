"""Arguments and options that commands share."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from components.errors import UserError


class SignatureName(str, Enum):
    """What a served model can be asked for."""

    serving_default = "serving_default"
    classify = "classify"
    n_best = "n_best"
    explain = "explain"
    score = "score"


class ServerName(str, Enum):
    """What can serve a model."""

    binary = "binary"
    docker = "docker"
    mlflow = "mlflow"


def _stage(name: str) -> str:
    """Checks the name of a stage; asked only where there is one, as stages need the configuration."""
    from pipeline.stages import stage_named

    try:
        return stage_named(name).name
    except UserError as error:
        raise typer.BadParameter(str(error)) from error


ConfigFile = Annotated[Path, typer.Argument(metavar="[CONFIG]", help="The pipeline's YAML file.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PATH=VALUE", help="Override a key: --set train.epochs=6."),
]
Until = Annotated[
    str | None,
    typer.Option(parser=_stage, metavar="STAGE", help="Last stage to run; `rnnpipe plan` lists them."),
]
Force = Annotated[
    list[str] | None,
    typer.Option(
        parser=_stage,
        metavar="STAGE",
        help="Run this stage, and what builds on it, although nothing changed.",
    ),
]
Root = Annotated[str, typer.Option(help="The pipeline's root: a directory, or an address such as s3://...")]
