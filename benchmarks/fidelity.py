"""Published figures of the recurrent layers beside what these layers give.

    python benchmarks/fidelity.py                        all tasks
    python benchmarks/fidelity.py adding generation      these tasks: reservoirs, adding, generation

Runs on JAX, whose loops over many small steps are the fastest on a CPU, and trains all networks of a kind
side by side in one compiled loop. `generation` also draws docs/fidelity_sequence_generation.png, and
`reservoirs` needs reservoirpy.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

os.environ["KERAS_BACKEND"] = "jax"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
REPOSITORY = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(REPOSITORY)]

import jax  # noqa: E402
import keras  # noqa: E402
import numpy as np  # noqa: E402

from layers import ClockworkRNN, IdentityRNN  # noqa: E402

Arrays = list[Any]

ADDING_LENGTH, ADDING_UPDATES, ADDING_RATES, SOLVED = 100, 10_000, (1e-2, 1e-3, 1e-4), 0.01
GENERATION_LENGTH, GENERATION_EPOCHS, GENERATION_RATES, STARTS = 320, 2000, (3e-5, 3e-4, 3e-3, 3e-2), 3
N_SEQUENCES = 5


class Networks:
    """Independent networks of one architecture, trained side by side.

    Args:
        make_model: Makes a model with new initial weights.
        optimizer: What trains each of them.
        seeds: For each network the seed of its initial weights.
        rates: For each network its learning rate.
        input_shape: Shape of a batch of inputs.
        same_batches: Whether all networks see the same batches.
    """

    def __init__(
        self,
        make_model: Callable[[], keras.Model],
        optimizer: keras.optimizers.Optimizer,
        seeds: list[int],
        rates: list[float],
        input_shape: tuple[int | None, ...],
        same_batches: bool,
    ) -> None:
        weights = {}
        for seed in set(seeds):
            keras.utils.set_random_seed(seed)
            self.model = make_model()
            self.model.build(input_shape)
            weights[seed] = [keras.ops.convert_to_numpy(v) for v in self.model.trainable_variables]
        self.fixed = [v.value for v in self.model.non_trainable_variables]
        self.weights = [np.stack(arrays) for arrays in zip(*(weights[s] for s in seeds), strict=True)]
        optimizer.build(self.model.trainable_variables)
        self.optimizer = optimizer
        self.slots = [
            np.array(rates, "float32")
            if variable.path.endswith("learning_rate")
            else np.stack([keras.ops.convert_to_numpy(variable)] * len(rates))
            for variable in optimizer.variables
        ]
        self._train = jax.jit(jax.vmap(self._updates, in_axes=(0, 0, None if same_batches else 1)))
        self._predict = jax.jit(jax.vmap(self._outputs, in_axes=(0, None)))

    def _outputs(self, weights: Arrays, inputs: Any) -> Any:
        return self.model.stateless_call(weights, self.fixed, inputs)[0]

    def _updates(self, weights: Arrays, slots: Arrays, batches: Arrays) -> tuple[Arrays, Arrays]:
        def loss(weights: Arrays, inputs: Any, targets: Any) -> Any:
            return ((self._outputs(weights, inputs) - targets) ** 2).mean()

        def update(state: tuple[Arrays, Arrays], batch: Arrays) -> tuple[tuple[Arrays, Arrays], None]:
            weights, slots = state
            gradients = jax.grad(loss)(weights, *batch)
            return self.optimizer.stateless_apply(slots, gradients, weights), None

        return jax.lax.scan(update, (weights, slots), batches)[0]

    def train(self, inputs: np.ndarray, targets: np.ndarray) -> None:
        """Makes an update with each batch, of shape `(updates, batch, ...)`.

        If each network sees its own: `(updates, networks, batch, ...)`.
        """
        self.weights, self.slots = self._train(self.weights, self.slots, [inputs, targets])

    def predict(self, inputs: np.ndarray) -> np.ndarray:
        """Returns the outputs of each network, of shape `(networks, batch, ...)`."""
        return np.asarray(self._predict(self.weights, inputs))


def adding_problem(random: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Numbers in [0, 1] and two marks, one in each half; the target is the sum of the marked numbers."""
    numbers, marks = random.uniform(size=(size, ADDING_LENGTH)), np.zeros((size, ADDING_LENGTH))
    rows, half = np.arange(size), ADDING_LENGTH // 2
    for start, stop in [(0, half), (half, ADDING_LENGTH)]:
        marks[rows, random.integers(start, stop, size)] = 1
    targets = (numbers * marks).sum(axis=1, keepdims=True)
    return np.stack([numbers, marks], axis=-1).astype("float32"), targets.astype("float32")


def regressor(layer: type[keras.layers.Layer]) -> keras.Model:
    """Makes a network that answers with one number."""
    return keras.Sequential([layer(100), keras.layers.Dense(1)])


def adding() -> None:
    """Le et al. (2015), section 4.1: 100 units, batches of 16, gradients clipped to a norm of 1."""
    rates = ", ".join(f"{rate:g}" for rate in ADDING_RATES)
    print(
        f"\nAdding problem, {ADDING_LENGTH} steps: MSE on 1000 test sequences, solved below {SOLVED}\n"
        f"at most {ADDING_UPDATES} updates by Adam (the paper: SGD); the first to solve it of the learning "
        f"rates {rates}, else the best\n"
        "Published: 0.1767 for always answering 1; the IRNN learns as well as the LSTM"
    )
    layers = {"SimpleRNN": keras.layers.SimpleRNN, "IdentityRNN": IdentityRNN, "LSTM": keras.layers.LSTM}
    test_inputs, test_targets = adding_problem(np.random.default_rng(1), 1000)
    lines = [f"{'':<12}{'parameters':>12}{'learning rate':>15}{'MSE':>10}{'solved after':>15}"]
    for name, layer in layers.items():
        networks = Networks(
            partial(regressor, layer),
            keras.optimizers.Adam(global_clipnorm=1.0),
            seeds=[0] * len(ADDING_RATES),
            rates=list(ADDING_RATES),
            input_shape=(None, ADDING_LENGTH, 2),
            same_batches=True,
        )
        random, chunk, began = np.random.default_rng(0), 200, time.monotonic()
        for updates in range(chunk, ADDING_UPDATES + 1, chunk):
            inputs, targets = adding_problem(random, chunk * 16)
            networks.train(inputs.reshape(chunk, 16, *inputs.shape[1:]), targets.reshape(chunk, 16, 1))
            errors = ((networks.predict(test_inputs) - test_targets) ** 2).mean(axis=(1, 2))
            is_solved = (errors < SOLVED).any()
            if is_solved or updates % 1000 == 0:
                shown = " ".join(f"{error:.4f}" for error in errors)
                print(
                    f"  {name}: {updates} updates, {time.monotonic() - began:.0f} s, MSE {shown}", flush=True
                )
            if is_solved:
                break
        best = int(np.nanargmin(errors))
        after = f"{updates} updates" if is_solved else "never"
        lines.append(
            f"{name:<12}{networks.model.count_params():>12}{ADDING_RATES[best]:>15g}{errors[best]:>10.4f}"
            f"{after:>15}"
        )
    print("\n".join(lines))


def sounds(random: np.random.Generator) -> np.ndarray:
    """Makes sequences that stand in for the paper's, 7 ms of music at 44.1 kHz, which are not published.

    Each adds up three notes of 110 to 1760 Hz with six harmonics, whose loudness swells and fades, and is
    scaled to [-1, 1]. The shape is `(sequences, time, 1)`.
    """
    times, sequences = np.arange(GENERATION_LENGTH) / 44_100, []
    for _ in range(N_SEQUENCES):
        sound = np.zeros(GENERATION_LENGTH)
        for _ in range(3):
            pitch, swell = 110 * 2 ** random.uniform(0, 4), random.uniform(50, 150)
            phases = random.uniform(0, 2 * np.pi, 7)
            loudness = random.uniform(0.3, 1) * (1 + 0.5 * np.sin(2 * np.pi * swell * times + phases[0]))
            for harmonic in range(1, 7):
                wave = np.sin(2 * np.pi * harmonic * pitch * times + phases[harmonic])
                sound += loudness * random.uniform(0, 1) / harmonic * wave
        sound -= (sound.max() + sound.min()) / 2
        sequences.append(sound / np.abs(sound).max())
    return np.array(sequences, "float32")[..., None]


def forgetful(shape: tuple[int, ...], dtype: Any = None) -> Any:
    """Initializes the bias of an LSTM whose forget gates start at 5, as in the paper."""
    is_forget_gate = np.arange(shape[0]) // (shape[0] // 4) == 1
    return 0.1 * keras.random.normal(shape, dtype=dtype) + 5.0 * is_forget_gate


def generators() -> dict[str, Callable[[], keras.Model]]:
    """Networks of about 1000 parameters without those of the input, which is always 0."""

    def make(layer: type[keras.layers.Layer], units: int, **options: Any) -> keras.Model:
        def normal() -> keras.initializers.Initializer:
            return keras.initializers.RandomNormal(stddev=0.1)

        recurrent = layer(
            units,
            kernel_initializer=normal(),
            recurrent_initializer=normal(),
            return_sequences=True,
            **{"bias_initializer": normal(), **options},
        )
        output = keras.layers.Dense(1, kernel_initializer=normal(), bias_initializer=normal())
        return keras.Sequential([recurrent, output])

    return {
        "SimpleRNN": partial(make, keras.layers.SimpleRNN, 31),
        "LSTM": partial(make, keras.layers.LSTM, 15, unit_forget_bias=False, bias_initializer=forgetful),
        "ClockworkRNN": partial(make, ClockworkRNN, 40, periods=[2**i for i in range(9)]),
    }


def generation() -> None:
    """Koutnik et al. (2014), section 4.1: Nesterov's momentum of 0.95, initial weights from N(0, 0.1)."""
    published = {"SimpleRNN": "0.46 +- 0.08", "LSTM": "0.04 +- 0.01", "ClockworkRNN": "0.007 +- 0.004"}
    rates = ", ".join(f"{rate:g}" for rate in GENERATION_RATES)
    print(
        f"\nSequence generation, {GENERATION_LENGTH} samples: NMSE (mean squared error over variance)\n"
        f"{N_SEQUENCES} synthetic sequences (the paper's are of music), {STARTS} starts of each network; "
        f"{GENERATION_EPOCHS} epochs;\nthe best of the learning rates {rates}"
    )
    targets = sounds(np.random.default_rng(0))
    nothing = np.zeros((1, GENERATION_LENGTH, 1), "float32")
    shape = (len(GENERATION_RATES), STARTS, N_SEQUENCES)
    rate_indices, starts, sequences = (axis.ravel() for axis in np.indices(shape))
    lines = [f"{'':<14}{'parameters':>12}{'learning rate':>15}{'NMSE':>18}{'published':>18}"]
    drawn = {}
    for name, make_model in generators().items():
        networks = Networks(
            make_model,
            keras.optimizers.SGD(momentum=0.95, nesterov=True),
            seeds=starts.tolist(),
            rates=[GENERATION_RATES[index] for index in rate_indices],
            input_shape=nothing.shape,
            same_batches=False,
        )
        # One sequence is the only batch of a network.
        chunk, wanted, began = 100, targets[sequences], time.monotonic()
        batches = np.broadcast_to(wanted[:, None], (chunk, len(wanted), 1, GENERATION_LENGTH, 1))
        for epochs in range(chunk, GENERATION_EPOCHS + 1, chunk):
            networks.train(np.zeros_like(batches), batches)
            outputs = networks.predict(nothing)[:, 0]
            errors = ((outputs - wanted) ** 2).mean(axis=(1, 2)) / wanted.var(axis=(1, 2))
            errors = np.where(np.isfinite(errors), errors, np.inf).reshape(shape)
            if epochs % 500 == 0:
                shown = " ".join(f"{error:.4f}" for error in errors.mean(axis=(1, 2)))
                print(
                    f"  {name}: {epochs} epochs, {time.monotonic() - began:.0f} s, NMSE {shown}", flush=True
                )
        best = int(np.argmin(errors.mean(axis=(1, 2))))
        # The parameters that the input, always 0, would need are not counted.
        parameters = networks.model.count_params() - networks.model.layers[0].trainable_weights[0].shape[-1]
        figure = f"{errors[best].mean():.4f} +- {errors[best].std():.4f}"
        lines.append(
            f"{name:<14}{parameters:>12}{GENERATION_RATES[best]:>15g}{figure:>18}{published[name]:>18}"
        )
        drawn[name] = outputs.reshape(*shape, GENERATION_LENGTH)[best, 0, 0]
    print("\n".join(lines))
    draw(targets[0, :, 0], drawn)


def draw(target: np.ndarray, outputs: dict[str, np.ndarray]) -> None:
    """Draws the first sequence and what the first start of each network makes of it."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(len(outputs), 1, figsize=(8, 5), sharex=True, sharey=True)
    for axis, (name, output) in zip(axes, outputs.items(), strict=True):
        axis.plot(target, color="0.75", linewidth=3, label="target")
        axis.plot(output, color="C0", linewidth=1, label=name)
        axis.legend(loc="upper right", ncols=2, frameon=False)
        axis.spines[["top", "right"]].set_visible(False)
        axis.set(ylim=(-1.1, 1.6), yticks=[-1, 0, 1])
    axes[-1].set(xlabel="time step", xlim=(0, GENERATION_LENGTH))
    figure.tight_layout()
    figure.savefig(REPOSITORY / "docs" / "fidelity_sequence_generation.png", dpi=80)


def reservoirs() -> None:
    """Echo state networks: memory capacity, NARMA-10 and Mackey-Glass, from benchmarks/reservoirs.py."""
    import reservoirs as tasks

    tasks.memory_capacity()
    tasks.narma(units=100)
    tasks.narma(units=400)
    tasks.mackey_glass()


def main() -> None:
    """Runs the tasks named on the command line, all by default."""
    tasks = {"reservoirs": reservoirs, "adding": adding, "generation": generation}
    names = sys.argv[1:] or list(tasks)
    if not set(names) <= set(tasks):
        sys.exit(f"expected tasks among {', '.join(tasks)}, got {' '.join(names)}")
    for name in names:
        began = time.monotonic()
        tasks[name]()
        print(f"{name} took {time.monotonic() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
