"""Configuration of the models.

`ENCODERS`, `DECODERS` and `ATTENTIONS` are the registries of the layer types: a new type is one class with
its `type` name and a method that makes the layer, added there or named as `my_module:MyClass`; the schema,
the error messages and the models follow from it. Keras is imported only when a layer is made.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from components.models.attentions import Attention
from components.models.decoders import Decoder
from components.models.encoders import Encoder
from components.models.fields import Count, Rate, Units
from components.models.pooling import HardAttentionPooling
from components.strict import Strict, Task

if TYPE_CHECKING:
    import keras

_WIDTH = 64  # of embeddings that are drawn


class MemoryNetworkConfig(Strict):
    """Several reads of the source in a row, each with what the last one found (Sukhbaatar et al., 2015)."""

    type: Literal["memory_network"]
    units: Units | None = None
    """Width of the embedded memory; the decoder's units by default."""
    hops: Count = 3
    """Reads in a row."""

    def reader(self, decoder_units: int) -> keras.layers.Layer:
        """Makes layers.MemoryNetwork."""
        from layers import MemoryNetwork

        return MemoryNetwork(self.units or decoder_units, hops=self.hops, name="reader")


class RidgeReadoutConfig(Strict):
    """Least squares in closed form, in one pass over the data; nothing else of the model is trained.

    Of `train`, only `batch_size` and `class_weight` count; penalties are compared without weights.
    """

    renamed: ClassVar[Mapping[str, str]] = {"ridges": "alphas"}
    type: Literal["ridge"]
    alphas: list[Annotated[float, Field(gt=0)]] = Field(default=[1e-6, 1e-4, 1e-2, 1.0, 100.0], min_length=1)
    """Penalties of the squared weights to choose from, by the squared error on the validation split."""


Readout = RidgeReadoutConfig


class EmbeddingsConfig(Strict):
    """The embeddings of the text that is read, before training."""

    file: Annotated[str, Field(min_length=1)] | None = None
    """Word vectors: a text such as GloVe's and fastText's (.vec), or word2vec's binary format if the name
    ends with .bin, all of them also with .gz. A token without one gets that of its case-folded form, or else
    is drawn. A trained model does not need the file."""
    trainable: bool = True
    """Whether they are trained with the rest; otherwise they stay as they are."""


class ModelConfig(Strict):
    """The network between tokens and answer."""

    renamed: ClassVar[Mapping[str, str]] = {
        "tied_embeddings": "tied_softmax",
        "train_embeddings": "embeddings, with trainable in it",
    }
    training_only: ClassVar[frozenset[str]] = frozenset({"dropout", "embeddings"})
    embedding_size: Units | None = None
    """Width of the token embeddings (tfidf and memory_network have their own). Default: 64, or with
    `embeddings.file` that of its vectors."""
    embeddings: EmbeddingsConfig = Field(default_factory=EmbeddingsConfig)
    """Word vectors to start from, and whether they are trained: the text's, of seq2seq the source's."""
    dropout: Rate | None = None
    """Fraction of the embeddings, and of what the output layer reads, dropped in training. Default: 0.5 where
    words or pieces of words are classified, as most of them are rare; 0 for characters and for seq2seq."""
    encoder: Encoder
    """The layer type that reads the text."""
    pooling: Literal["last", "mean", "max", "attention"] | HardAttentionPooling | None = None
    """classification: how the encoder's outputs become one vector: the `last` state, their `mean` or `max`,
    soft `attention`, or a section for hard attention. Default: `max`; of echo_state_rnn `mean`; of text_cnn,
    tfidf and memory_network `last`, as their state stands for the whole text."""
    readout: Readout | None = None
    """classification: how the output layer is fitted; by gradient with the rest if nothing is said."""
    attention: Attention | None = None
    """seq2seq: how the decoder looks at the source; without it, it only starts from the encoder's state."""
    memory: MemoryNetworkConfig | None = None
    """seq2seq: how the decoder looks at the source a second time, beside the attention."""
    decoder: Decoder | None = None
    """seq2seq: the layer type that writes the answer."""
    bridge: Literal["dense", "copy", "zeros"] = "dense"
    """seq2seq: where the decoder's layers start: from a `dense` layer of the encoder's final state each, from
    a `copy` of the encoder's layer beside it (of the same width), or from `zeros`."""
    tied_softmax: bool = False
    """seq2seq: whether the output layer uses the target's embeddings (Press and Wolf, 2017)."""

    @model_validator(mode="after")
    def _fill_width(self) -> ModelConfig:
        if self.embedding_size is None and self.embeddings.file is None:
            self.__dict__["embedding_size"] = _WIDTH  # without its being set: vectors may come yet
        return self

    @property
    def width(self) -> int:
        """Width of the token embeddings of a network that can be built.

        Raises:
            ValueError: it is that of vectors that were not looked at yet.
        """
        if self.embedding_size is None:
            raise ValueError(
                "Received no `embedding_size`, which is that of the vectors of `embeddings.file`."
            )
        return self.embedding_size

    @property
    def attention_order(self) -> Literal["before", "after"]:
        """When the decoder looks at the source, seen from its cells."""
        return "before" if self.attention is None else self.attention.order


def readout_problem(model: ModelConfig, task: Task) -> str | None:
    """Says why the readout cannot be fitted in closed form, if it is to be and cannot."""
    if model.readout is None:
        return None
    if task == "seq2seq":
        return "seq2seq has none, its decoder is trained by gradient; remove it"
    if problem := model.encoder.closed_form_problem():
        return problem
    if model.dropout:
        return "received a closed form with dropout, which acts in training by gradient only; remove dropout"
    if model.pooling == "attention" or isinstance(model.pooling, HardAttentionPooling):
        return (
            "received a closed form with attention pooling, which would stay untrained; set pooling to mean"
        )
    return None
