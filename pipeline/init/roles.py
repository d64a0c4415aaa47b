"""What the columns are for: which is the text, and which the label or the target."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from components.errors import UserError
from components.ingest.advice import shorten_names
from components.strict import FIELDS, Task
from pipeline.init.ask import Asker
from pipeline.init.columns import Column, Key
from pipeline.init.nested import is_nested
from pipeline.init.scores import (
    is_clear,
    label_score,
    label_warnings,
    name_score,
    text_score,
    text_warnings,
    why_no_label,
)
from pipeline.init.words import LABEL, SOURCE, TARGET, TEXT


@dataclass(frozen=True)
class Roles:
    """What columns are for.

    Args:
        task: what follows from them.
        columns: by field, text and label or source and target, the column.
        reasons: by field, and for `task`, why.
        warnings: what someone should know about them.
    """

    task: Task
    columns: Mapping[str, Column]
    reasons: Mapping[str, str]
    warnings: tuple[str, ...] = ()


def choose_roles(
    columns: Sequence[Column],
    task: Task | None,
    given: Mapping[str, str],
    asker: Asker,
    of: str,
    aligned: bool = False,
    nested: str = "",
) -> Roles:
    """Chooses what the columns are for.

    Args:
        columns: of the files, two at least.
        task: if it is given.
        given: by field, the column that the user named.
        asker: whom to ask where it is not clear.
        of: what the files are called, for messages.
        aligned: whether every column is a file of its own; such files are text to text where none can be
            labels, numbers included.
        nested: what to do where the texts or labels are in nested values; empty if no column has such.

    Raises:
        UserError: a given column is not there or unfit, none fits, or it is not clear and nobody can be
            asked.
    """
    chosen = {field: _named(field, name, columns, of) for field, name in given.items()}
    for field, column in chosen.items():
        if is_nested(column):
            raise UserError(
                f"init: {of}: received --{field} {column.name}, which has nested values. {nested}"
            )
    labels = _ranked(columns, chosen, "label", label_score)
    texts = _ranked(columns, chosen, "text", text_score)
    reasons: dict[str, str] = {}
    if task is None:
        named = [column for column in columns if name_score(column, LABEL - TARGET) >= 1]
        if not labels and not chosen and len(named) == 1:
            chosen["label"] = named[0]  # it is told why it cannot be one
        task, reasons["task"] = _task(chosen, labels, texts, aligned)
    if task == "classification":
        return _classification(columns, chosen, labels, texts, reasons, asker, of, nested)
    return _seq2seq(columns, chosen, texts, reasons, asker, of, nested)


def _task(
    chosen: Mapping[str, Column], labels: list[Column], texts: list[Column], aligned: bool
) -> tuple[Task, str]:
    for task, fields in FIELDS.items():
        if set(chosen) & set(fields):
            return task, "by the columns that were named"
    if labels or (
        len(texts) < 2 and not aligned
    ):  # what is wrong with the other columns as labels is said there
        return "classification", ""
    return "seq2seq", "no column has few values that recur, as labels would"


def _classification(
    columns: Sequence[Column],
    chosen: dict[str, Column],
    labels: list[Column],
    texts: list[Column],
    reasons: dict[str, str],
    asker: Asker,
    of: str,
    nested: str,
) -> Roles:
    texts = texts or [c for c in columns if c.filled and not c.is_id and not c.is_number]
    if "label" not in chosen:
        others = [column for column in labels if column is not chosen.get("text")]
        if not others:
            why = "; ".join(f"{column.name!r} {why_no_label(column) or 'is the text'}" for column in columns)
            advice = (
                "Name it with --label, or for text to text the columns with --source and --target."
                if "text" not in chosen
                else "Name another column with --text."
            )
            raise UserError(f"init: {of}: no column can be the label: {why}. {nested or advice}")
        clear = len(others) == 1 or name_score(others[0], LABEL) > name_score(others[1], LABEL)
        chosen["label"] = asker.choose("the label", others, clear, "--label")
        reasons["label"] = _reason(chosen["label"], LABEL, f"{chosen['label'].distinct:,} different values")
    if "text" not in chosen:
        others = [column for column in texts if column is not chosen["label"]]
        if not others:
            raise UserError(
                f"init: {of}: no column beside {chosen['label'].name!r} holds text, but ids, numbers or "
                f"nothing. It has: {shorten_names(column.name for column in columns)}. "
                f"{nested or 'Name it with --text.'}"
            )
        chosen["text"] = asker.choose("the text", others, is_clear(others, TEXT), "--text")
        reasons["text"] = _reason(chosen["text"], TEXT, _lengths(chosen["text"]))
    if not reasons.get("task", "-"):
        reasons["task"] = (
            f"{chosen['label'].name!r} has {chosen['label'].distinct:,} different values that recur"
        )
    ordered = _ordered("classification", chosen, of)
    warnings = [*label_warnings(chosen["label"], of), *text_warnings("text", chosen["text"])]
    return Roles("classification", ordered, reasons, tuple(warnings))


def _seq2seq(
    columns: Sequence[Column],
    chosen: dict[str, Column],
    texts: list[Column],
    reasons: dict[str, str],
    asker: Asker,
    of: str,
    nested: str,
) -> Roles:
    # Answers may be few, or numbers.
    for field, words, others in (
        ("source", SOURCE | TEXT, texts),
        ("target", TARGET, [*texts, *(column for column in columns if column not in texts)]),
    ):
        if field in chosen:
            continue
        taken = list(chosen.values())
        candidates = [column for column in others if column not in taken and column.filled]
        if not candidates:
            raise UserError(
                f"init: {of}: no column is left for the {field}. It has: "
                f"{shorten_names(column.name for column in columns)}. "
                f"{nested or 'Name both: --source and --target.'}"
            )
        # Sorting is stable: where the names say nothing, the columns keep their order.
        candidates.sort(key=lambda column: (-name_score(column, words), columns.index(column)))
        if field == "source" and name_score(candidates[0], TARGET) and len(candidates) > 1:
            candidates.sort(key=lambda column: bool(name_score(column, TARGET)))
        clear = len(columns) == 2 or len(candidates) == 1 or is_clear(candidates, words)
        chosen[field] = asker.choose(f"the {field}", candidates, clear, f"--{field}")
        reasons[field] = _reason(chosen[field], words, _lengths(chosen[field]))
    warnings = [line for field in FIELDS["seq2seq"] for line in text_warnings(field, chosen[field])]
    return Roles("seq2seq", _ordered("seq2seq", chosen, of), reasons, tuple(warnings))


def _ordered(task: Task, chosen: Mapping[str, Column], of: str) -> dict[str, Column]:
    read, produced = FIELDS[task]
    if chosen[read] is chosen[produced]:
        raise UserError(
            f"init: {of}: received {chosen[read].name!r} for both {read} and {produced}, expected two "
            f"columns."
        )
    return {read: chosen[read], produced: chosen[produced]}


def _named(field: str, name: str, columns: Sequence[Column], of: str) -> Column:
    for column in columns:
        if str(column.key) == name:
            return column
    by_position = all(isinstance(column.key, int) for column in columns)
    kind = "positions, as there is no header line" if by_position else "columns"
    raise UserError(
        f"init: {of}: received --{field} {name}, expected one of the {kind}: "
        f"{', '.join(str(column.key) for column in columns)}."
    )


def _ranked(
    columns: Sequence[Column],
    chosen: Mapping[str, Column],
    field: str,
    score: Callable[[Column], float | None],
) -> list[Column]:
    """The columns that can be the field, the likeliest first."""
    others = [column for name, column in chosen.items() if name != field]
    scores = {id(column): score(column) for column in columns if column not in others}
    fit = [column for column in columns if scores.get(id(column)) is not None]
    return sorted(fit, key=lambda column: -(scores[id(column)] or 0.0))


def _reason(column: Column, words: frozenset[str], otherwise: str) -> str:
    return f"by its name; {otherwise}" if name_score(column, words) else otherwise


def _lengths(column: Column) -> str:
    return f"{column.mean_length:,.0f} characters on average"


def keys(columns: Mapping[str, Column]) -> dict[str, Key]:
    """Returns the columns as `ingest.columns` names them."""
    return {field: column.key for field, column in columns.items()}
