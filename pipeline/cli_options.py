"""Arguments and options that commands share."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from components.errors import UserError

if TYPE_CHECKING:
    from components.ingest.sources import Dialect


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
ConfigAndFlags = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[CONFIG] [-- FLAGS]",
        help="The pipeline's YAML file; behind --, flags of Beam and the engine.",
    ),
]
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
Verbose = Annotated[bool, typer.Option("--verbose", help="Show tracebacks.")]
Detach = Annotated[
    bool,
    typer.Option(
        "--detach",
        help="Leave once the engine has taken the job; the same command without it attaches again.",
    ),
]
TextColumn = Annotated[
    str | None,
    typer.Option(
        help="The texts' column: a name, or a position from 0 in files without a header line. Default: "
        "source, for a classifier text."
    ),
]
Delimiter = Annotated[str | None, typer.Option(help=r"As `ingest.delimiter`; \t is the tab.")]
Quoting = Annotated[bool | None, typer.Option("--quoting/--no-quoting", help="As `ingest.quoting`.")]
Encoding = Annotated[str, typer.Option(help="As `ingest.encoding`.")]
Pipeline = Annotated[
    str | None, typer.Option("--name", help="The pipeline's name. Default: whichever there are.")
]
Root = Annotated[str, typer.Option(help="The pipeline's root: a directory, or an address such as s3://...")]


def dialect_of(delimiter: str | None, quoting: bool | None, encoding: str) -> Dialect:
    """Returns how tables are written, as the options say."""
    from components.ingest.sources import Dialect

    # A shell passes "\t", as advice has it, on as two characters.
    return Dialect("\t" if delimiter == r"\t" else delimiter, quoting, encoding)


def config_and_flags(arguments: list[str], default: Path) -> tuple[Path, list[str]]:
    """Tells the configuration from the flags behind --.

    Args:
        arguments: as the command line gives them, without the --.
        default: the configuration where none is named.

    Raises:
        UserError: if there is something else among them.
    """
    named = [arguments[0]] if arguments and not arguments[0].startswith("--") else []
    flags = arguments[len(named) :]
    for flag in flags:
        if not flag.startswith("--"):
            raise UserError(
                f"received {flag!r}, expected one configuration and, behind --, flags such as "
                "--job_endpoint=localhost:8073, with = before the value"
            )
    return Path(named[0]) if named else default, flags
