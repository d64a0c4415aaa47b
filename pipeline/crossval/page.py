"""The page of a cross-validation: one HTML file that needs nothing else."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence

from jinja2 import Environment, PackageLoader, StrictUndefined

from components.evaluate.metrics import shown
from components.redaction import redacted
from pipeline.config import PipelineConfig, yaml_text
from pipeline.crossval.plot import metrics_by_fold
from pipeline.crossval.results import Results, errors_of, results_of
from pipeline.crossval.table import SUMMARY, problems, remarks, summary_rows
from pipeline.plan.node import Plan
from pipeline.report.facts import RunFacts
from pipeline.run.record import NodeRecord


class Page:
    """Makes the page, of a run as far as it came.

    Args:
        config: of the cross-validation.
        plan: of its nodes.
        notes: how records were dealt.
    """

    def __init__(self, config: PipelineConfig, plan: Plan, notes: Sequence[str]) -> None:
        self._config = config
        self._plan = plan
        self._notes = notes
        self.results: Results | None = None
        """What came of the folds, once it was read for the page."""

    def __call__(self, run: RunFacts) -> str:
        """Returns what is known of a run."""
        record = run.record
        errors = errors_of(record.nodes)
        results = results_of(self._config, self._plan, run.artifacts.get, errors)
        self.results = results
        # Everything is escaped: texts of the data may be in errors.
        environment = Environment(
            loader=PackageLoader("pipeline.report"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
        )
        return environment.get_template("crossval.html").render(
            record=record,
            results=results,
            notes=self._notes,
            titles=SUMMARY,
            summary=list(summary_rows(results)),
            problems=problems(results),
            remarks=remarks(results),
            picture=_picture(results),
            warnings=_warnings(record.nodes.values()),
            shown=shown,
            config=yaml_text(redacted(record.config)),
        )


def _warnings(nodes: Iterable[NodeRecord]) -> dict[str, list[str]]:
    """The nodes by what they warn of: most is alike in all folds."""
    found: dict[str, list[str]] = {}
    for node in nodes:
        for warning in node.warnings:
            found.setdefault(warning, []).append(node.name)
    return found


def _picture(results: Results) -> str:
    if not results.spreads:
        return ""
    picture = io.BytesIO()
    metrics_by_fold(results, picture)
    return f"data:image/png;base64,{base64.b64encode(picture.getvalue()).decode()}"
