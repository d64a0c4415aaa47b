"""Training steps of the recurrent layers beside those of the Keras layers that they replace.

    python benchmarks/layers.py             ratios, on this machine's CPU or GPU
    python benchmarks/layers.py --quick     the same from fewer rounds and sizes
    python benchmarks/layers.py --profile   also, where ClockworkRNN's time goes

A step is forward and backward over a batch of 32, with the outputs of all steps, in a `tf.function` as
Keras' `fit` makes it (without autograph), without XLA. All sides of a table are timed in turns, and its
figures are medians; "first" is the first call, tracing included. In the end it names what exceeds its limit.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from layers import ClockworkRNN, EchoStateRNN, IdentityRNN, RecurrentStack
from layers.rnn import _clockwork_cascade as clockwork_cascade

BATCH, FEATURES = 32, 64
PERIODS = (1, 2, 4, 8, 16, 32, 64, 128)
FIRST_CALL_LIMIT = 10.0


class MaskedCell(keras.layers.SimpleRNNCell):
    """A Clockwork RNN as it is usually written: a simple RNN whose units keep their values when not due."""

    def __init__(self, units: int, **kwargs: object) -> None:
        super().__init__(units, **kwargs)
        self.state_size = [units, 1]
        self.periods = np.repeat(PERIODS, units // len(PERIODS)).astype("float32")

    def call(self, sequence, states, training=False):  # noqa: D102
        previous, clock = states
        candidates, _ = super().call(sequence, [previous], training=training)
        outputs = ops.where(clock % self.periods == 0, candidates, previous)
        return outputs, [outputs, clock + 1]

    def get_initial_state(self, batch_size=None):  # noqa: D102
        return [ops.zeros((batch_size, size)) for size in self.state_size]


@dataclass
class Side:
    """A function to time, and its times."""

    name: str
    function: Callable[[], object]
    first: float = 0.0
    times: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """Milliseconds."""
        return 1000 * statistics.median(self.times)


def training_step(name: str, layer: keras.Layer, inputs: tf.Tensor, mask: tf.Tensor | None = None) -> Side:
    """Forward and backward, to the weights and to the inputs, as within a larger model."""

    @tf.function(autograph=False)
    def step():
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = tf.nest.flatten(layer(inputs, mask=mask, training=True))[0]
            loss = tf.reduce_sum(outputs**2)
        return tape.gradient(
            loss,
            [inputs, *(weight.value for weight in layer.trainable_weights)],
            unconnected_gradients=tf.UnconnectedGradients.ZERO,
        )

    return Side(name, step)


def forward(name: str, layer: keras.Layer, inputs: tf.Tensor) -> Side:
    """Forward only."""
    return Side(name, tf.function(lambda: layer(inputs), autograph=False))


def measure(sides: list[Side], rounds: int) -> None:
    """Times all sides in turns."""
    for side in sides:
        side.first = seconds(side.function)
    for _ in range(rounds):
        for side in sides:
            side.times.append(seconds(side.function))


def seconds(function: Callable[[], object]) -> float:
    """Times one call, to the end of its computation."""
    began = time.perf_counter()
    for tensor in tf.nest.flatten(function()):
        tensor.numpy()
    return time.perf_counter() - began


def compare(title: str, ours: Side, others: list[Side], limits: list[float | None], rounds: int) -> list[str]:
    """Measures one layer beside others, prints the table and returns what exceeds its limit."""
    measure([ours, *others], rounds)
    print(f"\n{title}\n  {ours.name:<44} {ours.median:8.1f} ms            first {ours.first:5.1f} s")
    failures = []
    for other, limit in zip(others, limits, strict=True):
        ratio = ours.median / other.median
        bound = "" if limit is None else f" (at most {limit})"
        print(
            f"  {other.name:<44} {other.median:8.1f} ms  ratio {ratio:4.2f}  "
            f"first {other.first:5.1f} s{bound}"
        )
        if limit is not None and ratio > limit:
            failures.append(f"{title}: {ratio:.2f} of {other.name}, at most {limit}")
    if ours.first > FIRST_CALL_LIMIT:
        failures.append(f"{title}: first call {ours.first:.1f} s, at most {FIRST_CALL_LIMIT}")
    return failures


def random(*shape: int) -> tf.Tensor:
    return tf.constant(np.random.default_rng(1).normal(size=shape), tf.float32)


def clockwork(units: int, steps: int, limits: list[float | None], rounds: int) -> list[str]:
    """ClockworkRNN beside SimpleRNN and the masked form, with a padded batch too."""
    inputs = random(BATCH, steps, FEATURES)
    lengths = np.random.default_rng(1).integers(steps // 2, steps + 1, size=BATCH)
    mask = tf.constant(np.arange(steps) < lengths[:, None])

    def ours() -> ClockworkRNN:
        return ClockworkRNN(units, PERIODS, return_sequences=True)

    return compare(
        f"ClockworkRNN, {units} units, 8 modules, {steps} steps",
        training_step("ClockworkRNN", ours(), inputs),
        [
            training_step("SimpleRNN", keras.layers.SimpleRNN(units, return_sequences=True), inputs),
            training_step("masked form", keras.layers.RNN(MaskedCell(units), return_sequences=True), inputs),
            training_step(
                "SimpleRNN, padded",
                keras.layers.SimpleRNN(units, return_sequences=True),
                inputs,
                mask,
            ),
            training_step("ClockworkRNN, padded", ours(), inputs, mask),
        ],
        [*limits, None, None],
        rounds,
    )


def beside_keras(rounds: int) -> list[str]:
    """Layers beside the Keras layers that they wrap or vary."""
    units, steps, limit = 128, 100, 1.1
    inputs = random(BATCH, steps, FEATURES)
    kinds = [keras.layers.GRU, keras.layers.LSTM, keras.layers.SimpleRNN]

    def simple(activation: str = "tanh") -> keras.Layer:
        return keras.layers.SimpleRNN(units, activation=activation, return_sequences=True)

    failures = compare(
        "IdentityRNN",
        training_step("IdentityRNN", IdentityRNN(units, return_sequences=True), inputs),
        [
            training_step("SimpleRNN, ReLU", simple("relu"), inputs),
            training_step("SimpleRNN", simple(), inputs),
        ],
        [limit, None],  # Of the same equation; ReLU itself is slower than tanh here.
        rounds,
    )
    failures += compare(
        "EchoStateRNN, forward",
        forward("EchoStateRNN", EchoStateRNN(units, return_sequences=True), inputs),
        [forward("SimpleRNN", simple(), inputs)],
        [limit],
        rounds,
    )
    for kind in kinds:
        stack = RecurrentStack(kind(units), bidirectional=True)
        alone = keras.layers.Bidirectional(kind(units, return_sequences=True))
        failures += compare(
            f"RecurrentStack({kind.__name__}, bidirectional=True)",
            training_step("RecurrentStack", stack, inputs),
            [training_step(f"Bidirectional({kind.__name__})", alone, inputs)],
            [limit],
            rounds,
        )
    return failures


def profile(units: int, steps: int, rounds: int) -> None:
    """Times the parts of a ClockworkRNN: the loop of each module, the products around them, the outputs."""
    inputs, size = random(BATCH, steps, FEATURES), units // len(PERIODS)
    layer = ClockworkRNN(units, PERIODS, return_sequences=True)
    layer(inputs)
    last = ClockworkRNN(units, PERIODS)
    last.build(inputs.shape)
    unlooped = training_step("", layer, inputs)
    sides = [
        training_step("all", layer, inputs),
        forward("all, forward only", layer, inputs),
        training_step("all, last output only", last, inputs),
        unlooped,
        *[loop(period, size, -(-steps // period)) for period in PERIODS],
    ]
    # Traced while there are no loops: what is left are the products and the copies.
    with mock.patch.object(clockwork_cascade, "_recur", lambda drive, *_: drive):
        unlooped.function()
    unlooped.name = "all but the loops: products, held outputs"
    measure(sides, rounds)
    print(f"\nWhere the time goes: {units} units, {steps} steps")
    whole = sides[0].median
    for side in sides:
        print(f"  {side.name:<44} {side.median:8.1f} ms {side.median / whole:7.0%}")


def loop(period: int, size: int, steps: int) -> Side:
    """The loop of one module, forward and backward."""
    drive, state = random(steps, BATCH, size), random(BATCH, size)
    kernel = random(size, size) / size**0.5

    @tf.function(autograph=False)
    def step():
        with tf.GradientTape() as tape:
            tape.watch([drive, kernel])
            outputs = clockwork_cascade._recur(drive, kernel, state, ops.tanh, None)
            loss = tf.reduce_sum(outputs**2)
        return tape.gradient(loss, [drive, kernel])

    return Side(f"loop of period {period}: {steps} steps of {size} units", step)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer rounds, no 1024 units")
    parser.add_argument("--profile", action="store_true", help="also show where ClockworkRNN's time goes")
    options = parser.parse_args()
    rounds = 3 if options.quick else 5
    sizes: list[tuple[int, int, list[float | None]]] = [
        (1024, 512, [0.33, 0.25]),
        (256, 512, [0.8, None]),
        (64, 64, [1.1, None]),
    ]
    failures = []
    for units, steps, limits in sizes[options.quick :]:
        failures += clockwork(units, steps, limits, rounds)
        if options.profile:
            profile(units, steps, rounds)
    failures += beside_keras(5 * rounds)  # Steps of some milliseconds vary more.
    if importlib.util.find_spec("reservoirpy"):
        import reservoirs

        print()
        reservoirs.print_speed()
    print("\n" + ("\n".join(failures) or "All within their limits."))


if __name__ == "__main__":
    main()
