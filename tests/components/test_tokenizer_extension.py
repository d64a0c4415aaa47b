"""Tokenizers that extend those of an earlier model: every old id stays, what was unknown gets new ones."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from made_artifacts import make_examples
from pydantic import TypeAdapter
from stage_runner import run_stage
from test_tokenizers import CONFIGS, CORPUS, ODD, learn, tokens, with_

from components.artifacts.tokens import Tokens
from components.errors import UserError
from components.reports import Warned, listening
from components.tokenize.config import TokenizeConfig
from components.tokenize.tokenizers import SPECIAL_TOKENS, UNKNOWN, load_tokenizer
from components.tokenize.transform import Tokenize
from components.work import Work

OLD = CORPUS[:2]
NEW = [
    "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich 中文 中文字符",
    "naïve café <unk> <s>\nmore\ttabs \x01 \x11 👨‍👩‍👧",
    "über über dogs",
]


def extend(name, texts=NEW, old=OLD, **changes):
    """Returns a tokenizer that was learnt from old texts, and its extension by new ones."""
    earlier = learn(CONFIGS[name], old)
    config = with_(name, **{"vocabulary_size": 1000, **changes})
    kind, counts = config.tokenizer(), Counter()
    for text in texts:
        counts.update(kind.count(tf.constant([text]), config))
    ranked = sorted(counts.items(), key=lambda pair: kind.rank(*pair))[: kind.most_units(config)]
    return earlier, *earlier.extend(config, ranked)


@pytest.fixture(scope="module")
def pairs():
    return {name: extend(name)[:2] for name in CONFIGS}


@pytest.fixture(params=CONFIGS)
def pair(request, pairs):
    return pairs[request.param]


def assert_only_unknown_changed(earlier, extended, texts):
    """Where a token was known it is there again, in the same order, and nothing else of the earlier ones is.

    Two types lengthen what was unknown: sentencepiece, which makes one of unknown characters in a row, and
    wordpiece, for which a word with an unknown character is unknown as a whole.
    """
    for text in texts:
        old, new = (each.tokenize(tf.constant([text]), cut=False)[0].numpy() for each in (earlier, extended))
        if UNKNOWN not in old:
            np.testing.assert_array_equal(new, old)
        kept = new[(new >= len(SPECIAL_TOKENS)) & (new < earlier.vocabulary_size)]
        known = old[old != UNKNOWN]
        if earlier.config.type == "wordpiece":
            remaining = iter(kept)
            assert all(token in remaining for token in known)
        elif earlier.config.type == "sentencepiece":
            np.testing.assert_array_equal(kept, known)
        else:
            np.testing.assert_array_equal(new[old != UNKNOWN], known)
            assert new.shape == old.shape


def test_old_tokens_keep_their_ids(pair):
    earlier, extended = pair
    assert extended.pieces[: earlier.vocabulary_size] == earlier.pieces
    assert extended.pieces[:4] == SPECIAL_TOKENS
    assert len(set(extended.pieces)) == extended.vocabulary_size > earlier.vocabulary_size


def test_ids_change_only_where_they_were_unknown(pair):
    assert_only_unknown_changed(
        *pair, [*OLD, *NEW, *CORPUS, *(text.decode(errors="replace") for text in ODD)]
    )
    unknown = [
        sum(int((each.tokenize(tf.constant([text]))[0] == UNKNOWN).numpy().sum()) for text in NEW)
        for each in pair
    ]
    assert unknown[0] > 5 * unknown[1]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from([*"abdeglouvxyzTH .,!;\n\t中文é😀ß", "dog", " the ", "über"]), max_size=30))
def test_ids_of_any_text_change_only_where_they_were_unknown(pairs, parts):
    for earlier, extended in pairs.values():
        assert_only_unknown_changed(earlier, extended, ["".join(parts)])


def test_new_texts_are_read_whole(pairs):
    """All that was learnt from comes back, but what a type never knows."""
    for name in ("characters", "unigram", "bpe"):
        extended = pairs[name][1]
        texts = [text.replace("\x00", "") for text in NEW]
        back = extended.detokenize(extended.tokenize(tf.constant(texts))).numpy()
        assert [text.decode() for text in back] == texts, name
    for name in ("words", "whitespace", "wordpiece"):
        extended = pairs[name][1]
        assert extended.detokenize(extended.tokenize(tf.constant([NEW[0]]))).numpy()[0].decode() == NEW[0]


def test_counted_tokens_come_by_count_and_only_if_they_are_frequent():
    earlier, extended, left_out = extend("words", ["b a b a b c <unk> the", "a z"], min_count=2)
    assert extended.pieces[earlier.vocabulary_size :] == ("a", "b")
    assert left_out == 0


def test_characters_of_subwords_come_by_count():
    _, extended, _ = extend("wordpiece", ["ßä ä!? ä"], ["b"])
    assert extended.pieces[-6:] == ("ä", "##ä", "!", "?", "ß", "##ß")
    _, extended, _ = extend("bpe", ["ßä ä ä"], ["b"])
    assert extended.pieces[-2:] == ("ä", "ß")


@pytest.mark.parametrize("name", CONFIGS)
def test_nothing_new(name):
    earlier, extended, left_out = extend(name, OLD)
    assert (extended.pieces, left_out) == (earlier.pieces, 0)
    assert_only_unknown_changed(earlier, extended, [*OLD, *NEW])


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("room", [-3, 0, 2])
def test_vocabulary_size_bounds_what_is_added_and_removes_nothing(name, room):
    earlier, whole, _ = extend(name)
    size = earlier.vocabulary_size + room
    _, extended, left_out = extend(name, vocabulary_size=size)
    added = max(room, 0)
    assert extended.pieces == whole.pieces[: earlier.vocabulary_size + added]
    assert left_out > 0
    if earlier.config.type in ("wordpiece", "sentencepiece"):  # which count all characters
        assert left_out == whole.vocabulary_size - earlier.vocabulary_size - added


@pytest.mark.parametrize("name", CONFIGS)
def test_an_extension_can_be_extended(name):
    """What had no room the first time is added the second time, also the other form of a character."""
    earlier, whole, _ = extend(name)
    _, little, _ = extend(name, vocabulary_size=earlier.vocabulary_size + 3)
    kind, counts = little.config.tokenizer(), Counter()
    for text in NEW:
        counts.update(kind.count(tf.constant([text]), little.config))
    ranked = sorted(counts.items(), key=lambda pair: kind.rank(*pair))
    again, left_out = little.extend(with_(name, vocabulary_size=1000), ranked)
    assert again.pieces[: little.vocabulary_size] == little.pieces
    assert (set(again.pieces), left_out) == (set(whole.pieces), 0)


def test_save_and_load(pair, tmp_path):
    _, extended = pair
    extended.save(str(tmp_path))
    loaded = load_tokenizer(str(tmp_path))
    assert loaded.pieces == extended.pieces
    texts = tf.constant([*ODD, *NEW])
    assert loaded.tokenize(texts).to_list() == extended.tokenize(texts).to_list()


def test_a_vocabulary_of_another_script():
    _, extended, _ = extend("wordpiece", ["中文字符", "文字"])
    assert tokens(extended, "字文 the") == ["字", "##文", "the"]


# The stage.

LABELLED = {"train": [[("good film", "pos"), ("bad film", "neg")]], "test": [[("good", "pos")]]}
MORE = {
    "train": [[("so so film", "neutral"), ("fine, so fine", "great"), ("film", "neg")]],
    "test": [[("good film", "pos"), ("so", "neutral"), ("fine", "unheard of")]],
}
PAIRS = {"train": [[("one two three", "1 2 3")]], "test": [[("one", "1")]]}
MORE_PAIRS = {"train": [[("four two été", "4 2 5")]], "test": [[("two four", "2 4")]]}


def run(root, task, examples, init=None, key=None, **fields):
    config = TypeAdapter(TokenizeConfig).validate_python(fields)
    inputs = {"ingest": make_examples(root, task, examples).reference}
    events = []
    with listening(events.append):
        made = run_stage(lambda work: Tokenize(config, task, work, init), Tokens, inputs, root, key)
    return made, [event.message for event in events if isinstance(event, Warned)]


def read(made, name, field):
    return [row for batch in made.batches(name, [field]) for row in batch[field].to_pylist()]


def test_the_stage_extends_tokens_and_labels(tmp_path):
    earlier, _ = run(tmp_path / "a", "classification", LABELLED, text={"type": "words"})
    # Under another root, and with another length, which does not matter.
    words = {"type": "words", "max_sequence_length": 9}
    made, warnings = run(tmp_path / "b", "classification", MORE, earlier.reference, text=words)
    assert earlier.pieces("text")[4:] == ["film", "bad", "good"]
    assert made.pieces("text") == [*earlier.pieces("text"), "so", "fine", ","]
    assert made.labels() == ["neg", "pos", "great", "neutral"]
    assert read(made, "tokens/train-00000.parquet", "label") == [3, 2, 0]
    assert read(made, "tokens/test-00000.parquet", "label") == [1, 3, -1]
    assert read(made, "tokens/test-00000.parquet", "text") == [[6, 4], [7], [8]]
    assert made.summary["added"] == {"text": 3, "label": 2}
    assert made.summary["vocabulary"] == {"text": 10}
    assert made.statistics()["fields"]["text"]["added_tokens"] == 3
    assert made.statistics()["added_labels"] == 2
    message = "test with a label that neither the train split nor the earlier model has: 1. None"
    assert [message in warning for warning in warnings] == [True]
    assert made.tokenizer_config("text").max_sequence_length == 9
    assert made.text_fields() == ["text"]


def test_without_an_earlier_model_nothing_is_added(tmp_path):
    made, _ = run(tmp_path, "classification", LABELLED, text={"type": "words"})
    assert "added" not in made.summary
    assert "added_labels" not in made.statistics()


@pytest.mark.parametrize("kind", ["wordpiece", "sentencepiece"])
def test_both_texts_of_a_pair_are_extended(tmp_path, kind):
    fields = {"source": {"type": kind, "vocabulary_size": 60}, "target": {"type": "characters"}}
    earlier, _ = run(tmp_path, "seq2seq", PAIRS, **fields)
    made, _ = run(tmp_path, "seq2seq", MORE_PAIRS, earlier.reference, **fields)
    for field in ("source", "target"):
        old = earlier.pieces(field)
        assert made.pieces(field)[: len(old)] == old
        assert list(made.tokenizer(field).pieces) == made.pieces(field)
        assert made.summary["added"][field] == len(made.pieces(field)) - len(old) > 0
        assert UNKNOWN not in [
            token for row in read(made, "tokens/test-00000.parquet", field) for token in row
        ]


def test_the_same_input_gives_the_same_files(tmp_path):
    fields = {"text": {"type": "sentencepiece", "vocabulary_size": 60}}
    earlier, _ = run(tmp_path, "classification", LABELLED, **fields)
    digests = [
        run(tmp_path, "classification", MORE, earlier.reference, **fields)[0].manifest.digests for _ in "ab"
    ]
    assert digests[0] == digests[1]


def test_no_room_is_told(tmp_path):
    earlier, _ = run(tmp_path, "classification", LABELLED, text={"type": "words"})
    full = {"type": "words", "vocabulary_size": 8}
    made, (warning, *_) = run(tmp_path, "classification", MORE, earlier.reference, text=full)
    assert made.summary["added"]["text"] == 1
    assert warning.startswith(
        "`tokenize.text.vocabulary_size` is 8, and the earlier model has 7 tokens for `text`, which are all"
    )
    assert "2 new ones of the train split are left out. Set it to 10 or more." in warning
    made, warnings = run(
        tmp_path, "classification", MORE, earlier.reference, text={**full, "vocabulary_size": 10}
    )
    assert made.summary["added"]["text"] == 3
    assert not any("left out" in warning for warning in warnings)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"type": "characters"}, "tokenize.text.type is characters, of the earlier model sentencepiece"),
        ({"normalize": "none"}, "tokenize.text.normalize is none, of the earlier model nfc"),
        ({"case_fold": True}, "tokenize.text.case_fold is True, of the earlier model False"),
        ({"model_type": "bpe"}, "tokenize.text.model_type is bpe, of the earlier model unigram"),
    ],
    ids=str,
)
def test_tokenizers_that_split_otherwise(tmp_path, changes, said):
    pieces = {"type": "sentencepiece", "vocabulary_size": 60}
    earlier, _ = run(tmp_path, "classification", LABELLED, text=pieces)
    other = {**pieces, **changes} if "type" not in changes else changes
    config = TypeAdapter(TokenizeConfig).validate_python({"text": other})
    with pytest.raises(UserError, match=r"^train\.init_from: the tokenizers differ") as caught:
        Tokenize(config, "classification", Work(None, "tokenize", "key"), earlier.reference)
    assert f"expected the same: {said}. Set them as they were, or remove train.init_from" in str(caught.value)


def test_a_model_of_another_task(tmp_path):
    earlier, _ = run(tmp_path, "classification", LABELLED, text={"type": "words"})
    both = {"source": {"type": "words"}, "target": {"type": "words"}}
    config = TypeAdapter(TokenizeConfig).validate_python(both)
    with pytest.raises(
        UserError, match=r"has tokenizers for text, expected source and target. Name a model of"
    ):
        Tokenize(config, "seq2seq", Work(None, "tokenize", "key"), earlier.reference)


def test_an_earlier_artifact_that_is_another_by_now(tmp_path):
    earlier, _ = run(tmp_path, "classification", LABELLED, text={"type": "words"})
    reference = type(earlier.reference)(
        **{**vars(earlier.reference), "digests": {**earlier.reference.digests, "vocabulary": "other"}}
    )
    config = TypeAdapter(TokenizeConfig).validate_python({"text": {"type": "words"}})
    with pytest.raises(UserError, match="was rebuilt with other files"):
        Tokenize(config, "classification", Work(None, "tokenize", "key"), reference)
