"""Pages to look at: a run's card, and a comparison. Each is one HTML file that needs nothing else."""

from __future__ import annotations

import base64
import io
import itertools
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from pipeline.config import yaml_text
from pipeline.report.compare import Comparison, Standing
from pipeline.report.facts import RunFacts
from pipeline.run.console import command_line, example_question
from pipeline.tracking.mlflow_run import published

_REJECTED = 20  # rows shown


def comparison_page(comparison: Comparison) -> str:
    """Returns the comparison as a page."""
    return _render("compare.html", **vars(comparison), picture=_metrics_picture(comparison))


def card_page(run: RunFacts) -> str:
    """Returns what is known of a run, up to where it came, as a page."""
    report = run.read("evaluate", "metrics.json")
    return _render(
        "card.html",
        record=run.record,
        blessing=run.record.blessing,
        report=report,
        pictures=list(_pictures(run)),
        worst=list(run.rows("evaluate", "worst.jsonl")),
        statistics=run.read("ingest", "statistics.json"),
        rejected=list(itertools.islice(run.rows("ingest", "rejected.jsonl"), _REJECTED)),
        commands=_commands(run),
        config=yaml_text(published(run.record.config)),
    )


def _render(template: str, **values: Any) -> str:
    # Everything is escaped: texts of the data are in it.
    environment = Environment(
        loader=PackageLoader("pipeline.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template(template).render(**values)


def _pictures(run: RunFacts) -> Iterator[tuple[str, str]]:
    artifact = run.artifacts.get("evaluate")
    if artifact is None and run.record.history:
        from components.evaluate.plots import training_curves

        picture = io.BytesIO()
        training_curves(run.record.history, picture)
        yield "training curves", _inline(picture.getvalue())
    paths = sorted((artifact.directory / "plots").glob("*.png")) if artifact else []
    # The curves first, and what there may be many of at the end.
    for path in sorted(
        paths, key=lambda path: (path.stem != "training_curves", path.stem[:9] == "attention")
    ):
        yield path.stem.replace("_", " "), _inline(path.read_bytes())


def _metrics_picture(comparison: Comparison) -> str:
    from components.evaluate.plots import metrics_of_runs

    picture = io.BytesIO()
    metrics = {name: [_ends(each) for each in row] for name, row in comparison.metrics.items()}
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
    base = Path(run.record.served).parent
    artifact = run.artifacts.get("evaluate")
    question = example_question(artifact.directory / "predictions.jsonl") if artifact else None
    ask = f"echo {shlex.quote(question or 'your text')} | {command_line('predict', str(base))}"
    return f"{ask}\ntensorflow_model_server --model_name={base.name} --model_base_path={base.absolute()}"
