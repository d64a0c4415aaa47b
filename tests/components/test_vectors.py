"""Word vectors as embeddings, in a training and in a warm start."""

import keras
import numpy as np
import pytest
import tiny_training
from made_artifacts import make_tokens
from stage_runner import run_stage
from tiny_training import TrainOne

from components import files
from components.artifacts.trained_model import TrainedModel
from components.errors import UserError
from components.models.build import build_model
from components.models.config import ModelConfig
from components.models.vector_files import VectorFormat
from components.reports import Warned, listening
from components.tokenize.config import Words
from components.tokenize.tokenizers import SPECIAL_TOKENS, WordTokenizer
from components.train.config import TrainConfig
from components.train.coverage import told
from components.train.vectors import find_vectors, put_vectors, with_width
from components.train.warm_start import InitialModel
from components.user_file import UserFile

WORDS = ["good", "Bad", "Paris", "film", "rare"]
FILE = """\
paris 1 1 1
good 2 2 2
bad 3 3 3
good 9 9 9
Paris 4 4 4
<pad> 7 7 7
other 5 5 5
"""


def file_of(folder, content=FILE, name="vectors.txt"):
    (folder / name).write_text(content, encoding="utf-8")
    return UserFile(name, files.resolve(folder / name))


def tokens_of(folder, words=WORDS, task="classification"):
    config = Words(type="words")
    tokenizer = WordTokenizer(config, [*SPECIAL_TOKENS, *words])
    texts = [[4, 4, 6], [5, 7], [8, 1]]  # good good Paris; Bad film; rare and an unknown one
    if task == "seq2seq":
        rows = [(text, text) for text in texts]
        return make_tokens(
            folder,
            task,
            {"train": [rows], "validation": [rows]},
            dict.fromkeys(("source", "target"), tokenizer),
        )
    rows = [(text, number % 2) for number, text in enumerate(texts)]
    return make_tokens(
        folder, task, {"train": [rows], "validation": [rows]}, {"text": tokenizer}, ["no", "yes"]
    )


def network(**settings):
    settings = {"embeddings": {"file": "vectors.txt"}, **settings}
    return ModelConfig.model_validate({"encoder": {"type": "gru", "units": 3}, **settings})


def train(tokens, folder, file, model=None, initial=None, key="key", **settings):
    config = TrainConfig.model_validate({"epochs": 1, "batch_size": 8, **settings})
    trial = (config, model or network(), "classification", 3)
    given = {"tokenize": tokens.reference}
    if initial:
        given |= {"initial_tokens": initial.tokens, "initial_model": initial.trained}
    return run_stage(
        lambda work: TrainOne(*trial, work, None, initial, 0, 0, file), TrainedModel, given, folder, key
    )


def test_a_token_comes_before_its_case_folded_form_and_the_first_of_two_lines_counts(tmp_path):
    file = file_of(tmp_path)
    found = find_vectors(file, VectorFormat.of(file), ["", *WORDS])
    assert {number: row[0] for number, row in found.rows.items()} == {1: 2, 2: 3, 3: 4}
    assert (found.read, found.skipped) == (7, 0)
    assert found.exact.keys() == {1, 3}


@pytest.mark.parametrize("task", ["classification", "seq2seq"])
def test_rows_without_vectors_are_drawn_as_before_with_a_scale_that_matches(tmp_path, task):
    tokens, file = tokens_of(tmp_path / "tokens", task=task), file_of(tmp_path)
    decoder = {"decoder": {"type": "gru", "units": 3}} if task == "seq2seq" else {}
    model = with_width(network(**decoder), file)
    sizes = dict.fromkeys(("text", "source", "target"), 9) | {"label": 2}
    keras.utils.set_random_seed(1)
    built = build_model(model, task, sizes)
    layer = built.embedding if task == "classification" else built.source_embedding
    drawn = np.array(layer.embeddings)
    coverage = put_vectors(built, task, tokens, file)
    values = np.array(layer.embeddings)
    np.testing.assert_array_equal(values[[4, 5, 6]], np.array([[2], [3], [4]]) * np.ones((1, 3)))
    others = [0, 1, 2, 3, 7, 8]
    scale = np.std([2, 3, 4]) / drawn.std()
    np.testing.assert_allclose(values[others], drawn[others] * scale, rtol=1e-5)
    assert coverage == {
        "tokens": 5,
        "covered": 3,
        "folded": 1,
        "text": round(4 / 7, 6),
        "dimension": 3,
        "read": 7,
        "skipped": 0,
    }
    assert told(coverage) == (
        "vectors for 3 of 5 tokens (60.0% of them, 57.1% of the text; 1 by their case-folded form)"
    )


def test_the_vectors_travel_inside_the_model_and_no_place_does(tmp_path):
    tokens, file = tokens_of(tmp_path / "tokens"), file_of(tmp_path)
    fixed = network(embeddings={"file": "vectors.txt", "trainable": False})
    artifact = train(tokens, tmp_path, file, fixed)
    (tmp_path / "vectors.txt").rename(tmp_path / "elsewhere.txt")
    model = keras.models.load_model(artifact.model_file())
    np.testing.assert_array_equal(np.array(model.embedding.embeddings)[6], [4, 4, 4])
    assert not model.embedding.trainable
    config = artifact.model_config()["config"]
    assert config["embedding_size"] == 3
    assert config["embeddings"] == {"file": None, "trainable": False}
    assert artifact.summary["vectors"]["covered"] == 3
    again = train(tokens, tmp_path, file_of(tmp_path, name="renamed.txt"), fixed, key="again")
    assert again.summary["weights"] == artifact.summary["weights"]
    trained = train(tokens, tmp_path, file_of(tmp_path), key="trained")
    moved = keras.models.load_model(trained.model_file()).embedding.embeddings
    assert not np.array_equal(np.array(moved)[6], [4, 4, 4])


def test_a_readout_in_closed_form_reads_vectors_too(tmp_path):
    tokens, file = tokens_of(tmp_path / "tokens"), file_of(tmp_path)
    readout = {"type": "ridge", "alphas": [1.0]}
    model = network(encoder={"type": "echo_state_rnn", "units": 4}, readout=readout)
    artifact = train(tokens, tmp_path, file, model)
    fitted = keras.models.load_model(artifact.model_file())
    np.testing.assert_array_equal(np.array(fitted.embedding.embeddings)[4], [2, 2, 2])
    assert artifact.summary["vectors"]["folded"] == 1


def test_new_tokens_of_a_warm_start_get_vectors_and_the_others_stay_trained(tmp_path):
    file = file_of(tmp_path)
    tokens = tokens_of(tmp_path / "tokens")
    earlier = train(tokens, tmp_path, file)
    more = tokens_of(tmp_path / "more", [*WORDS, "other", "unheard"])
    initial = InitialModel(tokens.reference, earlier.reference)
    frozen = network(embeddings={"file": "vectors.txt", "trainable": False})
    warm = train(more, tmp_path, file, frozen, initial, "warm")
    ours, theirs = (
        np.array(keras.models.load_model(each.model_file()).embedding.embeddings) for each in (warm, earlier)
    )
    np.testing.assert_array_equal(ours[:9], theirs)
    np.testing.assert_array_equal(ours[9], [5, 5, 5])
    assert warm.summary["init"]["added"] == {"text": 2, "label": 0}
    without = network(embeddings={}, embedding_size=3)
    assert train(more, tmp_path, None, without, initial, "without").summary["init"]["added"]["text"] == 2
    wider = file_of(tmp_path, "other 1 2 3 4\ngood 1 2 3 5\n", "wider.txt")
    with pytest.raises(Exception, match=r"earlier model are 3 wide, the vectors of .* 4; expected the same"):
        train(more, tmp_path, wider, frozen, initial, "wider")


def test_embeddings_of_another_width_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"embedding_size: received 4, but the vectors of vectors.txt have 3"):
        with_width(network(embedding_size=4), file_of(tmp_path))
    assert with_width(network(embedding_size=3), file_of(tmp_path)).width == 3
    with pytest.raises(ValueError, match="Received no `embedding_size`"):
        _ = network().width


def put(folder, content):
    file = file_of(folder, content)
    model = build_model(with_width(network(), file), "classification", {"text": 9, "label": 2})
    events = []
    with listening(events.append):
        coverage = put_vectors(model, "classification", tokens_of(folder / "tokens"), file)
    return coverage, [event.message for event in events if isinstance(event, Warned)]


def test_a_few_damaged_lines_are_counted_and_skipped(tmp_path):
    lines = [f"word{number} 1 2 3" for number in range(300)]
    coverage, warnings = put(tmp_path, "\n".join([*lines, "good 1 x 3", "Bad 2", "film 1 2 4", "rare 1 2 5"]))
    assert (coverage["covered"], coverage["skipped"], coverage["read"]) == (2, 2, 304)
    assert warnings == ["2 of 304 lines of vectors.txt are damaged, and skipped"]


def test_many_damaged_lines_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"2 of 4 lines of vectors.txt are damaged, expected a token and 2"):
        put(tmp_path, "good 1 2\nfilm 1 2\nrare 1\nBad 2\n")


def test_vectors_of_no_token_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"none of the 2 vectors of vectors.txt is of a token of the voc"):
        put(tmp_path, "bon 1 2\nmauvais 1 2\n")


def test_a_small_coverage_is_a_warning(tmp_path):
    file = file_of(tmp_path, "a 1 2\nb 3 4\n")
    random = np.random.default_rng(0)
    rows = [(random.integers(4, 10, 5), number % 2) for number in range(4)]
    letters = tiny_training.CharacterTokenizer(
        tiny_training.Characters(type="characters"), [*SPECIAL_TOKENS, *"acdefghijklm"]
    )
    tokens = make_tokens(
        tmp_path / "tokens", "classification", {"train": [rows]}, {"text": letters}, ["no", "yes"]
    )
    model = build_model(with_width(network(), file), "classification", {"text": 16, "label": 2})
    events = []
    with listening(events.append):
        put_vectors(model, "classification", tokens, file)
    (warning,) = (event.message for event in events)
    assert warning.startswith("vectors for 1 of 12 tokens (8.3% of them, ")
    assert warning.endswith("most stay as they were drawn. Vectors of words need a tokenizer of words")
