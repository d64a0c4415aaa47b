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
from pipeline.cli_options import ConfigFile, Force, Overrides, Root, ServerName, SignatureName, Until
from pipeline.output import drop_output, prepare_output, steady_output

app = typer.Typer(
    name="rnnpipe",
    help="Recurrent text models, from a table of text to a served SavedModel.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


DEFAULT = Path("pipeline.yaml")


@app.command()
def run(
    config: ConfigFile = DEFAULT,
    set_: Overrides = None,
    until: Until = None,
    force: Force = None,
    verbose: Annotated[bool, typer.Option("--verbose", help="Show tracebacks.")] = False,
) -> None:
    """Run the pipeline; reuse every stage that nothing has changed."""
    from pipeline.config import load_config
    from pipeline.run.interrupt import EXIT_CODE as INTERRUPTED
    from pipeline.run.pipeline import run_pipeline
    from pipeline.temporary import temporary_folder

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
    from pipeline.plan.planning import make_plan
    from pipeline.run.console import plan_table
    from pipeline.run.models import initial_of
    from pipeline.store.store import Store

    loaded = load_config(config, set_ or [])
    places = Places.of(loaded)
    plans = make_plan(
        loaded,
        places,
        Store(places.root),
        until=until,
        force=force or [],
        initial=initial_of(loaded),
    )
    Console().print(plan_table(plans))


@app.command()
def schema() -> None:
    """Print the JSON schema of pipeline.yaml."""
    from pipeline.config import config_schema

    print(json.dumps(config_schema(), indent=2, ensure_ascii=False))


@app.command()
def predict(
    model: Annotated[str, typer.Argument(help="A served model's directory, such as serving/dates.")],
    batch_size: Annotated[int, typer.Option(min=1, help="Lines answered at once.")] = 64,
    signature: Annotated[
        SignatureName,
        typer.Option(
            help="classify: every label; n_best: several answers; explain: what each token looked at; for "
            "score see `rnnpipe score`."
        ),
    ] = SignatureName.serving_default,
) -> None:
    """Answer the lines of standard input, one JSON object a line, from the SavedModel alone."""
    from pipeline.serving.predict import predict as answers

    for line in answers(model, sys.stdin.buffer, batch_size, signature.value):
        print(line, flush=True)


@app.command()
def evaluate(
    model: Annotated[str, typer.Argument(help="A run's id, or a served model's directory.")],
    paths: Annotated[list[str], typer.Argument(metavar="FILES", help="Labelled files, or globs.")],
    against: Annotated[
        str | None, typer.Option(help="`champion`, or another model: it answers the same examples.")
    ] = None,
    root: Root = "runs",
    set_: Overrides = None,
    verbose: Annotated[bool, typer.Option("--verbose", help="Show tracebacks.")] = False,
) -> None:
    """Measure a model on new labelled files, as its run measured it; nothing is trained."""
    from pipeline.run.evaluation import evaluate_model
    from pipeline.temporary import temporary_folder

    console = Console(file=steady_output())
    with temporary_folder():
        code = evaluate_model(model, paths, console, against, root, set_ or [], verbose)
    raise typer.Exit(code)


@app.command()
def score(
    model: Annotated[str, typer.Argument(help="A served model's directory, such as serving/dates.")],
    files: Annotated[
        list[str] | None,
        typer.Argument(
            help="Tables of texts and targets, as a run reads them. None, or -: lines of standard input, "
            "each a text, a tab and its target."
        ),
    ] = None,
    text: Annotated[
        str | None,
        typer.Option(
            help="The texts' column: a name, or a position from 0 in files without a header line. Default: "
            "source, for a classifier text."
        ),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(help="The targets' column, likewise. Default: target, for a classifier label."),
    ] = None,
    delimiter: Annotated[str | None, typer.Option(help=r"As `ingest.delimiter`; \t is the tab.")] = None,
    quoting: Annotated[
        bool | None, typer.Option("--quoting/--no-quoting", help="As `ingest.quoting`.")
    ] = None,
    encoding: Annotated[str, typer.Option(help="As `ingest.encoding`.")] = "utf-8",
    batch_size: Annotated[int, typer.Option(min=1, help="Records scored at once.")] = 64,
) -> None:
    """Tell how probable a model finds given targets, one JSON object a record, from the SavedModel alone."""
    from components.ingest.sources import Dialect
    from pipeline.serving.score import score as scores

    # A shell passes "\t", as advice has it, on as two characters.
    dialect = Dialect("\t" if delimiter == r"\t" else delimiter, quoting, encoding)
    stream = sys.stdin.buffer
    for line in scores(model, files or [], stream, text, target, batch_size, dialect=dialect):
        print(line, flush=True)


@app.command()
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


@app.command()
def rollback(
    name: Annotated[str, typer.Argument(help="The model's name, or the directory of its versions.")],
    version: Annotated[int | None, typer.Option(help="Which one. Default: the last other model.")] = None,
    directory: Annotated[str, typer.Option(help="Where models are pushed to.")] = "serving",
) -> None:
    """Serve an earlier version again, as the newest, and make it the champion."""
    from components import files
    from pipeline.serving.rollback import RolledBack, roll_back

    def tell(done: RolledBack) -> None:
        place = files.relative(done.directory)
        print(f"version {done.source} is served again, as {place}, in place of version {done.old}")
        print(done.registry, flush=True)

    roll_back(_versions_of(name, directory), version, tell)


@app.command()
def pull(
    url: Annotated[str, typer.Argument(help="Where models are pushed to, or one model's directory there.")],
    directory: Annotated[str, typer.Argument(metavar="DIR", help="Where to, on this machine.")] = "served",
) -> None:
    """Mirror served models to a disk, from where TensorFlow Serving reads them; to be given again at will."""
    from pipeline.serving.pull import pull as mirror

    for line in mirror(url, directory):
        print(line, flush=True)


@app.command()
def runs(root: Root = "runs") -> None:
    """List the runs and their metrics."""
    from pipeline.config.places import root_of
    from pipeline.run.console import runs_table
    from pipeline.run.observe import read_records

    records = read_records(root_of(root))
    if not records:
        raise UserError(f"No runs under {root}. Start one with `rnnpipe run`, or name another --root.")
    Console().print(runs_table(records))


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
    html: Annotated[Path | None, typer.Option(help="Also write a page with a picture.")] = None,
) -> None:
    """Set runs side by side: what differs, by how much, and whether that is more than noise."""
    from pipeline.report.compare import compare as side_by_side
    from pipeline.report.compare import comparison_text
    from pipeline.report.facts import find_runs

    comparison = side_by_side(find_runs(root, run or [], newest))
    Console().print(comparison_text(comparison), highlight=False)
    if html:
        from pipeline.report.pages import comparison_page

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
) -> None:
    """Open the MLflow UI on the pipeline's runs."""
    from pipeline.config import load_config
    from pipeline.ports import check_port
    from pipeline.serving.server import run_until_ended
    from pipeline.tracking.mlflow_client import ui_command

    command, environment = ui_command(load_config(config, set_ or []).tracking.uri, port=port)
    check_port(port, "--port")
    print(f"MLflow UI on http://127.0.0.1:{port} (Ctrl-C ends it)", flush=True)
    raise typer.Exit(run_until_ended(command, environment))


def _versions_of(name: str, directory: str) -> str:
    """The directory of a model's versions, by its name or its path."""
    return name if "/" in name else f"{directory}/{name}"


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
