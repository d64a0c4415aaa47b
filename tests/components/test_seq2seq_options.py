"""The options of Seq2Seq: each decodes as it was trained, and does what its paper says."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from components.models.build import build_model
from components.models.config import ModelConfig
from components.models.decode import DecodeConfig
from components.models.row_seeds import row_seeds
from layers import SearchOptions

SIZES = {"source": 11, "target": 7}
SOURCE = np.array([[4, 5, 6, 7], [8, 9, 0, 0], [10, 0, 0, 0], [0, 0, 0, 0]], "int32")
PREVIOUS = np.array([[2, 4, 5]] * 4, "int32")
TARGETS, WEIGHTS = (
    np.array([[4, 5, 3], [6, 3, 0], [3, 0, 0], [0, 0, 0]]),
    [[1, 1, 1], [1, 1, 0], [1, 0, 0], [0, 0, 0]],
)
WEIGHTS = np.array(WEIGHTS, "float32")
BASE = {
    "embedding_size": 6,
    "encoder": {"type": "gru", "units": 5},
    "attention": {"type": "bahdanau"},
    "decoder": {"type": "gru", "units": 5, "num_layers": 2},
}
LUONG = {"type": "luong"}
HARD = {"type": "hard", "soft_mixing": 0.0}


def make(decoder=(), **settings):
    settings = {**BASE, "decoder": {**BASE["decoder"], **dict(decoder)}, **settings}
    return build_model(ModelConfig.model_validate(settings), "seq2seq", SIZES)


OPTIONS = {
    "clockwork": {"decoder": {"type": "clockwork_rnn", "periods": [1, 2]}, "tied_softmax": True},
    "luong": {"attention": LUONG, "decoder": {"input_feeding": True, "encoder_residual": True}},
    "memory": {"memory": {"type": "memory_network", "hops": 2}, "decoder": {"residual": True}},
    "monotonic": {"attention": {"type": "monotonic"}, "decoder": {"num_layers": 1}},
    "hard": {"attention": HARD, "bridge": "zeros"},
    "lstm variants": {
        "encoder": {"type": "lstm", "units": 5, "num_layers": 2, "coupled": True},
        "decoder": {"type": "lstm", "gates": ["forget"]},
        "bridge": "copy",
    },
    "copy": {
        "attention": None,
        "memory": {"type": "memory_network", "units": 3},
        "encoder": {"type": "lstm", "units": 5, "num_layers": 2},
        "decoder": {"type": "lstm"},
        "bridge": "copy",
    },
}


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_decodes_as_it_was_trained_and_is_saved(name, tmp_path):
    model = make(**OPTIONS[name])
    inputs = {"source": SOURCE, "previous": PREVIOUS}
    logits = model(inputs)
    wide = model({"source": np.pad(SOURCE, [(0, 0), (0, 2)]), "previous": np.pad(PREVIOUS, [(0, 0), (0, 2)])})
    np.testing.assert_allclose(logits, wide[:, :3], atol=1e-6)

    found = model.decode(SOURCE, DecodeConfig(beam_size=2, max_decoding_length=4, length_penalty=0.0))
    for row in range(len(SOURCE)):
        length, finished = int(found["lengths"][row, 0]), bool(found["finished"][row, 0])
        answer = [*np.asarray(found["sequences"])[row, 0, :length], *([3] if finished else [])]
        previous = np.array([[2, *answer[:-1]]], "int32")
        scored = model({"source": SOURCE[row : row + 1], "previous": previous})
        log_probs = np.asarray(keras.ops.log_softmax(scored))[0]
        expected = sum(log_probs[step, token] for step, token in enumerate(answer))
        np.testing.assert_allclose(found["log_probs"][row, 0], expected, rtol=1e-4)

    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(inputs), logits)


def test_copied_states_are_the_encoders():
    model = make(**OPTIONS["copy"])
    *_, states = model.encode(SOURCE)
    embedded = model.source_embedding(SOURCE)
    _, final = model.encoder(embedded, mask=SOURCE != 0)
    for ours, theirs in zip(states["cells"], final, strict=True):
        for one, other in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(one, other)
    assert model.bridges == []


def test_states_that_do_not_fit_cannot_be_copied():
    message = (
        r"Received bridge='copy' for an encoder whose layers end in states of the sizes \[\[5\]\], expected"
        r" those of the decoder, \[\[5\], \[5\]\]; make `layers` and `units` alike, or set bridge to 'dense'"
    )
    with pytest.raises(ValueError, match=message):
        make(bridge="copy")


def test_a_decoder_may_start_from_zeros():
    model = make(bridge="zeros")
    *_, states = model.encode(SOURCE)
    assert all((np.asarray(state) == 0).all() for cell in states["cells"] for state in cell)
    assert len(make().weights) - len(model.weights) == 4


def test_a_clock_is_not_bridged():
    model = make(**OPTIONS["clockwork"])
    assert [[bridge.units for bridge in bridges] for bridges in model.bridges] == [[5], [5]]
    *_, states = model.encode(SOURCE)
    assert all((np.asarray(clock) == 0).all() for _, clock in states["cells"])


def test_tied_embeddings_are_the_output_layer():
    model = make(tied_softmax=True)
    model.bias.assign(np.arange(7.0))
    outputs = np.random.default_rng(0).normal(size=(2, 3, 10)).astype("float32")
    embeddings, projection = model.target_embedding.get_weights()[0], model.projection.get_weights()[0]
    np.testing.assert_allclose(
        model.token_logits(outputs), outputs @ projection @ embeddings.T + np.arange(7), atol=1e-5
    )
    assert sum(weight.shape == (7, 6) for weight in model.trainable_weights) == 1


def test_without_teacher_forcing_the_decoder_reads_its_own_best_tokens():
    model = make(attention=LUONG, decoder={"input_feeding": True})
    model.draw_forced = lambda shape: tf.zeros(shape, "bool")
    free = model({"source": SOURCE, "previous": PREVIOUS}, training=True)
    model.draw_forced = None
    own = PREVIOUS.copy()
    for step in (1, 2):
        own[:, step] = np.argmax(model({"source": SOURCE, "previous": own})[:, step - 1], axis=-1)
    np.testing.assert_allclose(free, model({"source": SOURCE, "previous": own}), atol=1e-6)
    assert (own != PREVIOUS).any()


def test_fed_back_tokens_train_their_embeddings():
    model = make()
    model.draw_forced = lambda shape: tf.zeros(shape, "bool")
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model({"source": SOURCE, "previous": PREVIOUS}, training=True) ** 2)
    gradient = tf.convert_to_tensor(tape.gradient(loss, model.target_embedding.embeddings.value))
    read = set(np.flatnonzero(np.abs(gradient).sum(axis=1)))
    assert 2 in read
    assert len(read) > 1


def test_hard_attention_is_credited_with_the_losses_of_its_rows(monkeypatch):
    model = make(attention=HARD)
    given = {}

    def reinforce_loss(losses, log_probs, entropies, counts):
        given.update(losses=losses, log_probs=log_probs, entropies=entropies, counts=counts)
        return log_probs

    monkeypatch.setattr(model.decoder.attention.selection, "reinforce_loss", reinforce_loss)
    model.compile(
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="mean_with_sample_weight")
    )
    kernel = model.decoder.attention.query_projection.kernel.value
    with tf.GradientTape() as tape:
        outputs = model({"source": SOURCE, "previous": PREVIOUS}, training=True)
        logits, log_probs = outputs["logits"], outputs["log_probs"]
        loss = model.compute_loss(None, TARGETS, outputs, WEIGHTS, training=True)
    assert np.abs(tape.gradient(loss, kernel)).max() > 0
    each = keras.losses.sparse_categorical_crossentropy(TARGETS, logits, from_logits=True)
    np.testing.assert_allclose(given["losses"], np.sum(each * WEIGHTS, axis=1), rtol=1e-5)
    np.testing.assert_allclose(given["log_probs"], np.sum(log_probs * WEIGHTS, axis=1), rtol=1e-5)
    np.testing.assert_array_equal(given["counts"], [3, 2, 1, 0])
    # The value stays the mean cross-entropy.
    np.testing.assert_allclose(loss, np.sum(each * WEIGHTS) / 6, rtol=1e-5)
    given.clear()
    model.compute_loss(
        None, TARGETS, model({"source": SOURCE, "previous": PREVIOUS}), WEIGHTS, training=False
    )
    assert not given


def test_soft_attention_needs_no_credit():
    straight = make(attention={"type": "hard", "estimator": "straight_through"})
    for model in (make(), straight):
        assert not isinstance(model({"source": SOURCE, "previous": PREVIOUS}, training=True), dict)


def test_samples_belong_to_their_text():
    model = make()
    config = DecodeConfig(beam_size=3, sample=True, max_decoding_length=5, seed=4)
    together = model.decode(SOURCE, config, n_best=3)
    for row in range(4):
        width = max(1, np.count_nonzero(SOURCE[row]))
        alone = model.decode(SOURCE[row : row + 1, :width], config, n_best=3)
        np.testing.assert_array_equal(alone["sequences"][0], together["sequences"][row])
    other = model.decode(SOURCE, config.model_copy(update={"seed": 5}), n_best=3)
    assert (np.asarray(other["sequences"]) != np.asarray(together["sequences"])).any()


def test_the_configuration_becomes_options_of_the_search():
    config = DecodeConfig(beam_size=6, n_best=2, max_decoding_length=9, prefix="a", length_penalty=0.3)
    assert config.search_options(n_best=4) == SearchOptions(
        beam_size=6, n_best=4, max_length=9, length_penalty=0.3
    )
    drawing = {"sample": True, "temperature": 0.5, "top_k": 3, "top_p": 0.9, "seed": 8}
    shared = {"min_length": 2, "no_repeat_ngram_size": 3, "coverage_penalty": 0.1, **drawing}
    found = DecodeConfig(length_normalization="average", length_penalty=0.0, **shared).search_options(1)
    assert found == SearchOptions(length_normalization="average", **shared)
    groups = {"num_beam_groups": 2, "diversity_penalty": 0.5}
    assert DecodeConfig(length_penalty=0.0, **groups).search_options(1) == SearchOptions(**groups)


def test_answers_begin_with_the_prefix_and_show_where_they_looked():
    found = make().decode(
        SOURCE, DecodeConfig(max_decoding_length=5), prefix=[4, 6], return_attention=True, n_best=2
    )
    assert found["sequences"].shape == (4, 2, 5)
    assert (np.asarray(found["sequences"])[..., :2] == [4, 6]).all()
    attention = np.asarray(found["attention"])
    assert attention.shape == (4, 2, 5, 4)
    np.testing.assert_allclose(attention[:3, :, :2].sum(axis=-1), 1, atol=1e-5)
    assert (attention[np.broadcast_to((SOURCE == 0)[:, None, None], attention.shape)] == 0).all()


@pytest.mark.parametrize(
    ("settings", "arguments"), [({}, {"return_attention": True}), ({"coverage_penalty": 0.1}, {})]
)
def test_weights_cannot_be_had_without_attention(settings, arguments):
    model = make(attention=None, decoder={"num_layers": 1})
    with pytest.raises(ValueError, match="for a model without attention, expected return_attention=False"):
        model.decode(SOURCE, DecodeConfig(**settings), **arguments)


def mixed(value: int) -> int:
    """The finalizer of MurmurHash3, by Austin Appleby."""
    value ^= value >> 16
    value = value * 0x85EBCA6B % 2**32
    value ^= value >> 13
    value = value * 0xC2B2AE35 % 2**32
    return value ^ value >> 16


def test_seeds_are_hashes_of_the_tokens():
    expected = [
        mixed(
            (sum(mixed(token + mixed(i + 1) & 0xFFFFFFFF) for i, token in enumerate(row) if token) + 9)
            % 2**32
        )
        >> 1
        for row in SOURCE.tolist()
    ]
    np.testing.assert_array_equal(row_seeds(SOURCE, 9), expected)
    np.testing.assert_array_equal(tf.function(row_seeds)(np.pad(SOURCE, [(0, 0), (0, 3)]), 9), expected)
    assert len({*expected, *np.asarray(row_seeds(SOURCE[:, ::-1], 9))[:1]}) == 5
