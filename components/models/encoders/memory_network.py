"""A memory of sentences as an encoder."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from components.errors import UserError
from components.models.encoders.base import EncoderConfig, Misfit
from components.models.fields import Count, Units
from components.strict import Task

if TYPE_CHECKING:
    import keras

    from components.models.config import ModelConfig
    from components.tokenize.config import Auto, TokenizerConfig
    from components.tokenize.tokenizers import Tokenizer


class MemoryNetworkEncoder(EncoderConfig):
    """A memory of sentences that the last one, the question, reads in hops (Sukhbaatar et al., 2015).

    Only its final state has read the question, so a classification pools `last`. As the question comes last,
    texts must be cut at their start: `tokenize.text.truncation_side: left`. The paper clips gradients at 40,
    by train.global_clipnorm.
    """

    type: Literal["memory_network"]
    reads_tokens: ClassVar[bool] = True
    default_pooling = "last"
    units: Units = 64
    """Width of the embeddings, of each sentence's outputs and of the final state."""
    hops: Count = 3
    """Reads of the memory in a row, each with what the last one found."""
    max_sentences: Count = 50
    """Sentences before the question that are kept, the newest ones."""
    separator: Annotated[str, Field(min_length=1)] = "|"
    """Which token ends a sentence. What follows the last one is the question."""

    def encoder(self, vocabulary_size: int) -> keras.layers.Layer:
        """Makes layers.EndToEndMemoryNetwork, which does not know its separator yet."""
        from layers import EndToEndMemoryNetwork

        return EndToEndMemoryNetwork(
            vocabulary_size,
            units=self.units,
            hops=self.hops,
            max_sentences=self.max_sentences,
            name="encoder",
        )

    def token_rows(self, layer: keras.layers.Layer) -> list[keras.Variable]:
        """Returns the embeddings of all hops."""
        return [layer.embeddings]

    def final_states(self) -> list[list[int]] | None:
        """One, the question with all that has been read."""
        return [[self.units]]

    def check_model(self, task: Task, model: ModelConfig) -> Iterator[Misfit]:
        """Refuses to pool the outputs."""
        if task == "classification" and model.pooling not in (None, "last"):
            yield (
                ("pooling",),
                "reads the outputs of encoder memory_network, which do not know the question; remove it",
            )

    def check_tokenizer(self, tokenizer: TokenizerConfig | Auto) -> Iterator[Misfit]:
        """Refuses to lose the question."""
        if tokenizer.truncation_side == "right":
            yield (
                ("truncation_side",),
                "received 'right' for encoder memory_network, whose question comes last; set it to left",
            )

    def prepare(self, encoder: keras.layers.Layer, tokenizer: Tokenizer, field: str) -> None:
        """Looks up the separator's id."""
        import tensorflow as tf

        from components.tokenize.tokenizers import UNKNOWN

        ids = tokenizer.tokenize(tf.constant([self.separator]))[0].numpy().tolist()
        if len(ids) != 1 or ids[0] == UNKNOWN:
            pieces = ", ".join(tokenizer.pieces[token] for token in ids)
            raise UserError(
                f"model.encoder.separator received {self.separator!r}, expected a token that the {field} "
                f"tokenizer ({tokenizer.config.type}) learnt from the train split, got {pieces or 'none'}. "
                "Set it to the token that ends the sentences of your data, or put that token between them."
            )
        encoder.set_separator(ids[0])
