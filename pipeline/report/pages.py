"""Pages to look at: a run's card, and a comparison. Each is one HTML file that needs nothing else."""

from __future__ import annotations

import base64
import io
import itertools
import shlex
from collections.abc import Iterator
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from components import files
from components.artifacts.trained_model import CURVES
from components.evaluate.metrics import shown
from components.evaluate.told import told
from components.redaction import redacted
from pipeline.config import yaml_text
from pipeline.report.classes import balance, class_rows
from pipeline.report.compare import Comparison
from pipeline.report.facts import RunFacts, evaluated_examples, measurements
from pipeline.report.floors import floor_words
from pipeline.report.standings import Standing, standing
from pipeline.report.sweep import SweepFacts
from pipeline.report.sweep_section import own_nodes, stage_rows, sweep_values, trial_warnings
from pipeline.run.console import command_line
from pipeline.run.record import DONE, NodeRecord
from pipeline.stages import stage_named

_REJECTED, _CONFLICTS = 20, 20  # rows shown
_CURVES = ("calibration", "coverage")  # pictures that belong to what is said of confidence


def comparison_page(comparison: Comparison) -> str:
    """Returns the comparison as a page."""
    return _render("compare.html", **vars(comparison), picture=_metrics_picture(comparison))


def card_page(run: RunFacts) -> str:
    """Returns what is known of a run, up to where it came, as a page."""
    record, evaluation, examples = run.record, run.evaluation, run.examples
    statistics = examples.statistics() if examples else None
    warned = {warning for node in record.nodes.values() for warning in node.warnings}
    sweep = SweepFacts.of(run)
    report = evaluation.report() if evaluation else None
    classes = class_rows(report, statistics)
    nodes = own_nodes(record)
    confidence = report["confidence"] if report and "confidence" in report else None
    worth = told(confidence, report["split"]) if report and confidence else []
    pictures = dict(_pictures(run))
    reliability = {name: pictures.pop(name) for name in _CURVES if confidence and name in pictures}
    return _render(
        "card.html",
        record=record,
        stages=stage_rows(record),
        nodes=nodes,
        trial_warnings=trial_warnings(record),
        sweep=sweep,
        **(sweep_values(sweep) if sweep else {}),
        details={
            name: [line for line in _details(node) if line not in worth] for name, node in nodes.items()
        },
        verdict=record.verdict,
        report=report,
        floor_words=floor_words(report) if report else [],
        # As below: shown with the node, if this run measured it.
        evaluation_warnings=[w for w in report.get("warnings", ()) if w not in warned] if report else [],
        classes=classes,
        balance=balance(classes),
        candidates=_candidates(run),
        confusions={
            (cell["expected"], cell["predicted"]): place
            for place, cell in enumerate(report.get("confused", ()) if report else (), 1)
        },
        worth=worth,
        reliability=reliability,
        pictures=pictures,
        worst=list(evaluation.worst()) if evaluation else [],
        statistics=statistics,
        # Those of ingest are shown with its node, if this run made it.
        warnings=[warning for warning in statistics["warnings"] if warning not in warned]
        if statistics
        else [],
        lists={place.name: files.relative(place) for place in examples.listed()} if examples else {},
        rejected=list(itertools.islice(run.rejected(), _REJECTED)),
        conflicts=list(itertools.islice(examples.conflicts(), _CONFLICTS)) if examples else [],
        commands=_commands(run) if record.served else "",
        config=yaml_text(redacted(record.config)),
    )


def _render(template: str, **values: Any) -> str:
    # Everything is escaped: texts of the data are in it.
    environment = Environment(
        loader=PackageLoader("pipeline.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.globals["shown"] = shown
    return environment.get_template(template).render(**values)


def _candidates(run: RunFacts) -> list[dict[str, Any]]:
    """What else was measured, and how it stands beside the run's own model."""
    own, examples = run.measured(), run.examples_digest()
    if own is None:
        return []
    rows = []
    for name, evaluation in run.candidates.items():
        measured = measurements(evaluation)
        if measured is None:
            continue
        rival = own if evaluated_examples(evaluation) == examples else None
        node = run.record.nodes[name]
        rows.append(
            {
                "title": node.trial,
                "reason": node.reason,
                "examples": measured.report["examples"],
                "standings": {metric: standing(metric, measured, rival) for metric in own.report["metrics"]},
            }
        )
    return rows


def _details(node: NodeRecord) -> list[str]:
    return stage_named(node.stage).details(node.summary) if node.state in DONE else []


def _pictures(run: RunFacts) -> Iterator[tuple[str, str]]:
    trained, evaluation = run.trained, run.evaluation
    curves = f"training curves{f' of trial {run.record.pick}' if run.record.pick else ''}"
    if trained is not None and trained.has(CURVES):
        yield curves, _inline(trained.read(CURVES))
    elif run.record.history:
        from components.train.curves import training_curves

        picture = io.BytesIO()
        training_curves(run.record.history, picture)
        yield curves, _inline(picture.getvalue())
    # What there may be many of comes at the end.
    plots = evaluation.plots() if evaluation else []
    for name, path in sorted(plots, key=lambda plot: (plot[0].startswith("attention"), plot[0])):
        yield name.rpartition(".")[0].replace("_", " "), _inline(path.read_bytes())


def _metrics_picture(comparison: Comparison) -> str:
    from components.evaluate.plots import metrics_of_runs

    picture = io.BytesIO()
    metrics = {name: [_ends(value) for value in row] for name, row in comparison.metrics.items()}
    if metrics:
        metrics_of_runs(metrics, comparison.labels, picture)
    return _inline(picture.getvalue())


def _ends(standing: Standing | None) -> tuple[float, float, float] | None:
    if standing is None:
        return None
    low, high = standing.interval or (standing.value, standing.value)
    return standing.value, low, high


def _inline(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def _commands(run: RunFacts) -> str:
    """What to ask and to serve the model with."""
    base = files.resolve(run.record.served).parent
    question = run.evaluation.example_question() if run.evaluation else None
    lines = [f"echo {shlex.quote(question or 'your text')} | {command_line('predict', files.relative(base))}"]
    path = shlex.quote(str(base))
    if not files.is_local(base):  # a server reads a disk
        lines.append(command_line("pull", str(base), base.name))
        path = f'"$PWD"/{shlex.quote(base.name)}'
    lines.append(f"tensorflow_model_server --model_name={base.name} --model_base_path={path}")
    return "\n".join(lines)
