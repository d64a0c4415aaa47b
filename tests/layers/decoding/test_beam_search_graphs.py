"""Tests of BeamSearchDecoder in graphs, in SavedModels and in half precision."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from beam_search_reference import (
    SOURCE,
    assert_same,
    eager_only,
    random_attention,
    random_tables,
    search,
    search_tensors,
    tensorflow_only,
)
from keras import ops

from layers import BeamSearchDecoder, SearchOptions

ALL_SORTS: list[dict[str, Any]] = [
    {"beam_size": 4, "max_length": 7, "length_penalty": 0.8, "n_best": 3, "min_length": 1},
    {"beam_size": 3, "max_length": 5, "coverage_penalty": 0.4, "no_repeat_ngram_size": 2, "n_best": 2},
    {"beam_size": 4, "max_length": 5, "num_beam_groups": 2, "diversity_penalty": 1.0, "n_best": 4},
    {"beam_size": 3, "max_length": 5, "sample": True, "top_p": 0.9, "n_best": 3},
]


def all_sorts_of_calls(rows: int, decoder: BeamSearchDecoder) -> dict[str, Any]:
    call: dict[str, Any] = {"source_mask": np.arange(SOURCE) <= np.arange(rows)[:, None]}
    if decoder.options.no_repeat_ngram_size:
        call["prefix"] = np.array([[1, 4], [5, 0], [0, 0], [6, 6], [1, 0]], "int32")[:rows]
    if decoder.options.sample:
        call["seeds"] = np.arange(rows, dtype="int32")
    return call


@tensorflow_only
@pytest.mark.parametrize("options", ALL_SORTS)
def test_graphs_equal_eager_execution(options):
    import tensorflow as tf

    tables = random_tables(5, 9, seed=7)
    # Compiling by XLA takes long.
    for jit_compile in (False, True) if options is ALL_SORTS[0] else (False,):
        decoder = BeamSearchDecoder(SearchOptions(**options))
        call = all_sorts_of_calls(5, decoder)
        attention = random_attention(5)
        function = tf.function(
            lambda tables, attention, call, decoder=decoder: search_tensors(
                decoder, tables, tf.shape(tables)[0], attention, return_attention=True, **call
            ),
            jit_compile=jit_compile,
        )
        found = function(tables, attention, call)
        for name, values in search(tables, attention, **options, **call).items():
            # Sums of coverage may be rounded in another order.
            np.testing.assert_allclose(found[name], values, rtol=1e-6, err_msg=name)


@tensorflow_only
def test_a_saved_model_finds_the_same(tmp_path: Path):
    """Through Python, and through the C API as TensorFlow Serving does: strings name the rows."""
    import tensorflow as tf

    from components.export.session import SavedModelSession

    tables, attention = random_tables(5, 70, seed=8), random_attention(5)
    module = tf.Module()
    module.tables, module.attention = tf.constant(tables), tf.constant(attention)

    def search_rows(decoder, call, text):
        rows = tf.strings.to_number(text, tf.int32)
        return search_tensors(
            decoder,
            tf.gather(module.tables, rows),
            tf.size(rows),
            tf.gather(module.attention, rows),
            return_attention=True,
            **{name: tf.gather(values, rows) for name, values in call.items()},
        )

    signatures = {}
    for index, options in enumerate(ALL_SORTS):
        decoder = BeamSearchDecoder(SearchOptions(**options))
        call = all_sorts_of_calls(5, decoder)

        signatures[f"sort_{index}"] = tf.function(
            partial(search_rows, decoder, call), input_signature=[tf.TensorSpec([None], tf.string)]
        )
    module.functions = list(signatures.values())
    tf.saved_model.save(module, tmp_path, signatures=signatures)
    loaded = tf.saved_model.load(tmp_path)
    with SavedModelSession(tmp_path) as session:
        for index, options in enumerate(ALL_SORTS):
            call = all_sorts_of_calls(5, BeamSearchDecoder(SearchOptions(**options)))
            expected = search(tables, attention, **options, **call)
            for rows in ([0, 1, 2, 3, 4], [3], [4, 1, 1]):
                text = [str(row) for row in rows]
                by_python = loaded.signatures[f"sort_{index}"](tf.constant(text))
                by_c = session.run(text, signature=f"sort_{index}")
                for name, values in expected.items():
                    for found in (by_python[name], by_c[name]):
                        np.testing.assert_allclose(found, values[rows], rtol=1e-6, err_msg=name)
    nothing = loaded.signatures["sort_0"](tf.constant([], tf.string))
    assert nothing["sequences"].shape == (0, 3, 7)


@pytest.mark.parametrize("vocabulary", [9, 131])
def test_half_precision_models_have_single_precision_scores(vocabulary):
    tables = random_tables(6, vocabulary, seed=9).astype("float16")
    options = {"beam_size": 3, "max_length": 6, "length_penalty": 0.5, "n_best": 2}
    results = search(tables, **options)
    assert results["scores"].dtype == np.float32
    assert_same(results, search(tables.astype("float32"), **options))


@eager_only
def test_mixed_precision_leaves_the_states_alone():
    seen = []

    def step(tokens, states):
        seen.append([ops.dtype(state) for state in states])
        return ops.log_softmax(ops.zeros((2, 4, 6))), states

    decoder = BeamSearchDecoder(SearchOptions(min_length=2, max_length=2), dtype="mixed_float16")
    decoder(step, (np.zeros((2, 3), "float32"), np.zeros((2,), "float16")), 2)
    assert seen == [["float32", "float16"]] * 3
