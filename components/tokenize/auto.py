"""Settles the tokenizers that are `auto`, by a sample of the train split."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow.compute as compute

from components.artifacts.artifact import Reference
from components.artifacts.examples import Examples
from components.artifacts.tokens import Tokens
from components.strict import Task
from components.tokenize.choices import choose_kind
from components.tokenize.config import Auto, Characters, SentencePiece, Tokenizer, TokenizerConfig, Words
from components.tokenize.lengths import Lengths
from components.tokenize.parts import Part, ReadPart
from components.work import Work

_SAMPLE = 5_000  # texts at least, where there are so many: enough for a 95th percentile

FieldText = tuple[str, str]


class Settled(NamedTuple):
    """The tokenizer of a field.

    Args:
        config: its section, as far as it is known before anything is learnt.
        why: of its type; empty where the type is written in the configuration.
        fits_length: whether `max_sequence_length` is to be chosen by what has been learnt.
    """

    config: TokenizerConfig
    why: str = ""
    fits_length: bool = False


class SampleTexts(ReadPart):
    """Yields (field, text) of evenly spaced examples, and the longest targets of every part.

    These are the one of the most characters and the one of the most words.

    Args:
        work: of the stage.
        fields: those that are `auto`.
    """

    def __init__(self, work: Work, fields: Sequence[str]) -> None:
        super().__init__(work, fields, "sampling")

    def process(self, part: Part) -> Iterator[FieldText]:
        """Reads one part, of which `total` counts the train split."""
        step, row = max(1, part.total // _SAMPLE), 0
        longest = {"characters": "", "words": ""}
        with self._work.attempt("sampling"):
            for batch in self._batches(part):
                count = 0
                for field, texts in batch.items():
                    count = len(texts)
                    for text in texts[(-row) % step :: step].to_pylist():
                        yield field, text
                    if field == "target" and count:
                        characters, words = compute.utf8_length(texts), _words(texts)
                        for unit, lengths in (("characters", characters), ("words", words)):
                            text = texts[int(lengths.to_numpy().argmax())].as_py()
                            longest[unit] = max(longest[unit], text, key=_SIZES[unit])
                row += count
            for text in filter(None, {*longest.values()}):
                yield "target", text


def _words(texts: Any) -> Any:
    return compute.list_value_length(compute.utf8_split_whitespace(texts))


_SIZES: Mapping[str, Callable[[str], int]] = {"characters": len, "words": lambda text: len(text.split())}


def kept(configs: Mapping[str, Tokenizer], earlier: Tokens) -> dict[str, Tokenizer]:
    """Returns tokenizers in which `auto` is the tokenizer of an earlier model.

    Args:
        configs: by text field.
        earlier: the tokenize artifact of that model.
    """
    return {
        field: _with_sizes(earlier.tokenizer_config(field), config)
        if isinstance(config, Auto) and field in earlier.text_fields()
        else config
        for field, config in configs.items()
    }


def _with_sizes(config: TokenizerConfig, auto: Auto) -> TokenizerConfig:
    sizes = auto.model_dump(include={"max_sequence_length", "vocabulary_size"}, exclude_none=True)
    return config.model_copy(update=sizes)


def settle(
    inputs: Mapping[str, Reference],
    task: Task,
    configs: Mapping[str, Tokenizer],
    sample: Sequence[FieldText],
) -> dict[str, Settled]:
    """Chooses the type of every tokenizer that is `auto`.

    Args:
        inputs: what the stage reads.
        task: of the pipeline.
        configs: by text field.
        sample: as `SampleTexts` yields it.
    """
    settled = {}
    for field, config in configs.items():
        if isinstance(config, Auto):
            examples: Examples = Examples.load(inputs[Examples.stage])
            lengths = Lengths.of(text for of, text in sample if of == field)
            kind = choose_kind(lengths, examples.count("train"), task)
            settled[field] = Settled(
                config.resolved(kind.settings), kind.why, config.max_sequence_length is None
            )
        else:
            settled[field] = Settled(config)
    return settled


def most_units(config: Tokenizer) -> int:
    """Returns how many units a tokenizer can make use of, whatever `auto` will be."""
    if not isinstance(config, Auto):
        return config.tokenizer().most_units(config)
    kinds = (Characters(type="characters"), Words(type="words"), SentencePiece(type="sentencepiece"))
    possible = [config.resolved({"type": kind.type}) for kind in kinds]
    return max(each.tokenizer().most_units(each) for each in possible)
