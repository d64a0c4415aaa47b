"""The text of a configuration, with the reasons as comments."""

from __future__ import annotations

import re
import textwrap
from collections import Counter
from collections.abc import Mapping
from typing import Any

from components.ingest.advice import shorten, yaml_value
from components.strict import FIELDS
from components.tokenize.config import tokenizer_config
from pipeline.init.blessing import Blessing, bless_labels, bless_texts
from pipeline.init.choices import (
    Choice,
    holdout_of,
    holdout_warnings,
    is_sure,
    model_of,
    read_tokens,
    size_of,
    tokenizer_of,
    training_of,
)
from pipeline.init.draft import Draft

SCHEMA_NAME = "pipeline.schema.json"
_PLAIN_PATH = re.compile(r"[A-Za-z_./][A-Za-z0-9_./-]*")
_WIDTH = 110
_SHOWN_LABELS = 12


class Choices:
    """All that is chosen for a draft.

    Args:
        draft: of the configuration.

    Attributes:
        tokenizers: by field.
        model: the network.
        train: how it is trained.
        holdout: splits without files of their own; None where there are none.
        warnings: of such splits that may be empty.
        blessing: what is measured, and what is good enough.
        decode: seq2seq: the longest answer.
    """

    def __init__(self, draft: Draft) -> None:
        train = draft.found["train"]
        task = draft.roles.task
        self.tokenizers: dict[str, Choice] = {
            field: tokenizer_of(field, train.lengths[field], train.estimate, task)
            for field in FIELDS[task]
            if field in train.lengths
        }
        read = tokenizer_config(self.tokenizers[FIELDS[task][0]].settings)
        self.model = model_of(task, train.estimate, read)
        tokens = read_tokens(train.lengths[FIELDS[task][0]], read, train.estimate)
        self.holdout = holdout_of(draft.found)
        self.warnings = holdout_warnings(draft.found, self.holdout)
        validated = is_sure("validation", draft.found, self.holdout)
        self.train = training_of(task, train.estimate, tokens, validated)
        self.decode: dict[str, Any] = {}
        tested = size_of("test", draft.found, self.holdout)
        if task == "classification":
            self.blessing: Blessing = bless_labels(train, tested)
        else:
            target = self.tokenizers["target"].settings
            self.decode = {"beam_size": 4, "max_decoding_length": target["max_sequence_length"]}
            self.blessing = bless_texts(train, tested, is_short=target["type"] == "characters")


def config_text(draft: Draft, choices: Choices, command: str) -> str:
    """Returns the configuration.

    Args:
        draft: what was seen.
        choices: what follows from it.
        command: by which it is written.
    """
    ingest = dict(draft.ingest)
    lines = [
        f"# yaml-language-server: $schema={SCHEMA_NAME}",
        *_comment(f"Written by `{command}`. Paths are relative to where rnnpipe is called.", ""),
        f"name: {_flow(draft.name)}",
        f"task: {draft.roles.task}",
        "",
        "ingest:",
        *_comment(
            "; ".join(
                f"{field}: {draft.roles.reasons[field]}"
                for field in FIELDS[draft.roles.task]
                if field in draft.roles.reasons
            )
        ),
        *_entry("files", ingest.pop("files")),
    ]
    for key, value in ingest.items():
        lines += _entry(key, value)
    if choices.holdout:
        lines += _comment(f"Held out from train: {choices.holdout.why}.")
        for key, value in choices.holdout.settings.items():
            lines += _entry(key, value)
    lines += ["", "tokenize:"]
    for field, choice in choices.tokenizers.items():
        lines += [*_comment(f"{choice.why}."), *_entry(field, choice.settings)]
    lines += ["", "model:", *_comment(f"{choices.model.why}."), *_section(choices.model)]
    lines += ["", "train:", *_comment(f"{choices.train.why}."), *_section(choices.train)]
    if choices.decode:
        lines += ["", *_entry("decode", choices.decode, "")]
    lines += ["", "evaluate:", *_balance(draft.found["train"].labels)]
    lines += [*_entry("metrics", choices.blessing.metrics)]
    for why in choices.blessing.why:
        lines += _comment(why)
    lines += _comment(
        "A model below min, or behind the served one by more than max_regression, is not pushed to serving/."
    )
    lines += ["  bless:"]
    for metric, bounds in choices.blessing.bless.items():
        lines += _entry(metric, bounds, "    ")
    return "\n".join(lines) + "\n"


def _section(choice: Choice) -> list[str]:
    return [line for key, value in choice.settings.items() for line in _entry(key, value)]


def _entry(key: str, value: Any, indent: str = "  ") -> list[str]:
    """A key and its value; a mapping or a list that is too long for one line stands below the key."""
    line = f"{indent}{key}: {_flow(value)}"
    if len(line) <= _WIDTH or not isinstance(value, Mapping | list):
        return [line]
    if isinstance(value, list):
        return [f"{indent}{key}:", *(f"{indent}  - {_flow(item)}" for item in value)]
    return [
        f"{indent}{key}:",
        *(inner for name, item in value.items() for inner in _entry(_flow(name), item, f"{indent}  ")),
    ]


def _flow(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_flow(key)}: {_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return f"[{', '.join(map(_flow, value))}]"
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, str) and _PLAIN_PATH.fullmatch(value) and ("/" in value or value.count(".") == 1):
        return value if not re.fullmatch(r"\.[\dA-Za-z]*", value) else yaml_value(value)
    return yaml_value(value)


def _comment(text: str, indent: str = "  ") -> list[str]:
    """Lines of a comment, whatever is in the text."""
    text = "".join(character if character.isprintable() else " " for character in text)
    text = text[:1].upper() + text[1:]
    begin = f"{indent}# "
    return textwrap.wrap(text, _WIDTH, initial_indent=begin, subsequent_indent=begin, break_on_hyphens=False)


def _balance(labels: Counter[str]) -> list[str]:
    """How often every label occurs, as comments."""
    if not labels:
        return []
    total = labels.total()
    lines = _comment(f"{len(labels):,} labels in the {total:,} examples for train that were looked at:")
    for label, times in labels.most_common(_SHOWN_LABELS):
        lines += _comment(f"  {times:>9,}  {times / total:>6.1%}  {shorten(label)}")
    if (others := len(labels) - _SHOWN_LABELS) > 0:
        least = labels.most_common()[-1]
        lines += _comment(f"  and {others:,} more, the rarest {shorten(least[0])!r} with {least[1]:,}")
    return lines
