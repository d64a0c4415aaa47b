"""Text to text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from components.models.config import ModelConfig
from components.models.decode import DecodeConfig
from components.models.embedding import source_embedding
from components.models.reinforce import ReinforcedModel
from components.models.row_seeds import row_seeds
from components.models.vocabulary import VocabularyAxis
from layers import AttentionDecoder, BeamSearchDecoder, HardSelection


@keras.saving.register_keras_serializable(package="rnnpipe")
class Seq2Seq(ReinforcedModel):
    """Encoder, bridge, and a recurrent decoder that may attend to the source (Bahdanau et al., 2015).

    Args:
        config: the network, as a ModelConfig or its plain data; its `decoder` must be given.
        source_size: number of source token ids; 0 is padding.
        target_size: number of target token ids; 0 is padding.

    Attributes:
        draw_forced: for scheduled sampling (Bengio et al., 2015), a function that takes a shape [B, T] and
            returns booleans, True where a training step reads the true previous token and not the model's
            own; None for teacher forcing throughout.

    Call arguments:
        inputs: {"source": integers [B, S], "previous": integers [B, T]}, padded with 0 on the right;
            `previous` holds the target shifted right, beginning with the start token.

    Returns:
        Logits of the next target token, float32 [B, T, target_size]; in training by REINFORCE a dict of them
        and of the sampled choices, see ReinforcedModel.
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
        self.draw_forced: Callable[[Sequence[Any]], Any] | None = None
        self.source_embedding = source_embedding(self.config, source_size, "source_embedding")
        self.dropout = keras.layers.Dropout(self.config.dropout or 0.0)
        self.encoder = self.config.encoder.encoder(source_size)
        self.decoder = AttentionDecoder(
            [decoder.cell() for _ in range(decoder.num_layers)],
            attention=self.config.attention.attention(decoder.units) if self.config.attention else None,
            reader=self.config.memory.reader(decoder.units) if self.config.memory else None,
            order=self.config.attention_order,
            input_feeding=decoder.input_feeding,
            residual=decoder.residual,
            encoder_residual=decoder.encoder_residual,
            dropout=decoder.dropout,
            name="decoder",
        )
        # The states of each cell that a bridge sets; a clock is none.
        self._hidden_sizes = [sizes[: decoder.hidden_states] for sizes in self.decoder.state_sizes]
        self.bridges = []
        if self.config.bridge == "dense":
            self.bridges = [
                [
                    keras.layers.Dense(size, activation="tanh", name=f"bridge_{i}_{j}")
                    for j, size in enumerate(sizes)
                ]
                for i, sizes in enumerate(self._hidden_sizes)
            ]
        embedding_size = self.config.width
        if self.config.tied_softmax:
            self.target_embedding = keras.layers.ReversibleEmbedding(
                target_size, embedding_size, reverse_dtype="float32", name="target_embedding"
            )
            self.projection = keras.layers.Dense(embedding_size, use_bias=False, name="projection")
            self.bias = self.add_weight(
                (target_size,), initializer="zeros", dtype="float32", autocast=False, name="bias"
            )
        else:
            self.target_embedding = keras.layers.Embedding(
                target_size, embedding_size, name="target_embedding"
            )
            self.logits = keras.layers.Dense(target_size, dtype="float32", name="logits")

    @property
    def selection(self) -> HardSelection | None:
        """What chooses the position that hard attention reads."""
        return getattr(self.decoder.attention, "selection", None)

    def build(self, input_shape: dict[str, tuple[int | None, ...]]) -> None:
        """Makes every variable; Keras also calls it when a saved model is loaded."""
        self.call({name: ops.zeros((1, 1), "int32") for name in input_shape})

    def encode(self, source: Any, training: bool | None = None) -> tuple[Any, Any, Any, dict[str, list[Any]]]:
        """Reads the source.

        Args:
            source: integers [B, S], padded with 0 on the right.
            training: whether dropout is on, and whether hard attention is to sample.

        Returns:
            memory [B, M, D], its mask [B, M], its summary [B, H], and the decoder's states before the first
            step. M is S unless the encoder shortens the text.
        """
        mask = ops.not_equal(source, 0)
        inputs = source
        if self.source_embedding:
            inputs = self.dropout(self.source_embedding(source), training=training)
        memory, final = self.encoder(inputs, mask=mask, training=training)
        summary = ops.concatenate(final[-1], axis=-1)
        states = self.decoder.get_initial_state(ops.shape(source)[0], memory, training)
        for cell_states, hidden in zip(states["cells"], self._bridge(final, summary), strict=True):
            cell_states[: len(hidden)] = hidden
        return memory, self.encoder.compute_mask(inputs, mask), summary, states

    def _bridge(self, final: list[list[Any]], summary: Any) -> list[list[Any]]:
        """Returns the hidden states that the decoder starts from, by layer; none where they are zeros."""
        if self.config.bridge == "dense":
            return [[bridge(summary) for bridge in bridges] for bridges in self.bridges]
        if self.config.bridge == "zeros":
            return [[] for _ in self._hidden_sizes]
        sizes = [[state.shape[-1] for state in states] for states in final]
        if sizes != self._hidden_sizes:
            raise ValueError(
                "Received bridge='copy' for an encoder whose layers end in states of the sizes "
                f"{sizes}, expected those of the decoder, {self._hidden_sizes}; make `layers` and `units` "
                "alike, or set bridge to 'dense'."
            )
        return final

    def call(self, inputs: dict[str, Any], training: bool | None = None) -> Any:
        """Returns the logits under teacher forcing or scheduled sampling; see the class."""
        memory, mask, summary, states = self.encode(inputs["source"], training=training)
        embedded = self.dropout(self.target_embedding(inputs["previous"]), training=training)
        forced = feedback = None
        if training and self.draw_forced is not None:
            forced = self.draw_forced(ops.shape(inputs["previous"]))
            # Within the steps nothing may be drawn: the model's own tokens share one dropout mask.
            kept = self.dropout(ops.ones_like(embedded[:, 0]), training=True)

            def feedback(outputs: Any) -> Any:
                tokens = ops.argmax(self.token_logits(ops.stop_gradient(outputs)), axis=-1)
                return self.target_embedding(tokens) * kept

        samples = self.samples(training)
        outputs = self.decoder(
            embedded,
            memory=memory,
            initial_states=states,
            memory_mask=mask,
            summary=summary,
            training=training,
            return_attention=samples,
            feedback=feedback,
            forced=forced,
        )
        choices = {}
        if samples:
            outputs, _, (_, log_probs, entropies) = outputs
            choices = {"log_probs": log_probs[..., 0], "entropies": entropies[..., 0]}
        logits = self.token_logits(self.dropout(outputs, training=training))
        return {"logits": logits, **choices} if choices else logits

    def token_logits(self, outputs: Any) -> Any:
        """Returns the logits [..., V] of every target token, by the decoder's outputs [..., D]."""
        if self.config.tied_softmax:
            return self.target_embedding(self.projection(outputs), reverse=True) + self.bias
        return self.logits(outputs)

    @property
    def sizes(self) -> dict[str, int]:
        """Number of ids by field."""
        return {"source": self.source_size, "target": self.target_size}

    def vocabulary_axes(self) -> list[VocabularyAxis]:
        """Returns every axis with an entry a token."""
        rows = self.config.encoder.token_rows(self.encoder)
        if self.source_embedding:
            rows.append(self.source_embedding.embeddings)
        written = [(self.target_embedding.embeddings, 0)]
        if self.config.tied_softmax:
            written.append((self.bias, 0))
        else:
            written += [(self.logits.kernel, 1), (self.logits.bias, 0)]
        return [
            *(VocabularyAxis(variable, 0, "source") for variable in rows),
            *(VocabularyAxis(variable, axis, "target") for variable, axis in written),
        ]

    def training_state(self) -> list[keras.Variable]:
        """Returns the weights that only steer the training: those of a hard attention's estimator."""
        return self.selection.weights if self.selection else []

    def decode(
        self,
        source: Any,
        config: DecodeConfig,
        prefix: Sequence[int] = (),
        return_attention: bool = False,
        n_best: int = 1,
    ) -> dict[str, Any]:
        """Searches the best answers.

        Args:
            source: integers [B, S], padded with 0 on the right.
            config: how to search. When it samples, a row's draws depend on its tokens and `config.seed`
                alone, and so not on the batch.
            prefix: token ids that every answer begins with.
            return_attention: whether to return the attention's weights too.
            n_best: answers of each row.

        Returns:
            What `BeamSearchDecoder` returns.

        Raises:
            ValueError: if the model has no attention and its weights are needed.
        """
        if self.decoder.attention is None and (return_attention or config.coverage_penalty):
            raise ValueError(
                "Received return_attention=True or a coverage_penalty for a model without attention, "
                "expected return_attention=False and no coverage_penalty; or give the model an attention."
            )
        memory, mask, summary, states = self.encode(source, training=False)
        prepared = self.decoder.prepare(memory, mask, summary)

        def step(tokens: Any, states: Any) -> tuple[Any, ...]:
            outputs, states, weights = self.decoder.step(self.target_embedding(tokens), states, prepared)
            log_probs = ops.log_softmax(self.token_logits(outputs), axis=-1)
            return (log_probs, states) if weights is None else (log_probs, states, weights)

        search = BeamSearchDecoder(config.search_options(n_best), dtype="float32")
        batch_size = ops.shape(source)[0]
        return search(
            step,
            states,
            batch_size=batch_size,
            prefix=ops.tile(ops.convert_to_tensor([list(prefix)], "int32"), (batch_size, 1))
            if prefix
            else None,
            source_mask=mask,
            seeds=row_seeds(source, config.seed) if config.sample else None,
            return_attention=return_attention,
        )

    def get_config(self) -> dict[str, Any]:
        """Returns what `from_config` needs."""
        return {
            **super().get_config(),
            "config": self.config.model_dump(mode="json"),
            "source_size": self.source_size,
            "target_size": self.target_size,
        }
