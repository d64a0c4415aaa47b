"""What was seen and chosen, as people read it in a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from components.ingest.advice import shorten
from components.tokenize.lengths import percentile
from pipeline.init.draft import Draft
from pipeline.init.sniff import describe
from pipeline.init.write import Choices

_SHOWN_COLUMNS = 12
_SHOWN_LABELS = 8


def print_report(draft: Draft, choices: Choices, console: Console) -> None:
    """Prints a short list of what was seen and chosen."""
    lines = Table(box=None, show_header=False, pad_edge=False)
    lines.add_column(style="bold", no_wrap=True)
    lines.add_column(overflow="fold")

    def add(name: str, text: str) -> None:
        lines.add_row(name, Text(text))

    encoding = "" if draft.layout.format == "parquet" else f"; encoding {draft.layout.encoding}"
    add("format", f"{describe(draft.layout)}{encoding}")
    for split, found in draft.found.items():
        part = "" if found.share >= 1 else f"; {found.examples:,} of about {found.estimate:,} looked at"
        add(split, f"{found.examples:,} examples{part}" if not part else part[2:])
    used = {id(column): field for field, column in draft.roles.columns.items()}
    others = [column for column in draft.columns if id(column) not in used]
    shown = {*used, *map(id, others[: _SHOWN_COLUMNS - len(used)])}
    for column in draft.columns:
        if id(column) in shown:
            role = f"-> {used[id(column)]}; " if id(column) in used else ""
            name = shorten(column.name, 30) if column.name.strip() else "(unnamed)"
            add(f"  {name}", f"{role}such as {shorten(column.example)!r}")
    if (more := len(draft.columns) - _SHOWN_COLUMNS) > 0:
        add("", f"and {more:,} more columns")
    why = draft.roles.reasons.get("task")
    add("task", draft.roles.task + (f": {why}" if why else ""))
    labels = draft.found["train"].labels
    if labels:
        commonest = ", ".join(
            f"{shorten(label, 30)} {times:,} ({times / labels.total():.0%})"
            for label, times in labels.most_common(_SHOWN_LABELS)
        )
        more = len(labels) - _SHOWN_LABELS
        add("labels", f"{len(labels):,}: {commonest}" + (f" and {more:,} more" if more > 0 else ""))
    for field, lengths in draft.found["train"].lengths.items():
        median, most = percentile(lengths.characters, 50), percentile(lengths.characters, 95)
        add(f"{field} lengths", f"half have at most {median:,} characters, 95 % at most {most:,}")
    if choices.holdout:
        add("held out", choices.holdout.why)
    for field, choice in choices.tokenizers.items():
        size = choice.settings["max_sequence_length"]
        add(f"{field} tokens", f"{choice.settings['type']}, at most {size} tokens; {choice.why}")
    add("model", choices.model.why)
    bounds = (
        f"{metric} {key} {value:g}"
        for metric, one in choices.blessing.bless.items()
        for key, value in one.items()
        if key != "max_regression"
    )
    add("to be served", f"{', '.join(bounds)}: {' '.join(choices.blessing.why)}")
    for note in draft.notes:
        add("note", note)
    for warning in (*draft.warnings, *choices.warnings):
        lines.add_row(Text("warning", style="bold yellow"), Text(warning))
    console.print(lines)
