"""Measures a model that was made before on new labelled files, alone or beside another one."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from components import files
from components.artifacts.artifact import cache_folder
from components.artifacts.evaluation import Evaluation
from components.errors import UserError
from components.evaluate.candidates import Candidate, Exported
from components.evaluate.coverage import Selection
from components.export.session import SavedModelError, SavedModelSession
from components.ingest.config import IngestConfig
from components.strict import Task
from pipeline.config import PipelineConfig
from pipeline.config.loading import config_of
from pipeline.config.places import Places
from pipeline.config.runner_checks import is_remote, sees_local_files
from pipeline.config.runners import Runner
from pipeline.engines import engine_of
from pipeline.plan.fingerprint import DataState
from pipeline.plan.node import FIRST, NodePlan, Plan, Read, Trial, node_name
from pipeline.plan.planner import Planner
from pipeline.report.facts import measurements
from pipeline.report.standings import difference_text, standing, value_text
from pipeline.run.candidates import CHAMPION
from pipeline.run.console import command_line
from pipeline.run.execute import Run
from pipeline.run.libraries import silence_libraries
from pipeline.run.models import KnownModel, find_known_model
from pipeline.serving.deployment import Deployment
from pipeline.stages.evaluate import EvaluateStage
from pipeline.stages.ingest import IngestStage
from pipeline.store.clean import clean_cheaply
from pipeline.store.store import Store

_WIDTH = 110  # columns that three metrics with their intervals need


@dataclass(frozen=True)
class Rival:
    """A model that another one is compared with.

    Args:
        title: what people call it.
        candidate: to measure it.
        trial: in the place of a trial's id.
    """

    title: str
    candidate: Candidate
    trial: str


def evaluate_model(
    model: str,
    paths: Sequence[str],
    console: Console,
    against: str | None = None,
    root: str = "runs",
    overrides: Sequence[str] = (),
    verbose: bool = False,
) -> int:
    """Measures a model as its run did, on other examples; keeps a record, a card and a run in MLflow.

    Args:
        model: the id of a run, or the directory of a served model or version.
        paths: files with labelled examples, or globs; in the formats that ingest reads.
        console: where to speak.
        against: `champion`, or another model that answers the same examples.
        root: of the pipeline.
        overrides: assignments such as `ingest.columns={text: review, label: stars}`.
        verbose: whether failures show the traceback.

    Returns:
        The exit code, as of a run.

    Raises:
        UserError: if there is no such model, or it cannot be measured.
    """
    if not verbose:
        silence_libraries()
    known = find_known_model(model, root)
    config = _config(known, paths, root, overrides)
    places, store = Places.of(config), Store(files.resolve(root))
    clean_cheaply(places.root)
    own = _candidate(known, config)
    rival = _rival(against, known, config, root) if against else None
    plan = _plan(config, places, store, own, rival)
    options = [f"--set={override}" for override in overrides]
    options += [f"--against={against}"] if against else []
    options += [f"--root={root}"] if root != "runs" else []
    command = command_line("evaluate", model, *paths, *options)
    engine = engine_of(config)
    run = Run(
        config, console, command, places, plan, store, verbose=verbose, subject=known.title, engine=engine
    )
    if run.nothing_to_do():
        console.print(f"[bold]{config.name}[/]: nothing to do, all of it was measured before.")
    elif code := run.execute():
        return code
    evaluated = run.artifact(Evaluation.stage, Evaluation)
    other = run.artifact(node_name(Evaluation.stage, rival.trial), Evaluation) if rival else None
    assert evaluated is not None
    _show(console, known.title, evaluated, rival.title if rival else "", other)
    if files.exists(run.card):
        console.print(f"\ncard         {files.relative(run.card)}", highlight=False, soft_wrap=True)
    return 0


def _config(known: KnownModel, paths: Sequence[str], root: str, overrides: Sequence[str]) -> PipelineConfig:
    """The configuration of the model's run, with other files, which are all evaluated."""
    if known.run is not None:
        data = known.run.record.config
    else:
        name = re.sub(r"[^A-Za-z0-9_.-]", "_", known.name).lstrip("_.-") or "model"
        model = {"encoder": {"type": "gru"}}  # which no stage of an evaluation reads
        data = {"name": name, "task": _task(known), "ingest": {"files": list(paths)}, "model": model}
    own = {"root": root, "runner": _runner(data, paths), "sweep": None}  # nothing is trained
    base = config_of({**data, **own}, overrides, known.title)
    ingest = base.ingest.model_dump(exclude={"files", "holdout"})
    ingest["format"] = "auto" if ingest["format"] == "text" else ingest["format"]
    read = IngestConfig.model_validate({**ingest, "files": {"test": list(paths)}})
    return base.model_copy(update={"ingest": read})


def _runner(data: Mapping[str, Any], paths: Sequence[str]) -> Mapping[str, Any]:
    """Where the model's run worked; in this process if workers elsewhere might not see the files."""
    noted: Mapping[str, Any] = data.get("runner", {"type": "local"})
    seen = sees_local_files(TypeAdapter(Runner).validate_python(noted)) or all(map(is_remote, paths))
    return noted if seen else {"type": "local"}


def _task(known: KnownModel) -> Task:
    assert known.saved_model is not None
    directory = known.saved_model()
    try:
        with SavedModelSession(directory) as session:
            return "classification" if "classify" in session.signatures else "seq2seq"
    except SavedModelError as error:
        raise UserError(f"{directory} cannot be measured: {error}") from error


def _candidate(known: KnownModel, config: PipelineConfig) -> Candidate:
    """The model, with the threshold of its run: what is wanted is what that keeps on new data."""
    if known.saved_model is None:
        raise UserError(f"{known.title} has not exported its model: run it to its end, or name another model")
    evaluated = known.run.measured() if known.run else None
    chosen = Selection.noted(evaluated.report, config.evaluate.target_accuracy) if evaluated else None
    return Exported(str(known.saved_model()), known.identity, chosen)


def _rival(against: str, known: KnownModel, config: PipelineConfig, root: str) -> Rival:
    if against != CHAMPION:
        other = find_known_model(against, root)
        rival = Rival(other.title, _candidate(other, config), other.title.rpartition(" ")[2])
    else:
        sight = Deployment(config, files.resolve(config.export.directory)).look(compares=True)
        if sight.unreachable:
            raise UserError(sight.unreachable)
        if sight.champion is None:
            raise UserError(
                f"{config.name} has no champion yet: nothing is registered or served under this name in "
                f"{config.export.directory}; name another model"
            )
        folder = hashlib.sha256(sight.champion.identity.encode()).hexdigest()[:16]
        directory = sight.champion.fetch(cache_folder() / "champions" / folder)
        title = f"champion ({sight.champion.title})"
        rival = Rival(title, Exported(str(directory), sight.champion.identity), CHAMPION)
    if rival.candidate.identity == known.identity:
        raise UserError(f"{known.title} and {rival.title} are the same model; name another one")
    return rival


def _plan(config: PipelineConfig, places: Places, store: Store, own: Candidate, rival: Rival | None) -> Plan:
    """Ingest of the files, and the candidates on it."""
    trial = Trial(FIRST, config)
    planner = Planner(store, DataState.of(places.sources, store.fingerprints))
    ingest = planner.node(IngestStage(), trial, {}, {}, "files to measure on")
    nodes = {ingest.name: ingest}

    def candidate(each: Candidate, of: Trial, purpose: str, floors: bool) -> NodePlan:
        stage = EvaluateStage(each, floors)
        reads = {name: Read(parts, node=ingest.name) for name, parts in stage.reads(config).items()}
        return planner.node(stage, of, reads, nodes, purpose)

    first = candidate(own, trial, "on these files", floors=True)
    shared = {(ingest.stage.name, FIRST): ingest.name, (first.stage.name, FIRST): first.name}
    plan = Plan([trial], [ingest, first], shared)
    if rival is None:
        return plan
    other = candidate(rival.candidate, Trial(rival.trial, config), f"{rival.title}, too", floors=False)
    return plan.with_node(other)


def _show(
    console: Console, title: str, own: Evaluation, rival_title: str = "", rival: Evaluation | None = None
) -> None:
    """Prints the metrics with their intervals, and the differences."""
    measured = measurements(own)
    theirs = measurements(rival) if rival else None
    assert measured is not None
    columns = ["A", "B", "A - B"] if theirs else [title]
    examples = f"{measured.report['examples']:,} examples"
    table = Table(examples, *map(escape, columns), box=None, pad_edge=False, header_style="bold")
    for metric in measured.report["metrics"]:
        cells = [value_text(metric, standing(metric, measured))]
        if theirs:
            cells.append(value_text(metric, standing(metric, theirs)))
            cells.append(difference_text(metric, standing(metric, measured, theirs)))
        table.add_row(metric, *cells)
    console.print()
    if theirs:
        console.print(f"[bold]A[/]  {escape(title)}\n[bold]B[/]  {escape(rival_title)}\n", highlight=False)
    console.print(table, crop=False, width=max(console.width, _WIDTH))
    if theirs:
        console.print("~ within the noise: the interval of the paired bootstrap holds 0", style="dim")
    for line in own.summary.get("confidence", ()):
        console.print(f"\n{escape(line)}", highlight=False, soft_wrap=True)
