"""Counted tokens as an encoder."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from components.models.encoders.base import EncoderConfig, Misfit
from components.models.fields import Activation, Count, Rate, Units
from components.strict import Task

if TYPE_CHECKING:
    import keras
    import numpy as np
    import tensorflow as tf

    from components.models.config import ModelConfig


@dataclass(frozen=True, eq=False)
class DocumentFrequencies:
    """In how many of some texts each term occurs.

    Args:
        frequencies: of each term, int64 [features].
        documents: how many texts there are.
    """

    frequencies: np.ndarray
    documents: int

    def __add__(self, other: DocumentFrequencies) -> DocumentFrequencies:
        return DocumentFrequencies(self.frequencies + other.frequencies, self.documents + other.documents)


class TfIdfEncoder(EncoderConfig):
    """The baseline: tokens counted and weighted by their rarity, and a feed-forward network."""

    renamed: ClassVar[Mapping[str, str]] = {"layers": "num_layers", "buckets": "hash_bins"}
    training_only: ClassVar[frozenset[str]] = frozenset({"dropout"})
    type: Literal["tfidf"]
    reads_tokens: ClassVar[bool] = True
    adapts: ClassVar[bool] = True
    default_pooling = "last"
    units: Units = 128
    """Units of each hidden layer."""
    num_layers: Annotated[int, Field(ge=0)] = 1
    """Hidden layers; 0 (classification) is multinomial logistic regression."""
    dropout: Rate = 0.0
    """Fraction of each hidden layer's outputs dropped in training."""
    activation: Activation = "relu"
    """Of the hidden layers."""
    ngrams: Count = 1
    """Up to this many tokens in a row are counted as one term."""
    hash_bins: Units = 65_536
    """Terms of several tokens are hashed to this many."""

    def encoder(self, vocabulary_size: int) -> keras.layers.Layer:
        """Makes layers.TfIdfNetwork."""
        from layers import TfIdfNetwork

        return TfIdfNetwork(
            vocabulary_size,
            units=self.units,
            depth=self.num_layers,
            dropout=self.dropout,
            activation=self.activation,
            ngrams=self.ngrams,
            hash_bins=self.hash_bins,
            name="encoder",
        )

    def final_states(self) -> list[list[int]] | None:
        """One, the last hidden layer; without any it is as wide as the vocabulary."""
        return [[self.units]] if self.num_layers else None

    def check_model(self, task: Task, model: ModelConfig) -> Iterator[Misfit]:
        """Refuses to start a decoder from the counts themselves."""
        if task == "seq2seq" and not self.num_layers:
            yield ("encoder", "num_layers"), "received 0, which is for classification; set at least 1"

    def token_rows(self, layer: keras.layers.Layer) -> list[keras.Variable]:
        """Returns the weights of the terms and what reads them: terms of several tokens come last."""
        return [layer.tfidf.idf, *(hidden.kernel for hidden in layer.hidden[:1])]

    @property
    def returns_tokens(self) -> bool:
        """Whether the weighted counts themselves come out."""
        return self.num_layers == 0

    def summarize(self, encoder: keras.layers.Layer, texts: Iterable[tf.Tensor]) -> DocumentFrequencies:
        """Counts the terms of some texts."""
        import numpy as np

        frequencies, documents = np.zeros(encoder.tfidf.features, np.int64), 0
        for batch in texts:
            frequencies += encoder.tfidf.document_frequencies(batch)
            documents += len(batch)
        return DocumentFrequencies(frequencies, documents)

    def adapt(self, encoder: keras.layers.Layer, summary: DocumentFrequencies) -> None:
        """Weights the terms by their rarity."""
        encoder.tfidf.set_document_frequencies(summary.frequencies, summary.documents)
