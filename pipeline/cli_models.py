"""The commands that work with models: ask, measure, serve and bring back."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from rich.console import Console

from components.errors import UserError
from pipeline.cli_options import (
    Delimiter,
    Encoding,
    Overrides,
    Quoting,
    Root,
    ServerName,
    SignatureName,
    TextColumn,
    Verbose,
    dialect_of,
)
from pipeline.output import steady_output


def predict(
    model: Annotated[str, typer.Argument(help="A served model's directory, such as serving/dates.")],
    input_: Annotated[
        str | None,
        typer.Option(
            "--input",
            metavar="FILE",
            help="A table, or .txt with a text a line: a path, glob or address. Default: standard input.",
        ),
    ] = None,
    column: Annotated[
        str | None,
        typer.Option(
            help="The texts' column in the table: a name, or a position from 0 without a header line. "
            "Default: source, for a classifier text."
        ),
    ] = None,
    keep: Annotated[
        list[str] | None,
        typer.Option(
            help="A column that is kept before the answer, as it stands in the file; may be given again. "
            "In .parquet and .csv it becomes a string."
        ),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Where to, as .csv, .jsonl or .parquet, with the kept columns, input, error, prediction and "
            "score, or what another signature gives. Default: JSON lines here.",
        ),
    ] = None,
    delimiter: Delimiter = None,
    quoting: Quoting = None,
    encoding: Encoding = "utf-8",
    batch_size: Annotated[int, typer.Option(min=1, help="Texts answered at once.")] = 64,
    signature: Annotated[
        SignatureName,
        typer.Option(
            help="classify: every label; n_best: several answers; explain: what each token looked at; for "
            "score see `rnnpipe score`."
        ),
    ] = SignatureName.serving_default,
) -> None:
    """Answer a file, or the lines of standard input, in their order, from the SavedModel alone.

    What cannot be answered, such as an empty text, has an error that says why.
    """
    dialect = dialect_of(delimiter, quoting, encoding)
    if input_ is not None:
        from pipeline.serving.predict_table import predict_table

        predict_table(
            model,
            input_,
            column,
            keep or [],
            output,
            batch_size,
            signature.value,
            dialect,
            show=lambda line: print(line, flush=True),
        )
        return
    given: dict[str, object] = {"--column": column, "--keep": keep, "--output": output}
    given |= {"--delimiter": delimiter, "--quoting": quoting}
    given["--encoding"] = None if encoding == "utf-8" else encoding  # which standard input is in
    if needless := [option for option, value in given.items() if value is not None]:
        raise UserError(
            f"received {needless[0]} without --input, expected a file to which it applies: lines of standard "
            "input are texts, in UTF-8, and their answers go to standard output. Add --input FILE."
        )
    from pipeline.serving.predict import predict as answers

    for line in answers(model, sys.stdin.buffer, batch_size, signature.value):
        print(line, flush=True)


def evaluate(
    model: Annotated[str, typer.Argument(help="A run's id, or a served model's directory.")],
    paths: Annotated[list[str], typer.Argument(metavar="FILES", help="Labelled files, or globs.")],
    against: Annotated[
        str | None, typer.Option(help="`champion`, or another model: it answers the same examples.")
    ] = None,
    root: Root = "runs",
    set_: Overrides = None,
    verbose: Verbose = False,
) -> None:
    """Measure a model on new labelled files, as its run measured it; nothing is trained."""
    from pipeline.run.evaluation import evaluate_model
    from pipeline.temporary import temporary_folder

    console = Console(file=steady_output())
    with temporary_folder():
        code = evaluate_model(model, paths, console, against, root, set_ or [], verbose)
    raise typer.Exit(code)


def score(
    model: Annotated[str, typer.Argument(help="A served model's directory, such as serving/dates.")],
    files: Annotated[
        list[str] | None,
        typer.Argument(
            help="Tables of texts and targets, as a run reads them. None, or -: lines of standard input, "
            "each a text, a tab and its target."
        ),
    ] = None,
    text: TextColumn = None,
    target: Annotated[
        str | None,
        typer.Option(help="The targets' column, likewise. Default: target, for a classifier label."),
    ] = None,
    delimiter: Delimiter = None,
    quoting: Quoting = None,
    encoding: Encoding = "utf-8",
    batch_size: Annotated[int, typer.Option(min=1, help="Records scored at once.")] = 64,
) -> None:
    """Tell how probable a model finds given targets, one JSON object a record, from the SavedModel alone."""
    from pipeline.serving.score import score as scores

    dialect = dialect_of(delimiter, quoting, encoding)
    stream = sys.stdin.buffer
    for line in scores(model, files or [], stream, text, target, batch_size, dialect=dialect):
        print(line, flush=True)


def serve(
    name: Annotated[str, typer.Argument(help="The model's name, or the directory of its versions.")],
    port: Annotated[int, typer.Option(min=1, max=65535, help="HTTP port.")] = 8501,
    grpc_port: Annotated[int, typer.Option(min=1, max=65535, help="gRPC port of TensorFlow Serving.")] = 8500,
    with_: Annotated[
        ServerName | None, typer.Option("--with", help="Which server. Default: the first that is there.")
    ] = None,
    directory: Annotated[str, typer.Option(help="Where models are pushed to.")] = "serving",
) -> None:
    """Serve a model by TensorFlow Serving, or where there is none by MLflow; Ctrl-C ends it.

    TensorFlow Serving's binary listens on all interfaces, the others on 127.0.0.1.
    """
    from pipeline.serving.server import run_server, serving
    from pipeline.temporary import temporary_folder

    wanted = with_.value if with_ else None
    with temporary_folder(), serving(_versions_of(name, directory), port, grpc_port, wanted) as ready:
        print(f"{name} by {ready.server}: {ready.why}\n{ready.address}\nask it: {ready.example}", flush=True)
        code = run_server(ready)
    raise typer.Exit(code)


def rollback(
    name: Annotated[str, typer.Argument(help="The model's name, or the directory of its versions.")],
    version: Annotated[int | None, typer.Option(help="Which one. Default: the last other model.")] = None,
    directory: Annotated[str, typer.Option(help="Where models are pushed to.")] = "serving",
) -> None:
    """Serve an earlier version again, as the newest, and make it the champion."""
    from components import files
    from pipeline.serving.rollback import RolledBack, roll_back
    from pipeline.temporary import temporary_folder

    def tell(done: RolledBack) -> None:
        place = files.relative(done.directory)
        print(f"version {done.source} is served again, as {place}, in place of version {done.old}")
        print(done.registry, flush=True)

    with temporary_folder():
        roll_back(_versions_of(name, directory), version, tell)


def pull(
    url: Annotated[str, typer.Argument(help="Where models are pushed to, or one model's directory there.")],
    directory: Annotated[str, typer.Argument(metavar="DIR", help="Where to, on this machine.")] = "served",
) -> None:
    """Mirror served models to a disk, from where TensorFlow Serving reads them; to be given again at will."""
    from pipeline.serving.pull import pull as mirror

    for line in mirror(url, directory):
        print(line, flush=True)


def _versions_of(name: str, directory: str) -> str:
    """The directory of a model's versions, by its name or its path."""
    return name if "/" in name else f"{directory}/{name}"
