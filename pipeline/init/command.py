"""The command `rnnpipe init`."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from components.errors import UserError


class TaskName(str, Enum):
    """What a model does."""

    classification = "classification"
    seq2seq = "seq2seq"


def _column(help_: str) -> typer.models.OptionInfo:
    option: typer.models.OptionInfo = typer.Option(
        metavar="COLUMN",
        help=f"{help_}: its name, its position from 0 where there is no header line, or its file.",
    )
    return option


def init(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE",
            help="CSV, TSV, JSON lines or Parquet, also .gz; or two text files aligned line by line. "
            "Several files, and globs in quotes, are told apart by names such as train, dev and test.",
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to write.")] = Path(
        "pipeline.yaml"
    ),
    name: Annotated[str | None, typer.Option(help="The model's name. Default: after the file.")] = None,
    task: Annotated[TaskName | None, typer.Option(help="Default: by what is in the columns.")] = None,
    text: Annotated[str | None, _column("Classification: the column of the texts")] = None,
    label: Annotated[str | None, _column("Classification: the column of the labels")] = None,
    source: Annotated[str | None, _column("Text to text: the column that is read")] = None,
    target: Annotated[str | None, _column("Text to text: the column of the answers")] = None,
    encoding: Annotated[
        str | None, typer.Option(help="Such as cp1252. Default: what fits the bytes.")
    ] = None,
    delimiter: Annotated[
        str | None,
        typer.Option(help=r"The character between the cells of a table; \t is the tab. Default: what fits."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Take the best guess, ask nothing.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the output.")] = False,
) -> None:
    """Write a pipeline.yaml from data: format, columns, splits, tokenizer, lengths and bounds, with reasons.

    Of large files some megabytes are looked at: the beginning, and pieces from all over.
    """
    from rich.console import Console

    from pipeline.cli_options import dialect_of
    from pipeline.init.draft import Wishes
    from pipeline.init.make import init as make
    from pipeline.temporary import temporary_folder

    given = {"text": text, "label": label, "source": source, "target": target}
    columns = {field: column for field, column in given.items() if column is not None}
    for fields, of in ((("text", "label"), "classification"), (("source", "target"), "seq2seq")):
        named = [f"--{field}" for field in fields if field in columns]
        others = [f"--{field}" for field in columns if field not in fields]
        if named and (others or (task and task.value != of)):
            raise UserError(
                f"init: received {' and '.join(named)}, which {'is' if len(named) == 1 else 'are'} for {of}, "
                f"with {others[0] if others else f'--task {task.value}' if task else ''}. Name --text and "
                f"--label, or --source and --target."
            )
    wishes = Wishes(
        name,
        task.value if task else None,
        columns,
        encoding,
        dialect_of(delimiter, None, "utf-8").delimiter,
        yes,
    )
    with temporary_folder():
        make(paths, wishes, output, force, Console())
