"""A recurrent decoder that looks at a memory at every step (Bahdanau et al., 2015; Luong et al., 2015)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import keras
from keras import ops

from layers.decoding._decoder_cells import invalid
from layers.decoding._decoder_step import DecoderSource, DecoderStep, States
from layers.rnn._step_loop import concatenate, run_steps, split

Tensor: TypeAlias = keras.KerasTensor


@keras.saving.register_keras_serializable(package="rnnpipe")
class AttentionDecoder(DecoderStep):
    """Stacked recurrent cells that read a memory, such as an encoder's outputs, at every step.

    With `order="before"` (Bahdanau et al.) the query of step `t` is the hidden state of the top cell after
    step `t - 1`. The context `c_t` that the attention returns for it is concatenated to the input of the
    step, `[y_{t-1}; c_t]`, which the first cell reads. The output is `[s_t; c_t]`, `s_t` being the top
    cell's output.

    With `order="after"` (Luong et al.) the cells come first, and the query is `s_t`. The output is the
    attentional vector `tanh(W_c [c_t; s_t])`, as wide as `s_t`; with `input_feeding` that of the last step
    is concatenated to the input of the step, `[y_{t-1}; h_{t-1}]`, so that the decoder knows what it has
    looked at.

    A `reader` is a second attention with the same query, such as a memory network; its context is
    concatenated to that of the first, and may come from another memory. Without either the cells read
    `y_{t-1}` and the output is `s_t`.

    `call` decodes a whole known sequence (teacher forcing). `step` decodes one position of one or several
    hypotheses, given what `prepare` made of their source once; both compute the same.

    The states are a dict: `"cells"` holds for each cell the list of its states, `"attention"` and `"reader"`
    the states of those that have any, `"feed"` the last attentional vector in a list.

    Args:
        cells: List of Keras recurrent cells, such as `keras.layers.GRUCell(64)`, the lowest first. Their own
            `dropout` and `recurrent_dropout` must be 0. The first state of each is its hidden state.
        attention: `Attention` such as `BahdanauAttention`, or `None`.
        reader: `Attention` such as `MemoryNetwork` that is read as well, or `None`.
        order: `"before"` or `"after"`: when the memory is read, seen from the cells. Defaults to `"before"`.
        input_feeding: Whether the cells also read the last attentional vector; only with `order="after"`.
            Defaults to `False`.
        residual: Whether to add its input to a cell's output, from the second cell on. All cells must have
            the same width. Defaults to `False`.
        encoder_residual: Whether every step also reads the `summary` of the source, as in Cho et al.: one
            linear map of it is added to what the first cell reads, another to the top cell's output.
            Defaults to `False`.
        dropout: Float in [0, 1), fraction of each cell's inputs (the context among them) dropped in
            training. As in Keras' recurrent layers, all steps of a sequence share one mask. Defaults to 0.
        seed: Integer seed of the dropout, or `None`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        inputs: Tensor of shape `(batch, time, features)`, the embedded target shifted by one step.
        memory: Tensor of shape `(batch, source, memory_width)`. Required with `attention`.
        initial_states: States as `get_initial_state` returns them, which makes all that are missing; those of
            the cells are given for all of them or for none.
        memory_mask: Boolean tensor of shape `(batch, source)`, `True` where the memory may be read; `None`
            if it may be read everywhere.
        summary: Tensor of shape `(batch, summary_width)`. Required with `encoder_residual`.
        reader_memory: What the reader reads, of shape `(batch, slots, width)`. Defaults to `memory`.
        reader_memory_mask: Boolean tensor of shape `(batch, slots)`, or `None`.
        reader_values: Tensor of the shape of `reader_memory`, for a memory of pairs, of which
            `reader_memory` holds the keys; only with a reader such as `MemoryNetwork` that takes them.
        training: Whether to apply dropout, and whether the attention is to sample.
        return_attention: Whether to return the attention's weights and states too. Defaults to `False`.
        feedback: Function of the outputs of a step, of shape `(batch, output_width)`, that returns an input
            of the next one, of shape `(batch, features)`: for scheduled sampling (Bengio et al.). It must
            not draw random numbers.
        forced: Boolean tensor of shape `(batch, time)`, required with `feedback`: `True` where a step takes
            its input, `False` where it takes what `feedback` returned. The first step takes its input.

    Returns:
        The outputs, of shape `(batch, time, width)`: `units + context_width` wide with `order="before"`,
        else `units`. With `return_attention` also the weights, of shape `(batch, time, source)`, and the
        list of the attention's states after each step, of shapes `(batch, time, ...)`.

    Example:
        ```python
        memory = np.random.random((32, 20, 64))
        targets = np.random.random((32, 10, 8))
        decoder = AttentionDecoder([keras.layers.GRUCell(16)], attention=BahdanauAttention(16))
        outputs = decoder(targets, memory=memory)  # (32, 10, 80)

        # The first of these steps, taken for five hypotheses of each source:
        source = decoder.prepare(memory)
        states = {"cells": [[np.zeros((32, 5, 16))]]}
        inputs = np.repeat(targets[:, :1], 5, axis=1)
        outputs, states, weights = decoder.step(inputs, states, source)  # `outputs` is (32, 5, 80).
        ```

    References:
        - [Neural Machine Translation by Jointly Learning to Align and Translate](
          https://arxiv.org/abs/1409.0473) (Bahdanau et al., 2015), section 3.1 and appendix A.2.2
        - [Effective Approaches to Attention-based Neural Machine Translation](
          https://arxiv.org/abs/1508.04025) (Luong et al., 2015), sections 3 and 3.3
        - [Learning Phrase Representations using RNN Encoder-Decoder for Statistical Machine Translation](
          https://arxiv.org/abs/1406.1078) (Cho et al., 2014), section 2.2
        - [Scheduled Sampling for Sequence Prediction with Recurrent Neural Networks](
          https://arxiv.org/abs/1506.03099) (Bengio et al., 2015)
    """

    def call(
        self,
        inputs: Tensor,
        memory: Tensor | None = None,
        initial_states: States | None = None,
        memory_mask: Tensor | None = None,
        summary: Tensor | None = None,
        reader_memory: Tensor | None = None,
        reader_memory_mask: Tensor | None = None,
        reader_values: Tensor | None = None,
        training: bool | None = None,
        return_attention: bool = False,
        feedback: Callable[[Tensor], Tensor] | None = None,
        forced: Tensor | None = None,
    ) -> Tensor | tuple[Tensor, Tensor, list[Tensor]]:
        """Decodes whole sequences with known inputs; see the class for arguments and result."""
        if return_attention and self.attention is None:
            raise invalid("return_attention", "`False` for a decoder without attention", True)
        if (feedback is None) != (forced is None):
            raise ValueError(
                "Received only one of the arguments `feedback` and `forced`, expected both or neither."
            )
        batch_size, time = ops.shape(inputs)[:2]
        source = self.prepare(memory, memory_mask, summary, reader_memory, reader_memory_mask, reader_values)
        noises = self._draw_noises(source, batch_size, time) if training else {}
        initial_states = self._complete(initial_states or {}, batch_size, memory, training, reader_memory)
        scales = self._dropout_scales(batch_size) if training and self.dropout else None

        def step(inputs: Tensor, states: States, step_noises: list[Tensor]) -> tuple[Tensor, States]:
            named_noises = dict(zip(noises, step_noises, strict=True))
            outputs, states, weights = self._step(inputs, states, source, scales, named_noises)
            if return_attention:
                packed = [outputs, weights, *states.get("attention", [])]
                outputs = concatenate([ops.cast(output, output_dtype) for output in packed])
            return outputs, states

        read_states = initial_states.get("attention", [])
        state_dtypes = [keras.backend.standardize_dtype(state.dtype) for state in read_states]
        output_dtype = self.compute_dtype
        if return_attention:
            # Half precision rounds integers, such as positions, above 256 or 2048.
            floats = ["float32" if keras.backend.is_int_dtype(dtype) else dtype for dtype in state_dtypes]
            output_dtype = keras.backend.result_type(output_dtype, *floats)
        outputs = run_steps(
            step,
            ops.cast(inputs, self.compute_dtype),
            initial_states,
            list(noises.values()),
            output_dtype,
            feedback=feedback and (lambda outputs: feedback(outputs[..., : self.output_size])),
            forced=forced,
        )
        if not return_attention:
            return outputs
        widths = [self.output_size, ops.shape(memory)[1], *(ops.shape(state)[-1] for state in read_states)]
        outputs, weights, *read_states = split(outputs, widths)
        outputs, weights = (ops.cast(value, self.compute_dtype) for value in (outputs, weights))
        return outputs, weights, list(map(ops.cast, read_states, state_dtypes))

    def _draw_noises(
        self, source: DecoderSource, batch_size: int | Tensor, time: int | Tensor
    ) -> dict[str, Tensor]:
        """Returns what the attentions need in training, of shapes `(batch, time, source)`."""
        noises = {
            name: self._attentions[name].draw_noise(batch_size, time, ops.shape(table.memory)[1])
            for name, table in source.tables.items()
        }
        return {name: noise for name, noise in noises.items() if noise is not None}

    def _dropout_scales(self, batch_size: int | Tensor) -> list[Tensor]:
        """Returns what the inputs of each cell are multiplied by in all steps."""
        return [
            keras.random.dropout(
                ops.ones((batch_size, width), dtype=self.compute_dtype),
                self.dropout,
                seed=self.seed_generator,
            )
            for width in self._input_widths
        ]
