"""Greedy and beam search beside keras-hub's samplers and JoeyNMT, all with the same weights.

    python benchmarks/decoding.py             tokens per second, ratios and targets
    python benchmarks/decoding.py --quick     the same from fewer rounds
    python benchmarks/decoding.py --profile   also, where the time of a step goes

The decoder is an LSTM of 256 units with additive attention after it and input feeding (the order of Luong
et al., as JoeyNMT has it), over random memories of 32 rows and 25 positions, and a vocabulary of 8,000.
Every side runs its decoder exactly 30 times: no hypothesis can end, as the end and the special tokens have
a bias of -1e9 (JoeyNMT forbids them by its own options). Encoders are left out. Sides are timed in turns on
the same number of threads; tokens per second are rows times steps over the median.

keras-hub and JoeyNMT are compared with where they are installed: `pip install keras-hub` and
`pip install torch`, and for JoeyNMT 2.3, whose pins of protobuf exclude TensorFlow's,
`pip install --no-deps joeynmt==2.3.0 subword-nmt tensorboard importlib_metadata zipp`.

What differs: keras-hub gets the same Keras decoder in a `tf.function`. Its beams know no shared memory, so
keys and memory are repeated for each hypothesis: by the sampler, in its cache, which it reorders at every
step ("in cache", as its own models have it), or by the caller ahead of the loop ("by hand"), which spares
that but must know the sampler's order of rows: no target counts it. JoeyNMT runs eagerly, projects and
reorders the memory at every step, has no bias in its readout, and lists finished hypotheses in Python, here
once.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # JoeyNMT's idle threads leave the cores to the others.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from layers import AttentionDecoder, BahdanauAttention, BeamSearchDecoder, SearchOptions
from layers.decoding._continuations import Allowed, best_continuations, gather

BATCH, SOURCE, STEPS, VOCABULARY, UNITS = 32, 25, 30, 8000, 256
PAD, UNKNOWN, START, END = range(4)
WIDTHS = (1, 5, 10)
FASTER_THAN_OTHERS = {5: 2.0, 10: 2.5}  # By width, at least.
SLOWER_THAN_GREEDY = {5: 2.5}  # At most.

Decode = Callable[[], np.ndarray]  # Returns the tokens (BATCH, STEPS); see `ours`.


class Model:
    """The decoder with random weights, and the memories that it reads."""

    def __init__(self) -> None:
        draw = np.random.default_rng(1)
        self.embedding = keras.layers.Embedding(VOCABULARY, UNITS, "random_normal")
        self.decoder = AttentionDecoder(
            [keras.layers.LSTMCell(UNITS)],
            attention=BahdanauAttention(UNITS),
            order="after",
            input_feeding=True,
        )
        self.logits = keras.layers.Dense(VOCABULARY)
        self.memory = tf.constant(draw.normal(size=(BATCH, SOURCE, UNITS)), tf.float32)
        outputs = self.decoder(self.embedding(tf.zeros((BATCH, 1), tf.int32)), memory=self.memory)
        self.logits(outputs)
        # Large enough for sequences that vary, and probabilities that are not all alike.
        self.embedding.embeddings.assign(draw.normal(size=(VOCABULARY, UNITS)))
        self.logits.kernel.assign(0.5 * draw.normal(size=(UNITS, VOCABULARY)))
        self.logits.bias.assign(np.where(np.arange(VOCABULARY) <= END, -1e9, 0.0))

    def step(self, tokens: Any, states: Any, source: Any) -> tuple[Any, Any]:
        """Returns the logits of the next tokens, of the shape of `tokens` and the vocabulary's size."""
        outputs, states, _ = self.decoder.step(self.embedding(tokens), states, source)
        # As one matrix product: of more axes, TensorFlow would not fuse it with the bias.
        logits = self.logits(ops.reshape(outputs, (-1, UNITS)))
        return ops.reshape(logits, (*ops.shape(tokens), VOCABULARY)), states


def ours(model: Model, width: int, max_length: int = STEPS - 1) -> Decode:
    # There is a step after the last token, which tells whether the sequence ends there.
    search = BeamSearchDecoder(SearchOptions(beam_size=width, max_length=max_length), dtype="float32")

    @tf.function(autograph=False)
    def decode(memory):
        source = model.decoder.prepare(memory)

        def step(tokens, states):
            logits, states = model.step(tokens, states, source)
            return ops.log_softmax(logits), states

        states = model.decoder.get_initial_state(BATCH, memory)
        return search(step, states, batch_size=BATCH)["sequences"][:, 0]

    return lambda: decode(model.memory).numpy()


def keras_hub(model: Model, width: int, in_cache: bool) -> Decode:
    from keras_hub.samplers import BeamSampler, GreedySampler

    sampler = GreedySampler() if width == 1 else BeamSampler(num_beams=width)
    prompt = tf.constant([[START] + STEPS * [PAD]] * BATCH)

    @tf.function(autograph=False)
    def decode(prompt, memory):
        states = model.decoder.get_initial_state(BATCH, memory)
        source = model.decoder.prepare(memory)
        tensors = [tensor for tensor in keras.tree.flatten(source) if tensor is not None]
        repeated = [] if in_cache else [tf.repeat(tensor, width, axis=0) for tensor in tensors]

        def following(prompt, cache, index):
            states, cached = cache
            rest = iter(cached or repeated)
            of_beams = keras.tree.map_structure(lambda each: None if each is None else next(rest), source)
            logits, states = model.step(prompt[:, index - 1], states, of_beams)
            return logits, None, (states, cached)

        cache = (states, tensors if in_cache else [])
        return sampler(following, prompt, cache=cache, index=1)[:, 1:]

    return lambda: decode(prompt, model.memory).numpy()


def joeynmt(model: Model, width: int) -> Decode:
    import torch
    from joeynmt import search
    from joeynmt.decoders import RecurrentDecoder
    from joeynmt.embeddings import Embeddings
    from joeynmt.model import Model as JoeyModel

    def tensor(values: Any) -> torch.Tensor:
        return torch.tensor(ops.convert_to_numpy(values), dtype=torch.float32)

    decoder = RecurrentDecoder(
        rnn_type="lstm",
        emb_size=UNITS,
        hidden_size=UNITS,
        encoder=SimpleNamespace(output_size=UNITS),
        attention="bahdanau",
        vocab_size=VOCABULARY,
        init_hidden="zeros",
        input_feeding=True,
    )
    cell, attention = model.decoder.cells[0], model.decoder.attention
    from_context, from_cell = np.split(ops.convert_to_numpy(model.decoder.attentional_layer.kernel), 2)
    for target, values in [
        (decoder.rnn.weight_ih_l0, ops.transpose(cell.kernel)),
        (decoder.rnn.weight_hh_l0, ops.transpose(cell.recurrent_kernel)),
        (decoder.rnn.bias_ih_l0, cell.bias),
        (decoder.rnn.bias_hh_l0, ops.zeros_like(cell.bias)),
        (decoder.att_vector_layer.weight, np.concatenate([from_cell, from_context]).T),
        (decoder.att_vector_layer.bias, np.zeros(UNITS)),
        (decoder.attention.key_layer.weight, ops.transpose(attention.key_projection.kernel)),
        (decoder.attention.query_layer.weight, ops.transpose(attention.query_projection.kernel)),
        (decoder.attention.energy_layer.weight, ops.transpose(attention.score_projection.kernel)),
        (decoder.output_layer.weight, ops.transpose(model.logits.kernel)),
    ]:
        target.data.copy_(tensor(values))
    embedding = Embeddings(UNITS, vocab_size=VOCABULARY, padding_idx=PAD)
    embedding.lut.weight.data.copy_(tensor(model.embedding.embeddings))
    vocabulary = SimpleNamespace(
        pad_index=PAD,
        unk_index=UNKNOWN,
        bos_index=START,
        eos_index=END,
        sep_index=None,
        specials=[],
        lang_tags=[],
    )
    joey = JoeyModel(None, decoder, None, embedding, vocabulary, vocabulary).eval()
    memory = tensor(model.memory)
    inputs = {
        "model": joey,
        "encoder_output": memory,
        "encoder_hidden": memory[:, 0],  # Tells the number of rows: the states are zeros.
        "src_mask": torch.ones(BATCH, 1, SOURCE, dtype=torch.bool),
        "max_output_length": STEPS,
        "min_output_length": STEPS,
        "generate_unk": False,
    }

    @torch.inference_mode()
    def decode() -> np.ndarray:
        if width == 1:
            return search.greedy(**inputs)[0].numpy()
        return search.beam_search(**inputs, beam_size=width, alpha=0.0)[0].numpy()

    return decode


SIDES: dict[str, tuple[str, Callable[[Model, int], Decode]]] = {  # By name, with the package each needs.
    "ours": ("keras", ours),
    "keras-hub, in cache": ("keras_hub", partial(keras_hub, in_cache=True)),
    "keras-hub, by hand": ("keras_hub", partial(keras_hub, in_cache=False)),
    "JoeyNMT": ("joeynmt", joeynmt),
}
AS_DOCUMENTED = ("keras-hub, in cache", "JoeyNMT")


def seconds(function: Callable[[], object]) -> float:
    """Times one call."""
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def measure(functions: Mapping[Any, Callable[[], object]], rounds: int) -> dict[Any, list[float]]:
    """Times all functions in turns, in seconds; each was called before."""
    times: dict[Any, list[float]] = {key: [] for key in functions}
    for _ in range(rounds):
        for key, function in functions.items():
            times[key].append(seconds(function))
    return times


def compare(model: Model, names: list[str], rounds: int) -> list[str]:
    """Prints the speed of all sides and returns which targets are missed."""
    functions = {(width, name): SIDES[name][1](model, width) for width in WIDTHS for name in names}
    results = {key: function() for key, function in functions.items()}
    for width in WIDTHS:  # Not timed: all tokens of the others, for a step more.
        results[width, "ours"] = ours(model, width, max_length=STEPS)()
    times = measure(functions, rounds)
    medians = {key: statistics.median(values) for key, values in times.items()}
    print(
        f"{'width':>5}  {'side':<20} {'median':>9} {'fastest':>9} {'tokens/s':>9} {'ours faster':>12} "
        f"{'rows as ours':>13}"
    )
    for (width, name), values in times.items():
        median, fastest, mine = medians[width, name], min(values), medians[width, "ours"]
        alike = np.mean(np.all(results[width, name] == results[width, "ours"], axis=1))
        print(
            f"{width:>5}  {name:<20} {1000 * median:>6.0f} ms {1000 * fastest:>6.0f} ms "
            f"{BATCH * STEPS / median:>9.0f} {median / mine:>12.2f} {alike:>13.0%}"
        )
    distinct = len(np.unique(results[1, "ours"]))
    print(f"Greedy search found {distinct} different tokens in {BATCH} rows of {STEPS}.")

    missed: list[str] = []
    for width, target in FASTER_THAN_OTHERS.items():
        others = [medians[width, name] for name in names if name in AS_DOCUMENTED]
        if not others:
            continue
        ratio = min(others) / medians[width, "ours"]
        print(
            f"Width {width} is {ratio:.2f} times as fast as the faster of {' and '.join(AS_DOCUMENTED)} "
            f"(at least {target})."
        )
        if ratio < target:
            missed.append(f"width {width}: {ratio:.2f} times as fast as the others, at least {target}")
    for width, target in SLOWER_THAN_GREEDY.items():
        ratio = medians[width, "ours"] / medians[1, "ours"]
        print(f"Width {width} takes {ratio:.2f} times as long as greedy search (at most {target}).")
        if ratio > target:
            missed.append(f"width {width}: {ratio:.2f} times the time of greedy search, at most {target}")
    missed += [
        f"{name} finds other tokens by greedy search than ours"
        for name in names
        # Rounding may turn a near tie, and all tokens behind it.
        if np.mean(results[1, name] == results[1, "ours"]) < 0.95
    ]
    return missed


def loop(body: Callable[[Any], Any], *inputs: tf.Tensor) -> Callable[[], object]:
    """Runs a part of the decoder `STEPS` times, with inputs that change so that none can be saved."""

    @tf.function(autograph=False)
    def run(*inputs):
        def advance(time, total):
            results = tf.nest.flatten(body(*(tensor + 1e-9 * total for tensor in inputs)))
            return time + 1, sum(tf.cast(tf.reshape(result, (-1,))[0], tf.float32) for result in results)

        return tf.while_loop(lambda time, _: time < STEPS, advance, (0, 0.0))

    return lambda: run(*inputs)[1].numpy()


def profile(model: Model, width: int, rounds: int) -> None:
    """Prints the time of each part of a step, alone in a loop, and what is left of the whole."""
    draw = np.random.default_rng(1)

    def random(*shape: int) -> tf.Tensor:
        return tf.constant(draw.normal(size=shape), tf.float32)

    decoder, size = model.decoder, BATCH * width
    keys = decoder.attention.project_keys(model.memory)
    base = random(BATCH, width)
    parents = tf.constant(draw.integers(width, size=(BATCH, width)), tf.int32)
    allowed = Allowed((PAD, START), END, may_end=True)

    def log_softmax(outputs: Any) -> Any:
        return ops.log_softmax(model.logits(outputs))

    def expand(outputs: Any) -> Any:
        log_probs = ops.reshape(log_softmax(outputs), (BATCH, width, VOCABULARY))
        return best_continuations(log_probs, base, 2 * width, allowed)

    functions = {
        "whole": ours(model, width),
        "cell": loop(
            lambda inputs, *states: decoder.cells[0](inputs, list(states)),
            random(size, 2 * UNITS),
            random(size, UNITS),
            random(size, UNITS),
        ),
        "attention": loop(
            lambda query: decoder.attention.attend(query, keys, model.memory), random(BATCH, width, UNITS)
        ),
        "attentional vector": loop(decoder.attentional_layer, random(size, 2 * UNITS)),
        "output projection": loop(model.logits, random(size, UNITS)),
        "log-softmax": loop(log_softmax, random(size, UNITS)),
        "candidate expansion": loop(expand, random(size, UNITS)),
        "reordering": loop(
            lambda *states: [gather(state, parents) for state in states],
            *[random(BATCH, width, UNITS) for _ in range(3)],
        ),
    }
    for function in functions.values():
        function()
    parts = {
        name: 1000 * statistics.median(values) / STEPS for name, values in measure(functions, rounds).items()
    }
    whole = parts.pop("whole")
    # These were timed together with what comes before them.
    parts["candidate expansion"] -= parts["log-softmax"]
    parts["log-softmax"] -= parts["output projection"]
    parts["all else"] = whole - sum(parts.values())
    print(f"\nWhere the time of a step goes, width {width}: {whole:.2f} ms")
    for name, milliseconds in parts.items():
        print(f"  {name:<20} {milliseconds:6.2f} ms {milliseconds / whole:5.0%}")


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument("--profile", action="store_true", help="also show where the time of a step goes")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="of every side")
    options = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(options.threads)
    tf.config.threading.set_inter_op_parallelism_threads(options.threads)
    names = [name for name, (package, _) in SIDES.items() if importlib.util.find_spec(package)]
    installed = ["tensorflow", *dict.fromkeys(SIDES[name][0] for name in names)]
    if "joeynmt" in installed:
        import torch

        torch.set_num_threads(options.threads)
        installed.append("torch")
    tf.get_logger().setLevel("ERROR")  # Every side is a function of its own: they are traced anew on purpose.
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in installed)
    rounds = 5 if options.quick else 11
    print(
        f"{versions}; {options.threads} threads, medians of {rounds}\n{BATCH} rows, {SOURCE} positions, "
        f"{STEPS} steps, LSTM of {UNITS}, vocabulary of {VOCABULARY:,}\n"
    )
    keras.utils.set_random_seed(1)
    model = Model()
    missed = compare(model, names, rounds)
    if options.profile:
        for width in WIDTHS:
            profile(model, width, rounds)
    print("\n" + ("\n".join(missed) or "All targets are met."))


if __name__ == "__main__":
    main()
