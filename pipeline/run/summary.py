"""What a run says at its end: what there is now, and what to do with it."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from rich.console import Console
from upath import UPath

from components import files
from components.artifacts.artifact import Artifact
from components.artifacts.evaluation import Evaluation
from components.artifacts.exported_model import ExportedModel
from components.evaluate.verdict import Verdict
from pipeline.config import PipelineConfig
from pipeline.run.console import command_line
from pipeline.run.picked import Picked
from pipeline.run.pushed import pushed_words
from pipeline.serving.wording import file_options
from pipeline.stages.evaluate import format_metrics

NOT_BLESSED = 3


@dataclass(frozen=True)
class Outcome:
    """What came of a run.

    Args:
        evaluated: what was measured; None if the run did not come to that.
        exported: the SavedModel; None if the run did not come to that.
        last: the artifact of the plan's last node.
        verdict: whether the model may be served.
        served: where the model is served; None if it is not.
        card: where the run's page belongs.
        picked: of a sweep, the trial that all this is of; None if there is none.
    """

    evaluated: Evaluation | None
    exported: ExportedModel | None
    last: Artifact | None
    verdict: Verdict
    served: UPath | None
    card: UPath
    picked: Picked | None = None


def summarize(config: PipelineConfig, console: Console, config_file: str, outcome: Outcome) -> int:
    """Prints the summary; returns the exit code: 0, or 3 if the model is not good enough to be pushed."""
    evaluated, exported, verdict = outcome.evaluated, outcome.exported, outcome.verdict
    lines = []
    code = 0
    root = [] if config.root == "runs" else ["--root", config.root]
    of_trial = ""
    if outcome.picked:
        of_trial = f" (trial {outcome.picked.trial})"
        lines.append(f"picked       {outcome.picked.words}")
    if evaluated:
        split = " on the test split" if outcome.picked else ""
        lines.append(f"metrics      {format_metrics(evaluated.summary)}{split}")
    if evaluated and exported and verdict.blessed:
        question = shlex.quote(evaluated.example_question() or "your text")
        assert outcome.served is not None
        ask = command_line("predict", files.relative(outcome.served.parent))
        if verdict.push:
            report = evaluated.report()
            words = pushed_words(verdict, outcome.served.name, report["examples"], report["split"])
            lines.append(f"pushed       {words}")
        lines += [
            f"model        {files.relative(outcome.served)}{of_trial}",
            f"ask it       echo {question} | {ask}",
        ]
        if options := file_options(config.ingest, config.task):
            lines.append(f"ask a file   {ask} --input FILE {shlex.join(options)}")
    elif evaluated and exported:
        code = NOT_BLESSED
        lines += [
            f"not pushed   {verdict.reasons[0]}",
            *(f"             {reason}" for reason in verdict.reasons[1:]),
            f"model        {files.relative(exported.model_place)}",
        ]
        if outcome.served:
            lines.append(f"still served {files.relative(outcome.served)} (pushed before)")
    elif outcome.last is not None:
        lines.append(f"artifact     {files.relative(outcome.last.reference.manifest)}")
    if files.exists(outcome.card):
        lines.append(f"card         {files.relative(outcome.card)}")
    if outcome.picked:
        lines.append(f"all trials   {command_line('sweep', 'show', *root)}")
    if config.tracking.enabled:
        compare = command_line("compare", *root)
        lines.append(f"see the run  {command_line('ui', config_file)}   (compare: {compare})")
    console.print("\n" + "\n".join(lines), highlight=False, soft_wrap=True, markup=False)
    return code
