"""Text to text."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from components.models.config import ModelConfig
from components.models.decode import DecodeConfig
from components.models.embedding import source_embedding
from layers import AttentionDecoder, BeamSearchDecoder


@keras.saving.register_keras_serializable(package="rnnpipe")
class Seq2Seq(keras.Model):
    """Encoder, bridge, and a recurrent decoder that may attend to the source (Bahdanau et al., 2015).

    Args:
        config: the network, as a ModelConfig or its plain data; its `decoder` must be given.
        source_size: number of source token ids; 0 is padding.
        target_size: number of target token ids; 0 is padding.

    Call arguments:
        inputs: {"source": integers [B, S], "previous": integers [B, T]}, padded with 0 on the right;
            `previous` holds the target shifted right, beginning with the start token.

    Returns:
        Logits of the next target token, float32 [B, T, target_size].
    """

    def __init__(
        self, config: ModelConfig | dict[str, Any], source_size: int, target_size: int, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.config = ModelConfig.model_validate(config)
        decoder = self.config.decoder
        if decoder is None:
            raise ValueError("A seq2seq model needs `decoder` in its config. Received: decoder=None")
        self.source_size = source_size
        self.target_size = target_size
        self.source_embedding = source_embedding(self.config, source_size, "source_embedding")
        self.target_embedding = keras.layers.Embedding(
            target_size, self.config.embedding_size, name="target_embedding"
        )
        self.dropout = keras.layers.Dropout(self.config.dropout)
        self.encoder = self.config.encoder.encoder(source_size)
        self.decoder = AttentionDecoder(
            [decoder.cell() for _ in range(decoder.layers)],
            attention=self.config.attention.attention(decoder.units) if self.config.attention else None,
            dropout=decoder.dropout,
            name="decoder",
        )
        self.bridges = [
            [
                keras.layers.Dense(size, activation="tanh", name=f"bridge_{i}_{j}")
                for j, size in enumerate(sizes)
            ]
            for i, sizes in enumerate(self.decoder.state_sizes)
        ]
        self.logits = keras.layers.Dense(target_size, dtype="float32", name="logits")

    def build(self, input_shape: dict[str, tuple[int | None, ...]]) -> None:
        """Makes every variable; Keras also calls it when a saved model is loaded."""
        self.call({name: keras.KerasTensor(shape, "int32") for name, shape in input_shape.items()})

    def encode(self, source: Any, training: bool | None = None) -> tuple[Any, Any, list[list[Any]]]:
        """Reads the source.

        Args:
            source: integers [B, S], padded with 0 on the right.
            training: whether dropout is on.

        Returns:
            memory [B, M, D], its mask [B, M], and the decoder's initial states, by layer, each [B, H]. M is
            S unless the encoder shortens the text.
        """
        mask = ops.not_equal(source, 0)
        inputs = source
        if self.source_embedding:
            inputs = self.dropout(self.source_embedding(source), training=training)
        memory, states = self.encoder(inputs, mask=mask, training=training)
        summary = ops.concatenate(states[-1], axis=-1)
        initial = [[bridge(summary) for bridge in bridges] for bridges in self.bridges]
        return memory, self.encoder.compute_mask(inputs, mask), initial

    def call(self, inputs: dict[str, Any], training: bool | None = None) -> Any:
        """Returns the logits under teacher forcing; see the class."""
        memory, mask, states = self.encode(inputs["source"], training=training)
        embedded = self.dropout(self.target_embedding(inputs["previous"]), training=training)
        outputs = self.decoder(
            embedded, memory=memory, initial_states=states, memory_mask=mask, training=training
        )
        return self.logits(self.dropout(outputs, training=training))

    def decode(self, source: Any, config: DecodeConfig) -> dict[str, Any]:
        """Searches the best answers.

        Args:
            source: integers [B, S], padded with 0 on the right.
            config: width, penalty and longest answer of the search.

        Returns:
            What `BeamSearchDecoder` returns, for one answer a row.
        """
        memory, mask, states = self.encode(source, training=False)
        attention = self.decoder.attention
        keys = attention.project_keys(memory) if attention else None

        def step(tokens: Any, states: Any) -> tuple[Any, Any]:
            outputs, states, _ = self.decoder.step(
                self.target_embedding(tokens), states, keys=keys, memory=memory, mask=mask
            )
            return ops.log_softmax(self.logits(outputs), axis=-1), states

        search = BeamSearchDecoder(
            beam_width=config.beam_width,
            max_length=config.max_length,
            length_penalty=config.length_penalty,
            dtype="float32",
        )
        return search(step, states, batch_size=ops.shape(source)[0])

    def get_config(self) -> dict[str, Any]:
        """Returns what `from_config` needs."""
        return {
            **super().get_config(),
            "config": self.config.model_dump(mode="json"),
            "source_size": self.source_size,
            "target_size": self.target_size,
        }
