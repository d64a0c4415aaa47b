"""What a training does to its process: nothing, and what it computes in."""

import random
import threading

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework.config import (
    disable_op_determinism,
    enable_op_determinism,
    is_op_determinism_enabled,
)
from tiny_training import MODEL, make_pairs, make_raw, make_texts, monitored, train

from components.export.saved_model import export_saved_model, structure_problems
from components.models.build import build_model
from components.models.config import ModelConfig
from components.models.decode import DecodeConfig
from components.predictor import load_predictor
from components.train.scope import training_scope

SEQ2SEQ = ModelConfig.model_validate(
    {
        "embedding_size": 8,
        "dropout": 0.1,
        "encoder": {"type": "gru", "units": 8, "bidirectional": True},
        "attention": {"type": "bahdanau"},
        "decoder": {"type": "gru", "units": 8},
    }
)
MIXED = ["mixed_bfloat16", "mixed_float16"]


@pytest.fixture(scope="module")
def tokens(tmp_path_factory):
    return make_texts(tmp_path_factory.mktemp("texts"))


def draws():
    """What everything that draws in the process draws next."""
    return [
        random.random(),
        np.random.random(),
        float(keras.random.uniform(())),
        float(tf.random.uniform(())),
        keras.initializers.RandomUniform()((3,)).numpy().tolist(),
    ]


def settings():
    return (
        keras.config.dtype_policy().name,
        is_op_determinism_enabled(),
        tf.config.experimental.tensor_float_32_execution_enabled(),
    )


@pytest.fixture(params=["deterministic", "not deterministic"])
def process(request):
    """A process that has settings of its own."""
    before = settings()
    if request.param == "deterministic":
        enable_op_determinism()
    else:
        disable_op_determinism()
    keras.config.set_dtype_policy("mixed_bfloat16")
    tf.config.experimental.enable_tensor_float_32_execution(False)
    yield settings()
    keras.config.set_dtype_policy(before[0])
    (enable_op_determinism if before[1] else disable_op_determinism)()
    tf.config.experimental.enable_tensor_float_32_execution(before[2])


@pytest.mark.parametrize("fails", [False, True])
def test_the_process_is_as_it_was(process, fails):
    keras.utils.set_random_seed(5)
    first, expected = draws(), draws()
    keras.utils.set_random_seed(5)
    assert draws() == first
    try:
        with training_scope(9, "mixed_float16", deterministic=False):
            assert settings() == ("mixed_float16", False, True)
            draws()
            if fails:
                raise ValueError
    except ValueError:
        assert fails
    assert settings() == process
    assert draws() == expected


def test_by_default_a_scope_is_deterministic_in_float32(process):
    with training_scope(9):
        assert settings() == ("float32", True, True)
        inside = draws()
        with training_scope(8, "mixed_float16", deterministic=False):
            assert settings() == ("mixed_float16", False, True)
        # Within another scope, what is not given is as around it.
        with training_scope(9):
            assert settings() == ("float32", True, True)
            assert draws() == inside
        assert draws() != inside
    keras.utils.set_random_seed(9)
    assert random.random() == inside[0]


def test_a_process_that_has_never_been_seeded():
    """TensorFlow has no generator of its own then."""
    from tensorflow.python.eager import context

    eager = context.context()
    before = eager._seed, getattr(eager, "_rng", None)
    eager._seed = None
    try:
        with training_scope(9):
            assert eager._seed == 9
        assert eager._seed is None
    finally:
        eager._seed, eager._rng = before


@pytest.fixture(scope="module")
def alone(tokens, tmp_path_factory):
    """Two trainings that differ in seed and precision, each the first one of its process: as bytes."""
    root = tmp_path_factory.mktemp("alone")
    return [fit(tokens, root / str(number), number) for number in range(2)]


def fit(tokens, root, number):
    chosen = [{"seed": 3}, {"seed": 4, "precision": "mixed_bfloat16"}][number]
    return train(tokens, root, epochs=2, **chosen).read("model.keras")


def test_trainings_in_one_process_do_not_mix(tokens, alone, tmp_path):
    assert alone[0] != alone[1]
    assert [fit(tokens, tmp_path / f"again{number}", number) for number in (1, 0)] == alone[::-1]
    found = {}
    threads = [
        threading.Thread(target=lambda n=n: found.update({n: fit(tokens, tmp_path / f"thread{n}", n)}))
        for n in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert [found[number] for number in range(2)] == alone


def test_the_stage_leaves_the_process_as_it_was(process, tokens, tmp_path):
    keras.utils.set_random_seed(5)
    draws()
    expected = draws()
    keras.utils.set_random_seed(5)
    draws()
    train(tokens, tmp_path, epochs=1)
    assert settings() == process
    # Beam draws from Python's generator, which decides the last one, too.
    assert draws()[1:4] == expected[1:4]


@pytest.mark.parametrize("precision", MIXED)
def test_a_classifier_in_mixed_precision(tokens, tmp_path, precision):
    raw = make_raw(tmp_path, "classification")
    chosen = {"epochs": 3, "precision": precision, "monitor": "accuracy", "learning_rate_schedule": "linear"}
    trained = monitored(tokens, raw, tmp_path, MODEL, **chosen)
    again = monitored(tokens, raw, tmp_path, MODEL, **chosen)
    assert again.read("model.keras") == trained.read("model.keras")
    losses = [epoch["loss"] for epoch in trained.history()["epochs"]]
    assert losses[-1] < losses[0]
    check_served(trained, tokens, "classification", precision, {"probabilities", "score"})
    plain = train(tokens, tmp_path, model=MODEL, epochs=3)
    assert plain.summary["weights"] != trained.summary["weights"]


@pytest.mark.parametrize(
    "precision", [pytest.param("mixed_bfloat16", marks=pytest.mark.slow), "mixed_float16"]
)
def test_a_seq2seq_model_in_mixed_precision(tmp_path, precision):
    tokens, raw = make_pairs(tmp_path), make_raw(tmp_path, "seq2seq")
    trained = monitored(
        tokens,
        raw,
        tmp_path,
        SEQ2SEQ,
        "seq2seq",
        decode=DecodeConfig(max_decoding_length=3),
        epochs=3,
        batch_size=8,
        precision=precision,
        monitor="character_error_rate",
        teacher_forcing_ratio=0.8,
    )
    losses = [epoch["loss"] for epoch in trained.history()["epochs"]]
    assert losses[-1] < losses[0]
    check_served(trained, tokens, "seq2seq", precision, {"score"})


@pytest.mark.parametrize("precision", MIXED)
def test_tied_logits_are_float32_in_mixed_precision(precision):
    config = ModelConfig.model_validate({**SEQ2SEQ.model_dump(), "tied_softmax": True})
    with training_scope(3, precision):
        model = build_model(config, "seq2seq", {"source": 10, "target": 10})
    tokens = np.array([[4, 5, 6]], "int32")
    logits = model({"source": tokens, "previous": tokens})
    assert logits.dtype == tf.float32
    assert np.isfinite(logits).all()


def check_served(trained, tokens, task, precision, numbers):
    """Weights and answers are float32, also those of every signature of the SavedModel."""
    predictor = load_predictor(tokens, trained.model_file(), task, DecodeConfig(max_decoding_length=3))
    assert predictor.model.dtype_policy.name == precision
    assert {weight.dtype for weight in predictor.model.weights if "seed" not in weight.path} == {"float32"}
    texts = tf.constant(["abc", "", "fedcba"])
    answered = predictor(texts)
    place = str(trained.model_file().parent / "saved")
    variables = export_saved_model(predictor.signatures, list(predictor.tokenizers.values()), place)
    assert structure_problems(place, variables, []) == []
    signatures = tf.saved_model.load(place).signatures
    assert signatures.keys() == predictor.signatures.keys()
    for signature in signatures.values():
        floating = {
            output.dtype for output in signature.structured_outputs.values() if output.dtype.is_floating
        }
        assert floating == {tf.float32}
    served = signatures["serving_default"](text=texts)
    np.testing.assert_array_equal(served["prediction"], answered["prediction"])
    for name in numbers:
        assert answered[name].dtype == tf.float32
        assert np.isfinite(answered[name]).all()
        np.testing.assert_allclose(served[name], answered[name], rtol=1e-2)
