"""The fast way through a Clockwork RNN: module after module instead of step after step.

A module reads the outputs of slower modules and its own, never those of faster ones. So the modules can run
one after another, from the slowest to the fastest. A module's inputs and everything it reads from slower
modules are then known before it starts, for all its steps, and need one matrix product each. Only the
product of its own outputs with a small square kernel stays in a loop, over the steps at which it is active.

All tensors are time-major, `(steps, batch, features)`. Module i has `steps[i] = ceil(time / periods[i])`
active steps; its step a is the time a * periods[i].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import keras
import numpy as np
from keras import ops

# Steps in one turn of a loop. More make it faster and its first call slower.
CHUNK = 8

# What is repeated or skipped more often is gathered: a reshape needs whole periods, even of a short sequence.
LONGEST_REPEAT = 1024


def clockwork_cascade(
    inputs: keras.KerasTensor,
    initial_state: keras.KerasTensor,
    kernel: keras.KerasTensor,
    recurrent_kernels: Sequence[keras.KerasTensor],
    bias: keras.KerasTensor | None,
    periods: Sequence[int],
    activation: Callable[[keras.KerasTensor], keras.KerasTensor],
    lengths: keras.KerasTensor | None = None,
) -> list[keras.KerasTensor]:
    """Computes each module's outputs at its active steps.

    Args:
        inputs: Tensor of shape `(time, batch, features)`.
        initial_state: Tensor of shape `(batch, units)`.
        kernel: Tensor of shape `(features, units)`.
        recurrent_kernels: For each module a tensor of shape `(units it reads, its units)`.
        bias: Tensor of shape `(units,)`, or `None`.
        periods: Periods of the modules, increasing.
        activation: Function of the pre-activations.
        lengths: Integer tensor of shape `(batch,)`, the number of real steps at the start of each row, or
            `None` if all are. Later steps hold the outputs of the last real one.

    Returns:
        For each module a tensor of shape `(ceil(time / period), batch, its units)`.
    """
    sizes = [block.shape[1] for block in recurrent_kernels]
    kernels, states = _split(kernel, sizes, axis=1), _split(initial_state, sizes, axis=1)
    # blocks[i][j - i] leads from module j to module i.
    blocks = [_split(block, sizes[i:], axis=0) for i, block in enumerate(recurrent_kernels)]
    module_inputs = _inputs_of_modules(inputs, periods)
    outputs: list[keras.KerasTensor] = []
    sources: list[tuple[int, keras.KerasTensor]] = []  # Periods, and what faster modules read at that pace.
    for i in reversed(range(len(periods))):
        count = ops.shape(module_inputs[i])[0]
        drive = _project(module_inputs[i], kernels[i])
        if bias is not None:
            drive = drive + _split(bias, sizes, axis=0)[i]
        passed_on = None
        others: list[tuple[int, keras.KerasTensor]] = []
        for period, context in sources:
            faster, own = _split(context, [sum(sizes[:i]), sizes[i]], axis=2) if i else (None, context)
            drive = drive + _read(own, period, periods[i], count)
            if faster is None:
                continue
            if period % periods[i]:
                others.append((period, faster))
            else:
                faster = _read(faster, period, periods[i], count + 1)
                passed_on = faster if passed_on is None else passed_on + faster
        is_real = None if lengths is None else (ops.arange(count) * periods[i])[:, None] < lengths
        outputs.insert(0, _recur(drive, blocks[i][0], states[i], activation, is_real))
        if i:
            to_faster = ops.concatenate([blocks[k][i - k] for k in range(i)], axis=1)
            context = _project(ops.concatenate([states[i][None], outputs[0]]), to_faster)
            sources = [*others, (periods[i], context if passed_on is None else context + passed_on)]
    return outputs


def _inputs_of_modules(inputs: keras.KerasTensor, periods: Sequence[int]) -> list[keras.KerasTensor]:
    """Takes the inputs at each module's active steps, from those of the module before it if possible."""
    taken: list[keras.KerasTensor] = []
    for i, period in enumerate(periods):
        if i and period % periods[i - 1] == 0:
            taken.append(_every(taken[-1], period // periods[i - 1]))
        else:
            taken.append(_every(inputs, period))
    return taken


def _recur(
    drive: keras.KerasTensor,
    kernel: keras.KerasTensor,
    state: keras.KerasTensor,
    activation: Callable[[keras.KerasTensor], keras.KerasTensor],
    is_real: keras.KerasTensor | None,
) -> keras.KerasTensor:
    """Returns all y(a) = activation(drive(a) + y(a - 1) kernel) from y(-1) on, held where not `is_real`."""
    units = kernel.shape[0]
    if is_real is not None:
        # One tensor, because a scan is simplest over one.
        drive = ops.concatenate([drive, ops.cast(is_real, drive.dtype)[..., None]], axis=2)

    def run(chunk: keras.KerasTensor, state: keras.KerasTensor) -> keras.KerasTensor:
        outputs = []
        drives, *flags = _split(chunk, [units, 1], axis=2) if is_real is not None else [chunk]
        flags = ops.unstack(flags[0] > 0, axis=0) if flags else [None] * drives.shape[0]
        for drive, flag in zip(ops.unstack(drives, axis=0), flags, strict=True):
            output = activation(drive + state @ kernel)
            state = output if flag is None else ops.where(flag, output, state)
            outputs.append(state)
        return ops.stack(outputs)

    def step(previous: keras.KerasTensor, chunk: keras.KerasTensor) -> keras.KerasTensor:
        return run(chunk, previous[-1])

    if isinstance(drive.shape[0], int) and drive.shape[0] <= CHUNK:
        return run(drive, state)
    count, batch, width = ops.shape(drive)
    chunks = -(-count // CHUNK)
    drive = ops.pad(drive, [(0, -count % CHUNK), (0, 0), (0, 0)])
    # The carry is a whole chunk, because a scan wants its outputs in the shape of the carry.
    start = ops.concatenate([ops.zeros((CHUNK - 1, batch, units), state.dtype), state[None]])
    outputs = _scan(step, start, ops.reshape(drive, (chunks, CHUNK, batch, width)))
    return _rows(ops.reshape(outputs, (chunks * CHUNK, batch, units)), 0, count)


def _scan(
    step: Callable[[keras.KerasTensor, keras.KerasTensor], keras.KerasTensor],
    start: keras.KerasTensor,
    elements: keras.KerasTensor,
) -> keras.KerasTensor:
    """Returns what `step` makes of every element and its previous output, `start` at first."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        # Unlike that of Keras, it bounds its loop, without which XLA cannot compile the gradient.
        return tf.scan(step, elements, start)
    return ops.scan(lambda previous, element: (step(previous, element),) * 2, start, elements)[1]


def _read(context: keras.KerasTensor, period: int, to_period: int, count: int) -> keras.KerasTensor:
    """Takes what a module reads at its first `count` steps from a slower one.

    Args:
        context: Tensor of shape `(1 + steps, batch, units)`: what follows from the slower module's initial
            state, then from its output at each of its active steps.
        period: Period of the slower module.
        to_period: Period of the reading module. At its step a it reads what the slower module showed at time
            a * to_period - 1, which is row ceil(a * to_period / period).
        count: Number of steps.
    """
    if period % to_period or period // to_period > LONGEST_REPEAT:
        return ops.take(context, -(-ops.arange(count) * to_period // period), axis=0)
    ratio = period // to_period
    return _rows(_repeat_rows(context, ratio), ratio - 1, count)


def _repeat_rows(tensor: keras.KerasTensor, times: int) -> keras.KerasTensor:
    """Repeats each row of the first axis; its gradient is a plain sum, unlike that of a gather."""
    rows, batch, features = ops.shape(tensor)
    flat = ops.reshape(tensor, (rows, batch * features))
    return ops.reshape(ops.tile(flat, (1, times)), (rows * times, batch, features))


def _every(tensor: keras.KerasTensor, period: int) -> keras.KerasTensor:
    """Takes rows 0, period, 2 * period, ... A strided slice is several times slower on a CPU."""
    if period == 1:
        return tensor
    rows, batch, features = ops.shape(tensor)
    if period > LONGEST_REPEAT:
        return ops.take(tensor, ops.arange(0, rows, period), axis=0)
    tensor = ops.pad(tensor, [(0, -rows % period), (0, 0), (0, 0)])
    taken = -(-rows // period)
    tensor = ops.reshape(tensor, (taken, period * batch * features))
    tensor = ops.slice(tensor, (0, 0), (taken, batch * features))
    return ops.reshape(tensor, (taken, batch, features))


def _rows(tensor: keras.KerasTensor, start: int, count: int) -> keras.KerasTensor:
    """Takes `count` rows from `start` on. `ops.slice`, as the gradient of `tensor[...]` is slow on a CPU."""
    if isinstance(count, int) and tensor.shape[0] == count:
        return tensor
    _, batch, features = ops.shape(tensor)
    return ops.slice(tensor, (start, 0, 0), (count, batch, features))


def _project(tensor: keras.KerasTensor, kernel: keras.KerasTensor) -> keras.KerasTensor:
    """Multiplies the last axis. One product of matrices, as that of a batch of them is slow on a CPU."""
    rows, batch, features = ops.shape(tensor)
    flat = ops.matmul(ops.reshape(tensor, (-1, features)), kernel)
    return ops.reshape(flat, (rows, batch, kernel.shape[1]))


def _split(tensor: keras.KerasTensor, sizes: Sequence[int], axis: int) -> list[keras.KerasTensor]:
    return ops.split(tensor, np.cumsum(sizes)[:-1].tolist(), axis=axis) if len(sizes) > 1 else [tensor]
