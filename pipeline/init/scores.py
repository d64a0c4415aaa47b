"""How well a column suits a field, and what speaks against it."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from components.errors import UserError
from components.ingest.numeric_labels import look_like_numbers
from components.strict import FIELDS
from pipeline.init.columns import Column
from pipeline.init.words import LABEL, MISSING, TEXT

_MOST_LABELS = 1_000
_LONGEST_LABEL = 60  # characters, on average
_FIELDS = {field for fields in FIELDS.values() for field in fields}


def label_score(column: Column) -> float | None:
    """Scores how well a column would do as the label; None where it cannot be it."""
    if why_no_label(column):
        return None
    few = 1 - math.log(column.distinct) / math.log(_MOST_LABELS)
    return few + name_score(column, LABEL) - column.is_number * 0.5 - column.mean_length / _LONGEST_LABEL


def why_no_label(column: Column) -> str:
    """Says what speaks against a column as the label; empty where nothing does."""
    if column.alike > 1:
        return f"is the name of {column.alike} columns"
    if not column.filled:
        return "is empty" if not column.unfit else f"is of type {next(iter(column.unfit))}"
    if column.distinct == 1:
        return f"has one value alone, {next(iter(column.values))!r}, in the rows looked at"
    if column.unfit.total() > column.filled:
        return f"is of type {column.unfit.most_common(1)[0][0]}"
    if column.no_labels > column.filled / 2:
        return f"has values that cannot be one, the first a {column.no_label}"
    if column.is_number and column.fractions:
        return "has numbers with fractions; regression is not offered"
    if column.is_number and column.distinct > 20 and not name_score(column, LABEL):
        return f"has {column.distinct:,} different numbers; regression is not offered"
    most = max(2, min(_MOST_LABELS, (column.filled - column.more) // 3))
    if column.distinct > most or column.more:
        return f"has {column.distinct:,} different values in {column.filled:,} rows"
    return "has long texts" if column.mean_length > _LONGEST_LABEL else ""


def text_score(column: Column) -> float | None:
    """Scores how well a column would do as text; None where it cannot be it."""
    if not column.filled or column.is_id or column.is_number or column.unfit.total() > column.filled:
        return None
    if column.alike > 1:
        return None
    if column.distinct == 1 or (column.distinct < 0.2 * column.filled and column.words < 2 * column.filled):
        return None if not name_score(column, TEXT) else 0.0
    return math.log(1 + column.mean_length) + 3 * name_score(column, TEXT)


def name_score(column: Column, words: frozenset[str]) -> float:
    """1.5 for the name of a field, 1 for another usual name, 0.5 for one with a usual name as a part."""
    if not isinstance(column.key, str):
        return 0.0
    name = column.key.strip().lower()
    parts = re.split(r"[\W_]+", name)
    if name in words:
        return 1.5 if name in _FIELDS else 1.0
    return 0.5 if any(part in words for part in parts) else 0.0


def is_clear(candidates: Sequence[Column], words: frozenset[str]) -> bool:
    """Whether the first candidate is no mere guess: it is alone, its name says so, or it is far longer."""
    if len(candidates) == 1:
        return True
    first, second = candidates[:2]
    by_name = name_score(first, words) - name_score(second, words)
    return by_name > 0 or (by_name == 0 and first.mean_length > 5 * second.mean_length)


def label_warnings(label: Column, of: str) -> list[str]:
    """Warns of labels that can hardly be learnt.

    Raises:
        UserError: they cannot be learnt at all.
    """
    where = f"init: {of}: the label {label.name!r}"
    if label.filled and label.distinct == 1:
        raise UserError(
            f"{where} has one value alone, {next(iter(label.values))!r}, in the {label.rows:,} rows looked "
            f"at, expected two or more. Name another column with --label, or add records of other labels."
        )
    if label.unfit.total() > label.filled:
        kind = label.unfit.most_common(1)[0][0]
        more = "; regression is not offered" if kind == "float" else ""
        raise UserError(
            f"{where} is of type {kind}, expected text, whole numbers, true or false{more}. Write it as text."
        )
    if label.no_labels > label.filled / 2:
        raise UserError(
            f"{where} has values that cannot be one, the first a {label.no_label}; expected text of one line "
            f"without control characters. Correct them, or name another column with --label."
        )
    if label.is_distinct and label.filled > 10:
        raise UserError(
            f"{where} has {label.distinct:,} different values in {label.filled:,} rows, expected labels that "
            f"recur. Name another column with --label; for text to text use --task seq2seq."
        )
    warnings = _missing_labels(label)
    if look_like_numbers(label.values):
        warnings.append(
            f"the label {label.name!r} has {label.distinct:,} different numbers: regression is not offered, "
            f"every number becomes a class of its own, none nearer to another. Bin them if they are amounts."
        )
    return warnings


def _missing_labels(label: Column) -> list[str]:
    return [
        f"the label {label.name!r} is {value!r} in {times:,} of {label.filled:,} rows, which looks like a "
        f"missing value and becomes a class of its own. If these rows have no label, leave the cells empty "
        f"and call init again: records without a label are no examples."
        for value, times in label.values.items()
        if value.lower() in MISSING
    ]


def text_warnings(field: str, text: Column) -> list[str]:
    """Warns of texts of which nothing can be learnt."""
    if text.is_id and field != "target":
        return [
            f"the {field} {text.name!r} looks like an id ({text.example!r}), of which nothing can be learnt."
        ]
    return []
