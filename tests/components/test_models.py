import keras
import numpy as np
import pytest

from components.models import encoders
from components.models.build import build_model
from components.models.config import EmbeddingsConfig, ModelConfig, readout_problem
from components.models.decode import DecodeConfig
from components.models.pooling import pool
from components.train.config import TrainConfig
from components.train.loop import compile_model

RECURRENT = ["simple_rnn", "gru", "lstm"]
# Settings that make each small; the rest of the registry follows from the union.
SMALL = {"text_cnn": {"filters": 5, "kernel_sizes": [2, 3]}, "clockwork_rnn": {"units": 5, "periods": [1, 3]}}
ENCODERS = sorted(encoders.ENCODERS.types)
SIZES = {"text": 11, "label": 3, "source": 11, "target": 7}


def config(encoder="gru", decoder=None, attention=True, **encoder_settings):
    small = SMALL.get(encoder, {"units": 5})
    settings = {"embedding_size": 6, "encoder": {"type": encoder, **small, **encoder_settings}}
    if decoder:
        settings["decoder"] = {"type": decoder, "units": 4, "num_layers": 2}
        settings["attention"] = {"type": "bahdanau"} if attention else None
    return ModelConfig.model_validate(settings)


def tokens(rows, width):
    padded = np.zeros((len(rows), width), "int32")
    for index, row in enumerate(rows):
        padded[index, : len(row)] = row
    return padded


TEXTS = [[4, 5, 6, 7], [8, 9], [10], []]


@pytest.mark.parametrize("pooling", ["last", "mean", "max", "attention"])
@pytest.mark.parametrize(
    "settings",
    [
        *({"encoder": encoder} for encoder in ENCODERS),
        {"bidirectional": True, "num_layers": 2, "residual": True},
        {"encoder": "lstm", "bidirectional": True, "num_layers": 2, "residual": True, "coupled": True},
        {"encoder": "tfidf", "num_layers": 0, "ngrams": 2, "hash_bins": 50},
    ],
    ids=str,
)
def test_padding_does_not_change_a_classifier(pooling, settings):
    model = build_model(config(**settings).model_copy(update={"pooling": pooling}), "classification", SIZES)
    narrow, wide = model(tokens(TEXTS, 4)), model(tokens(TEXTS, 9))
    np.testing.assert_allclose(narrow, wide, atol=1e-6)
    alone = np.concatenate([model(tokens([text], max(len(text), 1))) for text in TEXTS])
    np.testing.assert_allclose(narrow, alone, atol=1e-6)
    assert np.all(np.isfinite(narrow))
    assert model(np.zeros((0, 4), "int32")).shape == (0, SIZES["label"])


@pytest.mark.parametrize("attention", [True, False])
@pytest.mark.parametrize(
    ("encoder", "decoder", "settings"),
    [
        *((kind, kind, {"bidirectional": True}) for kind in RECURRENT),
        *((kind, "gru", {}) for kind in ENCODERS if kind not in RECURRENT),
    ],
)
def test_padding_does_not_change_a_seq2seq_model(encoder, decoder, settings, attention):
    model = build_model(config(encoder, decoder, attention, **settings), "seq2seq", SIZES)
    previous = np.array([[2, 4, 5]] * 4, "int32")
    narrow = model({"source": tokens(TEXTS, 4), "previous": previous})
    wide = model({"source": tokens(TEXTS, 7), "previous": np.pad(previous, [(0, 0), (0, 2)])})
    assert narrow.shape == (4, 3, 7)
    np.testing.assert_allclose(narrow, wide[:, :3], atol=1e-6)


@pytest.mark.parametrize(
    ("encoder", "decoder"),
    [*((kind, kind) for kind in RECURRENT), *((kind, "gru") for kind in ENCODERS if kind not in RECURRENT)],
)
def test_decoding_continues_as_teacher_forcing_says(encoder, decoder):
    """The score of the greedy answer is what the teacher-forced model gives to that answer."""
    model = build_model(config(encoder, decoder), "seq2seq", SIZES)
    source = tokens(TEXTS, 4)
    found = model.decode(source, DecodeConfig(beam_size=1, max_decoding_length=6, length_penalty=0.0))
    sequences, lengths = np.asarray(found["sequences"])[:, 0], np.asarray(found["lengths"])[:, 0]
    finished = np.asarray(found["finished"])[:, 0]
    for row, (sequence, length) in enumerate(zip(sequences, lengths, strict=True)):
        answer = [*sequence[:length], *([3] if finished[row] else [])]
        previous = np.array([[2, *answer[:-1]]], "int32")
        logits = model({"source": source[row : row + 1], "previous": previous})
        log_probabilities = np.asarray(keras.ops.log_softmax(logits))[0]
        expected = sum(log_probabilities[step, token] for step, token in enumerate(answer))
        np.testing.assert_allclose(np.asarray(found["log_probs"])[row, 0], expected, rtol=1e-4)


@pytest.mark.parametrize(("task", "decoder"), [("classification", None), ("seq2seq", "lstm")])
@pytest.mark.parametrize("encoder", ENCODERS)
def test_a_model_is_saved_and_loaded_whole(tmp_path, encoder, task, decoder):
    model = build_model(config(encoder, decoder=decoder), task, SIZES)
    inputs = tokens(TEXTS, 4)
    if task == "seq2seq":
        inputs = {"source": inputs, "previous": np.array([[2, 4]] * 4, "int32")}
    expected = model(inputs)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(inputs), expected)
    assert len(loaded.weights) == len(model.weights)


@pytest.mark.parametrize("task", ["classification", "seq2seq"])
def test_padding_does_not_change_loss_or_gradient(task):
    model = build_model(config(decoder="gru" if task == "seq2seq" else None), task, SIZES)
    train = TrainConfig.model_validate(
        {"optimizer": {"type": "sgd", "learning_rate": 1.0}, "global_clipnorm": None}
    )

    def step(extra_rows, extra_columns):
        """Returns loss and weights after one step of plain gradient descent from the same start."""
        model.set_weights(start)
        compile_model(model, train, steps=1)
        inputs = np.pad(tokens(TEXTS[:3], 4), [(0, extra_rows), (0, extra_columns)])
        if task == "classification":
            targets, weights = np.array([0, 1, 2]), np.ones(3, "float32")
            targets, weights = np.pad(targets, (0, extra_rows)), np.pad(weights, (0, extra_rows))
        else:
            targets = np.pad(tokens([[4, 5, 3], [6, 3], [3]], 3), [(0, extra_rows), (0, extra_columns)])
            weights = (targets != 0).astype("float32")
            previous = np.pad(tokens([[2, 4, 5], [2, 6], [2]], 3), [(0, extra_rows), (0, extra_columns)])
            inputs = {"source": inputs, "previous": previous}
        loss = model.train_on_batch(inputs, targets, weights)[0]
        return loss, model.get_weights()

    start = model.get_weights()
    loss, weights = step(0, 0)
    for extra in [(2, 0), (0, 3), (2, 3)]:
        padded_loss, padded_weights = step(*extra)
        np.testing.assert_allclose(padded_loss, loss, rtol=1e-6)
        for padded, plain in zip(padded_weights, weights, strict=True):
            np.testing.assert_allclose(padded, plain, atol=1e-6)
    assert any(np.abs(after - before).max() > 1e-3 for after, before in zip(weights, start, strict=True))


def test_a_batch_of_padding_has_no_loss_and_no_gradient():
    model = build_model(config(decoder="gru"), "seq2seq", SIZES)
    compile_model(
        model, TrainConfig.model_validate({"optimizer": {"type": "sgd", "learning_rate": 1.0}}), steps=1
    )
    before = model.get_weights()
    nothing = np.zeros((2, 3), "int32")
    loss = model.train_on_batch({"source": nothing, "previous": nothing}, nothing, np.zeros((2, 3)))[0]
    assert loss == 0
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(new, old)


def test_pooling_by_hand():
    outputs = np.array([[[1.0, -5.0], [3.0, -1.0], [9.0, 9.0]], [[7.0, 7.0], [7.0, 7.0], [7.0, 7.0]]])
    mask = np.array([[True, True, False], [False, False, False]])
    np.testing.assert_allclose(pool(outputs, None, mask, "mean"), [[2, -3], [0, 0]])
    np.testing.assert_allclose(pool(outputs, None, mask, "max"), [[3, -1], [0, 0]])
    np.testing.assert_allclose(pool(outputs, [["h", "c"], [outputs[:, 0], "c"]], mask, "last"), outputs[:, 0])


def test_a_seq2seq_model_without_a_decoder_is_refused():
    with pytest.raises(ValueError, match="needs `decoder` in its config"):
        build_model(config(), "seq2seq", SIZES)


def test_gated_layers_take_their_activations():
    for kind in ("gru", "lstm"):
        settings = {"activation": "softsign", "recurrent_activation": "hard_sigmoid"}
        written = config(kind, decoder=kind, **settings)
        assert written.encoder.layer().cell.activation is keras.activations.softsign
        assert written.encoder.layer().cell.recurrent_activation is keras.activations.hard_sigmoid
        decoder = written.decoder.model_copy(update=settings)
        assert decoder.cell().activation is keras.activations.softsign
        assert decoder.cell().recurrent_activation is keras.activations.hard_sigmoid


def test_embeddings_can_stay_as_drawn():
    for trained in (True, False):
        fixed = config().model_copy(update={"embeddings": EmbeddingsConfig(trainable=trained)})
        model = build_model(fixed, "classification", SIZES)
        assert any("embedding" in weight.path for weight in model.trainable_weights) is trained


def test_a_closed_form_readout_answers_with_probabilities():
    """Its outputs add up to 1 and may be negative; the logits are the logarithms of what is left at 0."""
    fixed = ModelConfig.model_validate(
        {"encoder": {"type": "echo_state_rnn", "units": 5}, "readout": {"type": "ridge"}}
    )
    model = build_model(fixed, "classification", SIZES)
    model.readout.set_weights([np.zeros((5, 3)), np.array([0.75, 0.45, -0.2])])
    probabilities = np.asarray(keras.ops.softmax(model(tokens(TEXTS, 4))))
    np.testing.assert_allclose(probabilities, [[0.625, 0.375, 0]] * 4, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "task", "problem"),
    [
        ({}, "classification", None),
        ({"readout": None, "encoder": {"type": "gru"}}, "classification", None),
        ({"encoder": {"type": "gru"}}, "classification", "for encoder gru, which would stay untrained"),
        ({"dropout": 0.1}, "classification", "with dropout, which acts in training by gradient only"),
        ({"pooling": "attention"}, "classification", "with attention pooling, which would stay untrained"),
        ({}, "seq2seq", "its decoder is trained by gradient"),
    ],
)
def test_a_closed_form_needs_a_model_that_is_fixed(change, task, problem):
    base = {"encoder": {"type": "echo_state_rnn"}, "readout": {"type": "ridge"}}
    found = readout_problem(ModelConfig.model_validate(base | change), task)
    assert problem in found if problem else found is None
