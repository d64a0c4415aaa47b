from __future__ import annotations

import json
from collections import Counter
from copy import copy

import keras
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from components.errors import UserError
from components.tokenize.config import Characters, SentencePiece, Tokenizer, Whitespace, WordPiece, Words
from components.tokenize.tokenizers import (
    SPECIAL_TOKENS,
    UNKNOWN,
    SentencePieceTokenizer,
    WordPieceTokenizer,
    load_tokenizer,
)

CONFIGS = {
    "characters": Characters(type="characters"),
    "words": Words(type="words"),
    "whitespace": Whitespace(type="whitespace"),
    "wordpiece": WordPiece(type="wordpiece", vocabulary_size=300),
    "unigram": SentencePiece(type="sentencepiece", vocabulary_size=300),
    "bpe": SentencePiece(type="sentencepiece", vocabulary_size=300, model_type="bpe"),
}
CORPUS = [
    "The quick brown fox jumps over the lazy dog.",
    "He jumped quickly, over lazier dogs; the foxes were browner!",
    "naïve café, 中文字符。 مى‌روم 👨‍👩‍👧 #1 <unk>",
    "line\nbreak\ttab\rreturn\u2028separator\u00a0space \x00\x01\x7f",
]
ODD = [
    b"",
    b" ",
    b"\n\t ",
    b"\xff\xfe invalid \xc3",
    b"\xed\xa0\x80 half a surrogate pair",
    b"\x00 a\x00b\x00",
    "👨‍👩‍👧❤️ \U0010ffff \ufeff \u2028\x85".encode(),
    "▁▁ ▅ ##the <s> </s> <pad> <unk>".encode(),
    b"x" * 10_000,
    "中".encode() * 10_000,
    b"the lazy dog " * 800,
]


def learn(config, texts):
    kind = config.tokenizer()
    counts = Counter()
    for text in texts:
        counts.update(kind.count(tf.constant([text]), config))
    ranked = sorted(counts.items(), key=lambda pair: kind.rank(*pair))
    return kind.learn(config, ranked[: kind.most_units(config)])


def with_(name, **changes):
    return CONFIGS[name].model_copy(update=changes)


def tokens(tokenizer, text):
    return [tokenizer.pieces[i] for i in tokenizer.tokenize(tf.constant([text]))[0].numpy()]


@pytest.fixture(scope="module")
def tokenizers():
    return {name: learn(config, CORPUS) for name, config in CONFIGS.items()}


@pytest.fixture(params=CONFIGS)
def tokenizer(request, tokenizers):
    return tokenizers[request.param]


def test_special_tokens_come_first(tokenizer):
    assert tokenizer.pieces[:4] == SPECIAL_TOKENS == ("<pad>", "<unk>", "<s>", "</s>")
    assert tokenizer.vocabulary_size == len(tokenizer.pieces) == len(set(tokenizer.pieces))


def test_odd_texts_have_results(tokenizer):
    ids = tokenizer.tokenize(tf.constant(ODD))
    assert ids.dtype == tf.int32
    assert ids.shape[0] == len(ODD)
    assert ids[0].shape == (0,)
    assert int(ids.row_lengths().numpy().max()) == tokenizer.config.max_sequence_length
    assert ids.flat_values.numpy().min() >= UNKNOWN
    assert ids.flat_values.numpy().max() < tokenizer.vocabulary_size
    # Special tokens that stand in a text are text.
    assert not set(ids.flat_values.numpy()) & {2, 3}
    for text in tokenizer.detokenize(ids).numpy():
        text.decode()


def test_batch_of_none(tokenizer):
    assert tokenizer.tokenize(tf.constant([], tf.string)).shape[0] == 0
    assert tokenizer.detokenize(tf.zeros([0, 3], tf.int32)).shape == (0,)
    assert tokenizer.detokenize(tf.zeros([2, 0], tf.int32)).numpy().tolist() == [b"", b""]


@pytest.mark.parametrize("name", ["characters", "unigram", "bpe"])
def test_reversible(name, tokenizers):
    texts = [text.replace("\0", "") for text in CORPUS]
    tokenizer = tokenizers[name]
    assert tokenizer.detokenize(tokenizer.tokenize(tf.constant(texts))).numpy().tolist() == [
        text.encode() for text in texts
    ]


# Sentencepiece cannot learn a NUL, nor U+2585, which its trainer uses for itself.
ANY = st.characters(codec="utf-8", exclude_characters="\0▅")


@pytest.mark.parametrize("name", CONFIGS)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_round_trip_of_any_text(name, data):
    alphabet = ANY if name != "wordpiece" else st.characters(codec="utf-8", exclude_categories=["Cc"])
    texts = [*data.draw(st.lists(st.text(alphabet, max_size=40), max_size=20)), "at least this"]
    tokenizer = learn(with_(name, vocabulary_size=3_000), texts)
    normal = tokenizer.normalize(tf.constant(texts))
    back = tokenizer.detokenize(tokenizer.tokenize(normal))
    if name in ("words", "whitespace", "wordpiece"):
        assert ["".join(text.decode().split()) for text in back.numpy()] == [
            "".join(text.decode().split()) for text in normal.numpy()
        ]
    else:
        assert back.numpy().tolist() == normal.numpy().tolist()


def test_invalid_bytes_become_replacement_characters(tokenizers):
    assert tokens(tokenizers["characters"], b"\xffT\xc3") == ["<unk>", "T", "<unk>"]
    known = learn(CONFIGS["characters"], ["\ufffd", "T"])
    assert tokens(known, b"\xffT\xed\xa0\x80") == ["\ufffd", "T", "\ufffd", "\ufffd", "\ufffd"]


def test_normalization():
    for name, text, expected in [
        ("none", "e\u0301ﬁ", "e\u0301ﬁ"),
        ("nfc", "e\u0301ﬁ", "éﬁ"),
        ("nfkc", "e\u0301ﬁ", "éfi"),
    ]:
        tokenizer = learn(with_("characters", normalize=name), [text])
        assert tokenizer.normalize(tf.constant([text])).numpy()[0].decode() == expected
        assert tokens(tokenizer, text) == list(expected)


def test_case_folding():
    tokenizer = learn(with_("words", case_fold=True), ["Straße ΣΑΣ"])
    assert tokens(tokenizer, "STRASSE σας") == ["strasse", "σασ"]


def test_words_keep_marks_and_joiners():
    text = "Don't! مى‌روم e\u0301a हिन्दी_x 3.5\u00a0kg中文,字 #\u200b"
    tokenizer = learn(with_("words", normalize="none"), [text])
    expected = "Don ' t ! مى‌روم e\u0301a हिन्दी _ x 3 . 5 kg中文 , 字 # \u200b"
    assert " ".join(tokens(tokenizer, text)) == expected


def test_whitespace_keeps_what_stands_between_it():
    tokenizer = learn(with_("whitespace"), ["I_TURN_LEFT\u2003AH0 #?!"])
    assert sorted(tokenizer.pieces[4:]) == ["#?!", "AH0", "I_TURN_LEFT"]
    text = ["I_TURN_LEFT #?! AH0"]
    assert tokenizer.detokenize(tokenizer.tokenize(tf.constant(text))).numpy().tolist() == [text[0].encode()]


def test_every_unicode_space_separates_words(tokenizers):
    spaces = [chr(point) for point in range(0x110000) if chr(point).isspace()]
    ids = tokenizers["words"].tokenize(tf.constant([f"lazy{space}dog" for space in spaces]))
    dog = [tokenizers["words"].pieces.index(word) for word in ("lazy", "dog")]
    assert ids.to_list() == [dog] * len(spaces)


def test_order_and_size_of_a_counted_vocabulary():
    tokenizer = learn(with_("words", vocabulary_size=7), ["b b c c a d d d"])
    assert tokenizer.pieces == (*SPECIAL_TOKENS, "d", "b", "c")
    assert tokens(tokenizer, "a b") == ["<unk>", "b"]


def test_min_count():
    tokenizer = learn(with_("characters", min_count=2), ["aab"])
    assert tokenizer.pieces == (*SPECIAL_TOKENS, "a")
    with pytest.raises(UserError, match=r"min_count is 4, but .* characters occurs only 2 times.*Lower"):
        learn(with_("characters", min_count=4), ["aab"])


def test_wordpiece_takes_the_longest_piece_and_spells_the_rest(tokenizers):
    pieces = [*SPECIAL_TOKENS, "l", "o", "w", "low", "##l", "##o", "##w", "##wo", "#"]
    tokenizer = WordPieceTokenizer(CONFIGS["wordpiece"], pieces)
    assert tokens(tokenizer, "low lowwow, wol ##wo") == [
        *("low", "low", "##wo", "##w", "<unk>"),
        *("w", "##o", "##l", "#", "#", "w", "##o"),
    ]
    assert tokens(tokenizer, "lowz") == ["<unk>"]
    ids = tokenizer.tokenize(tf.constant(["low  lowwow#"]))
    assert tokenizer.detokenize(ids).numpy().tolist() == [b"low lowwow #"]


def test_wordpiece_does_not_learn_control_characters():
    controls = "".join(map(chr, [*range(32), *range(127, 160)]))
    for text in ("a b" + controls, "!" + controls):
        tokenizer = learn(CONFIGS["wordpiece"], [text])
        assert set(tokenizer.pieces) - set(SPECIAL_TOKENS) <= {"a", "b", "!", "##a", "##b"}
        assert set(tokens(tokenizer, controls)) == {"<unk>"}


def test_wordpiece_knows_long_words():
    word = "dog" * 3_000
    tokenizer = learn(with_("wordpiece", max_sequence_length=9_000), CORPUS)
    assert tokenizer.detokenize(tokenizer.tokenize(tf.constant([word]))).numpy()[0].decode() == word


def test_wordpiece_fills_its_vocabulary():
    texts = [f"{a}{b}{c}" for a in "abcdefg" for b in "hijklm" for c in "nopqrst"]
    assert learn(with_("wordpiece", vocabulary_size=120), texts).vocabulary_size == 120


@pytest.mark.parametrize("name", ["wordpiece", "unigram", "bpe"])
def test_too_few_pieces(name):
    minimum = 4 + 2 * 7 if name == "wordpiece" else 4 + 7 + 1  # "hello world" has seven letters
    assert learn(with_(name, vocabulary_size=minimum), ["hello world"]).vocabulary_size == minimum
    message = (
        f"vocabulary_size is {minimum - 1}, but .* alone need {minimum}. Set vocabulary_size to {minimum}"
    )
    with pytest.raises(UserError, match=message):
        learn(with_(name, vocabulary_size=minimum - 1), ["hello world"])


@pytest.mark.parametrize("name", ["wordpiece", "unigram", "bpe"])
def test_more_pieces_than_there_are(name):
    assert 4 < learn(with_(name, vocabulary_size=8_000), ["hello world"]).vocabulary_size < 100


def test_nothing_but_control_characters():
    with pytest.raises(UserError, match=r"nothing but control characters.*use the tokenizer type characters"):
        learn(CONFIGS["unigram"], ["\n\n\t"])


def test_sentencepiece_splits_at_control_characters(tokenizers):
    assert "\n" in tokens(tokenizers["bpe"], "lazy\ndog")


def test_subwords_count_long_runs_in_stretches():
    counts = SentencePieceTokenizer.count(tf.constant(["a " + "b" * 150]), CONFIGS["bpe"])
    assert counts == {"a": 1, "b" * 64: 2, "b" * 22: 1}


def test_rare_units_are_sampled_fairly():
    rank = SentencePieceTokenizer.rank
    assert rank("z", 2) < rank("a", 1)
    kept = sorted((chr(point) for point in range(0x4E00, 0x4E00 + 1_000)), key=lambda unit: rank(unit, 1))[
        :500
    ]
    assert 200 < sum(unit < chr(0x4E00 + 500) for unit in kept) < 300


def test_max_length(tokenizer):
    text = tf.constant(["the lazy dog " * 500])
    assert tokenizer.tokenize(text).shape == (1, None)
    assert tokenizer.tokenize(text)[0].shape == (256,)
    whole = tokenizer.tokenize(text, cut=False)[0]
    assert whole.shape[0] > 1_000
    assert whole[:256].numpy().tolist() == tokenizer.tokenize(text)[0].numpy().tolist()
    short = tf.constant(["lazy"])
    tokenizer = copy(tokenizer)
    tokenizer.config = tokenizer.config.model_copy(update={"truncation_side": "left"})
    assert whole[-256:].numpy().tolist() == tokenizer.tokenize(text)[0].numpy().tolist()
    assert tokenizer.tokenize(short).to_list() == tokenizer.tokenize(short, cut=False).to_list()


def test_detokenize_takes_any_shape(tokenizer):
    ids = tokenizer.tokenize(tf.constant(["the lazy", "over", ""]))
    texts = tokenizer.detokenize(ids).numpy().tolist()
    assert texts == [b"the lazy", b"over", b""]
    padded = ids.to_tensor(shape=[None, 30])
    assert tokenizer.detokenize(padded).numpy().tolist() == texts
    assert tokenizer.detokenize(tf.cast(padded, tf.int64)[None]).numpy().tolist() == [texts]
    marked = tf.pad(padded, [[0, 0], [1, 0]], constant_values=2)
    assert tokenizer.detokenize(marked).numpy().tolist() == texts


def test_save_and_load(tokenizer, tmp_path):
    tokenizer.save(str(tmp_path / "deep" / "text"))
    loaded = load_tokenizer(str(tmp_path / "deep" / "text"))
    assert type(loaded) is type(tokenizer)
    assert loaded.pieces == tokenizer.pieces
    assert loaded.config == tokenizer.config
    texts = tf.constant([*ODD, *CORPUS])
    assert loaded.tokenize(texts).to_list() == tokenizer.tokenize(texts).to_list()


@pytest.mark.parametrize("name", ["characters", "unigram", "bpe"])
def test_line_breaks_survive_the_file(name, tmp_path):
    text = "a\nb\tc\r\u2028\x01" + ("\0" if name == "characters" else "")
    tokenizer = learn(CONFIGS[name], [text])
    tokenizer.save(str(tmp_path))
    loaded = load_tokenizer(str(tmp_path))
    assert loaded.pieces == tokenizer.pieces
    assert set("\n\t\r") < set(loaded.pieces)
    assert loaded.detokenize(loaded.tokenize(tf.constant([text]))).numpy()[0].decode() == text


def test_load_from_a_folder_without(tmp_path):
    with pytest.raises(
        UserError, match=r"holds no tokenizer: expected a file tokenizer\.json.*Name the folder"
    ):
        load_tokenizer(str(tmp_path))


@pytest.mark.parametrize("name", CONFIGS)
def test_learning_is_repeatable(name, tmp_path):
    for run in ("a", "b"):
        learn(CONFIGS[name], CORPUS).save(str(tmp_path / run))
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_settings_hold_the_configuration(tokenizers, tmp_path):
    tokenizers["words"].save(str(tmp_path))
    settings_ = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))
    assert TypeAdapter(Tokenizer).validate_python(settings_["config"]) == CONFIGS["words"]


class Everything(tf.Module):
    def __init__(self, tokenizers):
        super().__init__()
        self.tokenizers = tokenizers

    def __call__(self, texts):
        found = {}
        for name, tokenizer in self.tokenizers.items():
            ids = tokenizer.tokenize(texts)
            found[name] = ids.to_tensor(-1)
            found[f"{name}_text"] = tokenizer.detokenize(ids)
        return found


def export(tokenizers, folder):
    """Writes a SavedModel with all these tokenizers in it, and moves it away from there."""
    module = Everything(tokenizers)
    archive = keras.export.ExportArchive()
    archive.track(module)
    archive.add_endpoint("serve", module.__call__, [tf.TensorSpec([None], tf.string)])
    archive.write_out(str(folder / "here"), verbose=False)
    return str((folder / "here").rename(folder / "there"))


@pytest.fixture(scope="module")
def exported(tokenizers, tmp_path_factory):
    return export(tokenizers, tmp_path_factory.mktemp("export"))


@pytest.fixture(scope="module")
def served(exported):
    return tf.saved_model.load(exported)


def same(tokenizers, served, texts):
    answers = served.serve(tf.constant(texts))
    for name, tokenizer in tokenizers.items():
        expected = tokenizer.tokenize(tf.constant(texts))
        assert answers[name].numpy().tolist() == expected.to_tensor(-1).numpy().tolist()
        assert answers[f"{name}_text"].numpy().tolist() == tokenizer.detokenize(expected).numpy().tolist()


def test_saved_model_gives_the_same_tokens(tokenizers, served):
    same(tokenizers, served, [*CORPUS, *[text.decode(errors="replace") for text in ODD]])
    same(tokenizers, served, ODD)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.text(max_size=60).map(lambda text: text.encode(errors="surrogatepass")), max_size=40))
def test_saved_model_gives_the_same_tokens_for_any_text(tokenizers, served, texts):
    same(tokenizers, served, [*texts, b""])


@settings(max_examples=10, deadline=None)
@given(st.lists(st.binary(max_size=60), max_size=40))
def test_saved_model_gives_the_same_tokens_for_any_bytes(tokenizers, served, texts):
    same(tokenizers, served, [*texts, b""])


def test_saved_models_in_one_process_keep_apart(tokenizers, served, tmp_path):
    others = {name: learn(config, ["Something quite different"]) for name, config in CONFIGS.items()}
    same(others, tf.saved_model.load(export(others, tmp_path)), CORPUS)
    same(tokenizers, served, CORPUS)


def test_saved_model_loads_in_a_session(exported, tokenizers):
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        meta_graph = tf.compat.v1.saved_model.load(session, ["serve"], exported)
        signature = meta_graph.signature_def["serving_default"]
        (texts,) = signature.inputs.values()
        outputs = {name: output.name for name, output in signature.outputs.items()}
        answers = session.run(outputs, {texts.name: CORPUS})
    for name, tokenizer in tokenizers.items():
        assert (
            answers[name].tolist() == tokenizer.tokenize(tf.constant(CORPUS)).to_tensor(-1).numpy().tolist()
        )
