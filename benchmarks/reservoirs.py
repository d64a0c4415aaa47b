"""EchoStateRNN and RidgeSums beside reservoirpy: the time of a fit, and published figures.

    python benchmarks/reservoirs.py

Needs reservoirpy. Both sides get the same series; figures are means over seeds with standard deviations.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

import keras  # noqa: E402
import numpy as np  # noqa: E402
import reservoirpy  # noqa: E402
from reservoirpy.datasets import mackey_glass as mackey_glass_series  # noqa: E402
from reservoirpy.mat_gen import uniform  # noqa: E402
from reservoirpy.nodes import Reservoir, Ridge  # noqa: E402
from scipy import sparse  # noqa: E402

from layers.rnn.echo_state_rnn import EchoStateRNN  # noqa: E402
from layers.rnn.ridge_readout import RidgeSums  # noqa: E402

Run = Callable[[np.ndarray], np.ndarray]
# reservoirpy draws -1 or 1 for a tenth of the inputs' weights; these have the same mean square.
INPUT_SCALING = 0.3**0.5


def runner(layer: EchoStateRNN, features: int) -> Run:
    """Compiles a layer; returns a function from sequences `(batch, time, features)` to all states."""
    sequences = keras.Input((None, features))
    return keras.Model(sequences, layer(sequences)).predict_on_batch


def narma_series(rows: int, steps: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns inputs and targets of NARMA-10, of shape `(rows, steps, 1)`.

    y(t + 1) = 0.3 y(t) + 0.05 y(t) sum(y(t - 9), ..., y(t)) + 1.5 u(t - 9) u(t) + 0.1, u ~ U(0, 0.5).
    """
    u = np.random.default_rng(seed).uniform(0, 0.5, (rows, steps + 10))
    y = np.zeros((rows, steps + 11))
    for t in range(9, steps + 10):
        memory = 0.05 * y[:, t] * y[:, t - 9 : t + 1].sum(axis=1)
        y[:, t + 1] = 0.3 * y[:, t] + memory + 1.5 * u[:, t - 9] * u[:, t] + 0.1
    return u[:, 10:, None], y[:, 11:, None]


def normalized_error(outputs: np.ndarray, targets: np.ndarray) -> float:
    """Root mean squared error over the standard deviation of the targets (NRMSE)."""
    return float(np.sqrt(np.mean(np.square(outputs - targets))) / np.std(targets))


def report(title: str, ours: list[float], theirs: list[float], **rest: Any) -> dict[str, Any]:
    """Prints and returns the figures of one experiment, one of `ours` and of `theirs` for each seed."""
    figures: dict[str, Any] = {}
    for name, values in [("ours", ours), ("reservoirpy", theirs)]:
        figures[name] = statistics.mean(values)
        figures[f"{name} +-"] = statistics.stdev(values)
    figures |= rest
    print(title)
    for name, value in figures.items():
        print(f"    {name:<15}{value:.4g}" if isinstance(value, float) else f"    {name:<15}{value}")
    return figures


def memory_capacity(seeds: int = 10) -> dict[str, Any]:
    """Summed squared correlations of u(t - k), k = 1, ..., 50, with what is recalled (Jaeger, 2001)."""
    lags, ridge, ours, theirs = 50, 1e-4, [], []
    for seed in range(seeds):
        series = np.random.default_rng(seed).uniform(-0.8, 0.8, (10 * lags, 1))
        model = Reservoir(100, sr=1.0, seed=seed) >> Ridge(ridge=ridge)
        theirs.append(float(reservoirpy.observables.memory_capacity(model, lags, series=series)))
        layer = EchoStateRNN(100, 1.0, input_scaling=INPUT_SCALING, seed=seed, return_sequences=True)
        states = runner(layer, 1)(series[None])[0, lags:]
        past = np.lib.stride_tricks.sliding_window_view(series[:-1, 0], lags)
        # The same steps as reservoirpy: 50 of washout, 300 to fit, 100 to test.
        kernel, bias = RidgeSums.of(states[lags:-100], past[lags:-100]).solve(ridge)
        pairs = zip(past[-100:].T, (states[-100:] @ kernel + bias).T, strict=True)
        ours.append(float(sum(np.corrcoef(*pair)[0, 1] ** 2 for pair in pairs)))
    settings = f"100 units, spectral radius 1, ridge {ridge}, {lags} lags, 400 steps, {seeds} seeds"
    return report("Memory capacity, higher is better", ours, theirs, published=18.78, settings=settings)


def narma(units: int = 100, seeds: int = 5) -> dict[str, Any]:
    """Normalized error on NARMA-10: 100 steps of washout, 3000 to fit, 1000 to test.

    Scalings and ridge were chosen on other seeds, by our error.
    """
    ridge, input_scaling, bias_scaling, ours, theirs = 1e-9, 0.1, 0.5, [], []
    for seed in range(100, 100 + seeds):
        (u,), (y,) = narma_series(1, 4100, seed)
        reservoir = Reservoir(
            units,
            sr=0.9,
            Win=uniform(low=-input_scaling, high=input_scaling),
            input_connectivity=1.0,
            bias=uniform(low=-bias_scaling, high=bias_scaling),
            seed=seed,
        )
        model = reservoir >> Ridge(ridge=ridge)
        model.fit(u[:3100], y[:3100], warmup=100)
        theirs.append(normalized_error(model.run(u[3100:]), y[3100:]))
        layer = EchoStateRNN(
            units,
            spectral_radius=0.9,
            input_scaling=input_scaling,
            bias_scaling=bias_scaling,
            seed=seed,
            return_sequences=True,
        )
        states = runner(layer, 1)(u[None])[0]
        kernel, bias = RidgeSums.of(states[100:3100], y[100:3100]).solve(ridge)
        ours.append(normalized_error(states[3100:] @ kernel + bias, y[3100:]))
    settings = (
        f"{units} units, spectral radius 0.9, input scaling {input_scaling}, bias scaling {bias_scaling}, "
        f"ridge {ridge}, 3000 steps, {seeds} seeds"
    )
    published = {50: 0.377, 100: 0.292, 200: 0.226, 400: 0.149}[units]
    return report("NARMA-10, NRMSE, lower is better", ours, theirs, published=published, settings=settings)


def mackey_glass(seeds: int = 5) -> dict[str, Any]:
    """Root mean squared error of the next value of a Mackey-Glass series of delay 17."""
    ridge, ours, theirs = 1e-5, [], []
    series = mackey_glass_series(3101, tau=17)
    x, y = series[:-1], series[1:]
    for seed in range(seeds):
        model = Reservoir(100, lr=0.3, sr=1.25, seed=seed) >> Ridge(ridge=ridge)
        model.fit(x[:2100], y[:2100], warmup=100)
        theirs.append(float(np.sqrt(np.mean(np.square(model.run(x[2100:]) - y[2100:])))))
        layer = EchoStateRNN(
            100, 1.25, leak_rate=0.3, input_scaling=INPUT_SCALING, seed=seed, return_sequences=True
        )
        states = runner(layer, 1)(x[None])[0]
        kernel, bias = RidgeSums.of(states[100:2100], y[100:2100]).solve(ridge)
        ours.append(float(np.sqrt(np.mean(np.square(states[2100:] @ kernel + bias - y[2100:])))))
    settings = f"100 units, spectral radius 1.25, leak rate 0.3, ridge {ridge}, 2000 steps, {seeds} seeds"
    return report(
        "Mackey-Glass, RMSE, lower is better", ours, theirs, published="0.0019 to 0.0030", settings=settings
    )


def print_speed(units: int = 1000, rows: int = 100, steps: int = 500, repeats: int = 3) -> dict[str, float]:
    """Times the states of all sequences and the fit of a readout, on the same matrices.

    reservoirpy gets sparse matrices, as it makes them itself (dense ones take it several times as long), and
    the faster of one worker and one a core. Our model is compiled before, once.
    """
    washout, ridge = 50, 1e-6
    u, y = narma_series(rows, steps, seed=0)
    test_u, test_y = narma_series(10, steps, seed=1)
    layer = EchoStateRNN(
        units, leak_rate=0.9, input_scaling=0.1, bias_scaling=0.5, seed=0, return_sequences=True
    )
    run = runner(layer, 1)
    kernel, recurrent_kernel, bias = (weights.astype("float64") for weights in layer.get_weights())
    matrix = sparse.csr_array(recurrent_kernel.T)
    parts: dict[str, list[float]] = {"states": [], "sums": [], "solve": []}

    def fit_ours() -> float:
        times = [time.perf_counter()]
        states = run(u)
        times.append(time.perf_counter())
        sums = RidgeSums.of(states, y, washout=washout)
        times.append(time.perf_counter())
        readout = sums.solve(ridge)
        times.append(time.perf_counter())
        for part, seconds in zip(parts.values(), np.diff(times), strict=True):
            part.append(float(seconds))
        outputs = run(test_u)[:, washout:] @ readout[0] + readout[1]
        errors["ours"] = normalized_error(outputs, test_y[:, washout:])
        return times[-1] - times[0]

    def fit_theirs(workers: int) -> float:
        reservoir = Reservoir(W=matrix, Win=kernel.T, bias=bias, lr=0.9)
        model = reservoir >> Ridge(ridge=ridge)
        began = time.perf_counter()
        model.fit(u, y, warmup=washout, workers=workers)
        seconds = time.perf_counter() - began
        outputs = np.array(model.run(test_u))[:, washout:]
        errors["reservoirpy"] = normalized_error(outputs, test_y[:, washout:])
        return seconds

    errors: dict[str, float] = {}
    run(u[:, :10])
    trials = {workers: fit_theirs(workers) for workers in (1, -1)}
    fastest = min(trials, key=lambda workers: trials[workers])
    print(f"{rows} sequences of {steps} steps, {units} units: states and ridge fit, medians of {repeats}")
    pairs = [(fit_ours(), fit_theirs(fastest)) for _ in range(repeats)]
    ours, theirs = (statistics.median(times) for times in zip(*pairs, strict=True))
    details = ", ".join(f"{name} {statistics.median(values):.2f}" for name, values in parts.items())
    print(f"    ours        {ours:6.2f} s ({details}), NRMSE {errors['ours']:.5f}")
    print(f"    reservoirpy {theirs:6.2f} s (workers={fastest}), NRMSE {errors['reservoirpy']:.5f}")
    print(f"    ratio       {ours / theirs:6.2f} (at most 0.25)")
    return {"ours": ours, "reservoirpy": theirs, "ratio": ours / theirs}


def main() -> None:
    """Runs everything."""
    keras.utils.set_random_seed(0)
    memory_capacity()
    narma(100)
    narma(400)
    mackey_glass()
    print_speed()


if __name__ == "__main__":
    main()
