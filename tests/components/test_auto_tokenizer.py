"""What `type: auto` becomes, by the texts."""

import random

import pytest
import tensorflow as tf
from made_artifacts import make_examples
from pydantic import TypeAdapter
from stage_runner import run_stage

from components.artifacts.tokens import Tokens
from components.tokenize import auto
from components.tokenize.choices import LONGEST, choose_kind, choose_length, least_pieces
from components.tokenize.config import TokenizeConfig
from components.tokenize.lengths import Lengths
from components.tokenize.transform import Tokenize

AUTO = {"type": "auto"}
SENTENCE = "the film was really not so good as all of them had said before"
TABLE = {
    "sentences": ([SENTENCE] * 3, 1_000, "classification", "words"),
    "many sentences": ([SENTENCE] * 3, 100_000, "classification", "sentencepiece"),
    "sentences to write": ([SENTENCE] * 3, 1_000, "seq2seq", "sentencepiece"),
    "codes": (["AB-1234/x", "ZK-99871/y"], 50_000, "classification", "characters"),
    "one long word": (["a" * 90], 50_000, "classification", "characters"),
    "Chinese": (["中国队在比赛中获得了名次，教练表示满意" * 5], 100_000, "classification", "characters"),
    "Thai": (["ฉันชอบภาพยนตร์เรื่องนี้มากและจะดูอีกครั้งกับเพื่อนของฉัน"], 9_000, "seq2seq", "characters"),
    "dates": (["12. März 2024", "the 3rd of May, 1999"], 10_000, "seq2seq", "characters"),
    "empty": (["", ""], 2, "classification", "characters"),
    "none": ([], 0, "classification", "characters"),
}


@pytest.mark.parametrize(("texts", "total", "task", "expected"), TABLE.values(), ids=TABLE)
def test_the_type_follows_from_length_script_and_size(texts, total, task, expected):
    assert choose_kind(Lengths.of(texts), total, task).settings["type"] == expected


@pytest.mark.parametrize(
    ("field", "lengths", "tokens", "why"),
    [
        ("text", [10] * 95 + [39] * 5, 40, "95 % of the texts have at most 39"),
        ("text", [10] * 96 + [39] * 4, 16, "95 % of the texts have at most 10"),
        ("source", [388], 416, "95 % of the sources have at most 388"),
        ("target", [10] * 999 + [39], 40, "the targets that were looked at have at most 39"),
        ("text", [600], LONGEST, "95 % of the texts have at most 600, but more than 512 take a recurrent"),
        ("text", [], 8, "95 % of the texts have at most 0"),
    ],
)
def test_the_length_is_the_95th_percentile_of_tokens_rounded_up(field, lengths, tokens, why):
    chosen = choose_length(field, lengths, "")
    assert chosen.tokens == tokens
    assert chosen.why.startswith(why)


def test_pieces_have_room_for_every_character():
    texts = [" ".join(chr(0xAC00 + number) for number in range(3_000))]
    size = choose_kind(Lengths.of(texts), 10, "seq2seq").settings["vocabulary_size"]
    assert size == least_pieces(3_001) == 6_100


def tokenize(root, examples, task="classification", init=None, **fields):
    made = make_examples(root, task, examples)
    config = TypeAdapter(TokenizeConfig).validate_python(fields)
    return run_stage(
        lambda work: Tokenize(config, task, work, init), Tokens, {"ingest": made.reference}, root
    )


def vocabulary(tokens):
    return {name: tokens.read(name) for name in tokens.names() if not name.startswith("statistics")}


def sentences(count):
    draw = random.Random(1)
    words = ["".join(draw.choices("abcdefgh", k=draw.randint(3, 9))) for _ in range(200)]
    return [(" ".join(draw.choices(words, k=draw.randint(9, 40))), draw.choice("xy")) for _ in range(count)]


@pytest.mark.parametrize("sample", [50, 5_000])
def test_the_stage_makes_what_the_chosen_settings_make(tmp_path, monkeypatch, sample):
    monkeypatch.setattr(auto, "_SAMPLE", sample)
    rows = sentences(200)
    examples = {"train": [rows[:120], rows[120:]], "test": [sentences(9)]}
    tokens = tokenize(tmp_path, examples, text=AUTO)
    chosen = tokens.summary["chosen"]["text"]
    assert chosen["settings"] == tokens.tokenizer_config("text").model_dump(mode="json")
    assert chosen["settings"]["type"] == "words"
    assert chosen["settings"]["max_sequence_length"] == 40
    assert chosen["why"].startswith("words (about ")
    assert "at most 40 tokens: 95 % of the texts have at most " in chosen["why"]
    assert tokens.summary["warnings"] == []
    assert vocabulary(tokenize(tmp_path, examples, text=chosen["settings"])) == vocabulary(tokens)


def test_pieces_and_their_lengths(tmp_path):
    pairs = [(text, "ab" * number) for number, (text, _) in enumerate(sentences(60))]
    tokens = tokenize(tmp_path, {"train": [pairs]}, "seq2seq", source=AUTO, target=AUTO)
    source, target = tokens.tokenizer_config("source"), tokens.tokenizer_config("target")
    assert (source.type, source.vocabulary_size) == ("sentencepiece", 500)
    p95 = tokens.statistics()["fields"]["source"]["splits"]["train"]["tokens"]["p95"]
    assert p95 <= source.max_sequence_length <= p95 + 32
    assert target.type == "characters"
    assert target.max_sequence_length == 128  # the longest has 118
    assert tokens.summary["chosen"]["source"]["why"].startswith("sentencepiece (pieces of words, of")
    assert tokenize(
        tmp_path,
        {"train": [pairs]},
        "seq2seq",
        **{field: chosen["settings"] for field, chosen in tokens.summary["chosen"].items()},
    ).read("tokenizer/source/sentencepiece.model") == tokens.read("tokenizer/source/sentencepiece.model")


def test_the_longest_target_counts_where_it_is_not_in_the_sample(tmp_path, monkeypatch):
    monkeypatch.setattr(auto, "_SAMPLE", 5)
    pairs = [("ab", "c" * 4)] * 50 + [("ab", "c" * 30)] + [("ab", "c" * 4)] * 50
    tokens = tokenize(tmp_path, {"train": [pairs]}, "seq2seq", source=AUTO, target=AUTO)
    assert tokens.tokenizer_config("target").max_sequence_length == 32
    assert tokens.tokenizer_config("source").max_sequence_length == 8


def test_so_does_the_target_of_the_most_words(tmp_path, monkeypatch):
    monkeypatch.setattr(auto, "_SAMPLE", 5)
    usual = ("some source", "the words of this one are all rather long ones")
    many = ("some source", "a b c d e f g h i j k l m n o p q r s t u v w x y z a b c d e f g h i j k l m n")
    long = ("some source", "extraordinarily " * 8)
    tokens = tokenize(
        tmp_path, {"train": [[usual] * 60 + [many, long] + [usual] * 61]}, "seq2seq", source=AUTO, target=AUTO
    )
    whole = tokens.tokenizer("target").tokenize(tf.constant([many[1], long[1]]), cut=False)
    assert len(many[1]) < len(long[1])
    assert max(whole.row_lengths()) <= tokens.tokenizer_config("target").max_sequence_length


def test_what_is_written_beside_auto_counts(tmp_path):
    written = {**AUTO, "max_sequence_length": 7, "truncation_side": "left", "vocabulary_size": 20}
    tokens = tokenize(tmp_path, {"train": [sentences(50)]}, text=written)
    settings = tokens.tokenizer_config("text")
    assert (settings.type, settings.max_sequence_length) == ("words", 7)
    assert (settings.truncation_side, settings.vocabulary_size) == ("left", 20)
    assert tokens.summary["chosen"]["text"]["why"].endswith("at most 7 tokens")


def test_a_tokenizer_that_is_written_is_not_chosen(tmp_path):
    tokens = tokenize(tmp_path, {"train": [sentences(50)]}, text={"type": "words"})
    assert "chosen" not in tokens.summary
    assert tokens.tokenizer_config("text").max_sequence_length == 256


def test_a_warm_start_keeps_the_earlier_tokenizer(tmp_path):
    written = {"type": "characters", "normalize": "nfkc", "max_sequence_length": 33}
    earlier = tokenize(tmp_path, {"train": [sentences(50)]}, text=written)
    later = tokenize(tmp_path, {"train": [sentences(60)]}, init=earlier.reference, text=AUTO)
    assert later.tokenizer_config("text") == earlier.tokenizer_config("text")
    more = {**AUTO, "vocabulary_size": 9_000}
    later = tokenize(tmp_path, {"train": [sentences(60)]}, init=earlier.reference, text=more)
    assert later.tokenizer_config("text").vocabulary_size == 9_000
