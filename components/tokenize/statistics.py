"""What is known about the tokens: statistics.json and the warnings drawn from it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from components.artifacts.artifact import FileRef
from components.strict import SPLITS, Split
from components.tokenize.config import TokenizerConfig
from components.tokenize.learn import Learnt

_MOST_UNKNOWN = 0.05  # share of the tokens outside the train split
_MOST_CUT = 0.01  # share of the texts
_MOST_CUT_CHOSEN = 0.1  # where the length was chosen so that about 5 % are


@dataclass
class FieldStatistics:
    """What a field's texts have become.

    Args:
        lengths: how many texts have how many tokens, before they are cut.
        unknown: how many of the tokens that were kept are unknown.
    """

    lengths: Counter[int] = field(default_factory=Counter)
    unknown: int = 0


@dataclass
class PartStatistics:
    """What one file of tokens holds.

    Args:
        split: whose file it is.
        number: which one of the split.
        fields: by text field.
        unknown_labels: how many of its examples have a label that the train split does not have.
        file: itself; None while it is written.
    """

    split: Split
    number: int
    fields: dict[str, FieldStatistics]
    unknown_labels: int = 0
    file: FileRef | None = None


def make_statistics(learnt: Sequence[Learnt], parts: Iterable[PartStatistics]) -> dict[str, Any]:
    """Makes what statistics.json holds.

    `tokens` are those of a text before it is cut; `median` and `p95` are the smallest numbers that half and
    95 % of the texts do not exceed. `unknown` is the share of unknown tokens among those kept, `cut` the
    share of texts with more than `max_sequence_length` tokens. Where an earlier model's tokenizers were
    extended, `added_tokens` and `added_labels` say by how much.

    Args:
        learnt: what was learnt for each field.
        parts: what each file holds.
    """
    configs = {entry.field: entry.config for entry in learnt if entry.config is not None}
    by_split: dict[Split, list[PartStatistics]] = {}
    for part in parts:
        by_split.setdefault(part.split, []).append(part)
    present = [split for split in SPLITS if split in by_split]
    sizes = {entry.field: entry.size for entry in learnt}
    added = {entry.field: entry.added for entry in learnt if entry.added is not None}
    statistics: dict[str, Any] = {"fields": {}}
    for name, config in configs.items():
        statistics["fields"][name] = {
            "vocabulary_size": sizes[name],
            **({"added_tokens": added[name]} if name in added else {}),
            "splits": {
                split: _summary([part.fields[name] for part in by_split[split]], config.max_sequence_length)
                for split in present
            },
        }
    if "label" in sizes:
        statistics["labels"] = sizes["label"]
        if "label" in added:
            statistics["added_labels"] = added["label"]
        statistics["unknown_labels"] = {
            split: sum(part.unknown_labels for part in by_split[split]) for split in present
        }
    chosen = {entry.field for entry in learnt if entry.chosen}
    warnings = [warning for entry in learnt for warning in entry.warnings]
    return statistics | {"warnings": warnings + _warnings(statistics, configs, chosen)}


def _summary(parts: Sequence[FieldStatistics], max_sequence_length: int) -> dict[str, Any]:
    counts = sum((part.lengths for part in parts), Counter[int]())
    lengths = np.array(sorted(counts))
    texts = np.array([counts[length] for length in lengths])
    median, p95 = np.quantile(lengths, [0.5, 0.95], weights=texts, method="inverted_cdf")
    kept = int(np.minimum(lengths, max_sequence_length) @ texts)
    return {
        "texts": int(texts.sum()),
        "tokens": {
            "min": int(lengths[0]),
            "mean": round(float(lengths @ texts / texts.sum()), 2),
            "median": int(median),
            "p95": int(p95),
            "max": int(lengths[-1]),
        },
        "unknown": round(sum(part.unknown for part in parts) / max(kept, 1), 6),
        "cut": round(float(texts[lengths > max_sequence_length].sum() / texts.sum()), 6),
    }


def _warnings(
    statistics: Mapping[str, Any], configs: Mapping[str, TokenizerConfig], chosen: Collection[str]
) -> list[str]:
    """Says in sentences what someone should look at before training."""
    warnings = []
    for name, config in configs.items():
        for split, measured in statistics["fields"][name]["splits"].items():
            if split != "train" and measured["unknown"] > _MOST_UNKNOWN:
                warnings.append(
                    f"Unknown tokens in `{name}` of {split}: {measured['unknown']:.1%}. Raise "
                    f"`tokenize.{name}.vocabulary_size`, give more train examples, or choose a type with "
                    f"smaller tokens."
                )
            if measured["cut"] > (_MOST_CUT_CHOSEN if name in chosen else _MOST_CUT):
                warnings.append(
                    f"Texts cut in `{name}` of {split}: {measured['cut']:.1%} have more than "
                    f"{config.max_sequence_length} tokens (95 % have at most {measured['tokens']['p95']}). "
                    "Raise "
                    f"`tokenize.{name}.max_sequence_length`, or choose a type with longer tokens."
                )
    known = "neither the train split nor the earlier model has"
    if "added_labels" not in statistics:
        known = "the train split does not have"
    for split, unknown in statistics.get("unknown_labels", {}).items():
        if unknown:
            warnings.append(
                f"Examples of {split} with a label that {known}: {unknown:,}. None of them can be answered "
                f"right."
            )
    return warnings
