"""Finding the best continuations in beam search: in chunks of the vocabulary, and by top_k over all of it.

    python benchmarks/beam_expansion.py

A vocabulary of 8,000, 32 rows, TensorFlow without XLA; medians of 200 calls, both sides in turns. Only this
part of a step is timed, not the model, which costs several times as much.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import tensorflow as tf

from layers.decoding._continuations import Allowed, best_continuations

BATCH, VOCABULARY, CALLS = 32, 8000, 200


def main() -> None:
    """Measures and prints."""
    draw = np.random.default_rng(1)
    print(f"{'width':>5} {'top_k on all':>13} {'in chunks':>10} {'chunks / all':>13}")
    for width in (1, 5, 10):
        logits = tf.constant(draw.normal(size=(BATCH, width, VOCABULARY)), tf.float32)
        log_probs = tf.nn.log_softmax(logits)
        base = tf.constant(draw.normal(size=(BATCH, width)), tf.float32)
        forbidden = tf.constant(
            [-np.inf if token in (0, 2) else 0.0 for token in range(VOCABULARY)], tf.float32
        )

        @tf.function
        def in_chunks(log_probs=log_probs, base=base, width=width):
            return best_continuations(log_probs, base, 2 * width, Allowed((0, 2), end_id=3, may_end=True))

        @tf.function
        def on_all(log_probs=log_probs, base=base, width=width, forbidden=forbidden):
            totals = log_probs + forbidden + base[:, :, None]
            return tf.math.top_k(tf.reshape(totals, (BATCH, width * VOCABULARY)), 2 * width)

        np.testing.assert_allclose(in_chunks().ranks, on_all().values, rtol=1e-6)
        times: dict[str, list[float]] = {"all": [], "chunks": []}
        for _ in range(CALLS):
            for name, function in (("all", on_all), ("chunks", in_chunks)):
                began = time.perf_counter()
                function()
                times[name].append(1000 * (time.perf_counter() - began))
        on_all_ms, chunks_ms = (statistics.median(times[name]) for name in ("all", "chunks"))
        print(f"{width:>5} {on_all_ms:10.2f} ms {chunks_ms:7.2f} ms {chunks_ms / on_all_ms:13.2f}")


if __name__ == "__main__":
    main()
