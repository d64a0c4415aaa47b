"""What init chooses, with the figures that it gives as reasons."""

import random
from collections import Counter

import numpy as np
import pytest
import sacrebleu
from made_data import described, labelled, sentences, write_lines, write_table
from scipy.stats import binom
from sklearn.metrics import f1_score

from components.tokenize.config import tokenizer_config
from components.tokenize.lengths import Lengths, percentile
from pipeline.init.blessing import bless_labels, bless_texts
from pipeline.init.chance import bar_above
from pipeline.init.choices import read_tokens, tokenizer_of, training_of
from pipeline.init.statistics import Statistics


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def lengths_of(texts):
    lengths = Lengths()
    for text in texts:
        lengths.add(text)
    return lengths


TEXTS = [
    (["Maria", "Jon Doe", "Anna"], 10_000, "classification", "characters"),
    (["12. März 2024"], 10_000, "seq2seq", "characters"),
    (["中国队在比赛中获得了名次，教练表示满意" * 5], 100_000, "classification", "characters"),
    (["ฉันชอบภาพยนตร์เรื่องนี้มากและจะดูอีกครั้งกับเพื่อนของฉัน"], 100_000, "classification", "characters"),
    (
        ["今日は東京で雨が降りました。とても寒いので、家で本を読んでいます。明日は晴れるでしょう。"],
        9_000,
        "seq2seq",
        "characters",
    ),
    (["the film was really not so good as they had said"] * 3, 1_000, "classification", "words"),
    (["the film was really not so good as they had said"] * 3, 100_000, "classification", "sentencepiece"),
    (["the film was really not so good as they had said"] * 3, 1_000, "seq2seq", "sentencepiece"),
    (
        ["정말 재미있는 영화였습니다 그래서 친구들에게 모두 추천하고 싶습니다 꼭 보세요"],
        100,
        "classification",
        "words",
    ),
]


@pytest.mark.parametrize(("texts", "total", "task", "kind"), TEXTS)
def test_the_tokenizer_follows_from_script_length_and_size(texts, total, task, kind):
    choice = tokenizer_of("text", lengths_of(texts), total, task)
    assert choice.settings["type"] == kind


def test_the_length_is_the_95th_percentile():
    texts = ["a" * 10] * 95 + ["a" * 39] * 5
    choice = tokenizer_of("text", lengths_of(texts), 100, "classification")
    assert choice.settings["max_sequence_length"] == 40
    choice = tokenizer_of("text", lengths_of(["a" * 10] * 96 + ["a" * 39] * 4), 100, "classification")
    assert choice.settings["max_sequence_length"] == 16
    assert "95 % of the texts have at most 10 characters" in choice.why


def test_of_answers_nothing_is_cut():
    choice = tokenizer_of("target", lengths_of(["a" * 10] * 99 + ["a" * 39]), 100, "seq2seq")
    assert choice.settings["max_sequence_length"] == 40
    assert "the targets that were looked at have at most 39 characters" in choice.why


def test_very_long_texts_are_cut_and_it_is_told():
    choice = tokenizer_of("text", lengths_of(["word " * 2_000]), 10, "classification")
    assert choice.settings["max_sequence_length"] == 512
    assert "take a recurrent network too long: the rest is cut" in choice.why


@pytest.mark.parametrize("percent", [1, 50, 95, 100])
def test_percentiles_as_numpy_has_them(percent):
    draw = random.Random(3)
    lengths = [draw.randint(1, 500) for _ in range(1_000)]
    assert abs(percentile(lengths, percent) - np.percentile(lengths, percent)) <= 2


def statistics(labels=(), pairs=()):
    return Statistics(records=len(labels) or len(pairs), labels=Counter(labels), pairs=list(pairs))


def test_the_floor_of_labels_is_above_the_majority_by_more_than_chance():
    blessing = bless_labels(statistics("a" * 60 + "b" * 40), tested=400)
    assert blessing.bless["accuracy"]["min"] == pytest.approx(0.6 + 2 * (0.6 * 0.4 / 400) ** 0.5, abs=0.002)
    assert "accuracy of 0.600" in blessing.why[0]
    assert "macro_f1" not in blessing.bless


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.5, 0.6, 0.9, 0.97, 0.99, 0.999])
def test_by_luck_a_floor_is_hardly_ever_reached_or_it_is_told_that_it_is(share):
    for tested in (1, 2, 3, 5, 8, 20, 60, 122, 200, 999, 1_000, 1_500, 2_000, 20_000, 1_000_000):
        bar = bar_above(share, tested)
        right = np.arange(tested + 1)[np.arange(tested + 1) >= bar.least * tested]
        luck = binom.pmf(right, tested, share).sum()
        assert share < bar.least <= 1
        if "too small" in bar.why:
            assert bar.least == 1
            assert luck > 0.025
            enough = int(bar.why.partition("at least ")[2].partition(" ")[0].replace(",", ""))
            assert "too small" not in bar_above(share, enough).why
            assert "too small" in bar_above(share, enough - 1).why
        else:
            assert luck < 0.0251
            assert f"reach {bar.least:g} by luck" in bar.why
            if bar.least > share + 0.03:  # and one less would be too few
                assert binom.sf(right[0] - 2, tested, share) > 0.025


def test_what_is_always_right_cannot_be_surpassed():
    assert bar_above(0.5, 0).least == 1
    assert bar_above(1.0, 100) == (1.0, "No model can be better.")


def test_where_labels_are_unequal_macro_f1_counts_too():
    labels = ["a"] * 90 + ["b"] * 6 + ["c"] * 4
    blessing = bless_labels(statistics(labels), tested=1_000)
    majority = f1_score(labels, ["a"] * 100, average="macro", zero_division=0)
    assert blessing.bless["macro_f1"]["min"] == pytest.approx(majority + 0.02, abs=0.001)
    assert f"It has a macro F1 of {majority:.3f}" in blessing.why[1]


def test_where_an_accuracy_would_have_to_be_perfect_macro_f1_is_asked_for_alone():
    blessing = bless_labels(statistics(["a"] * 97 + ["b"] * 3), tested=100)
    assert bar_above(0.97, 100).least == 1
    assert blessing.bless["accuracy"] == {"max_regression": 0.01}
    assert blessing.bless["macro_f1"]["min"] == 0.513
    (why,) = blessing.why
    assert why.startswith("Answering 'a' to everything has an accuracy of 0.970, and a macro F1 of 0.492: ")
    few = bless_labels(statistics(["a"] * 6 + ["b"] * 4), tested=2)
    assert few.bless["accuracy"]["min"] == 1


@pytest.mark.parametrize(
    ("counts", "unequal"),
    [
        ([97, 3], True),
        ([87, 13], True),
        ([75, 25], False),
        ([60, 20, 20], False),
        ([70, 15, 15], True),
        ([550, 200, 100, 80, 70], True),
        ([14, *[6] * 100], False),  # as many examples of equally many labels come out by chance
    ],
)
def test_labels_are_unequal_by_how_far_the_commonest_is_above_the_others(counts, unequal):
    labels = [f"label {number}" for number, times in enumerate(counts) for _ in range(times)]
    assert ("macro_f1" in bless_labels(statistics(labels), tested=1_000).bless) == unequal


def test_the_floor_of_short_answers_is_above_copies_and_the_commonest():
    pairs = [("a", "a")] * 10 + [("b", "x")] * 30 + [(str(i), f"{i}!") for i in range(60)]
    blessing = bless_texts(statistics(pairs=pairs), tested=400, is_short=True)
    assert 0.34 < blessing.bless["exact_match"]["min"] < 0.36
    assert "A test split of about 2 is" not in blessing.why[0]
    assert "A test split of about 2 is" in bless_texts(statistics(pairs=pairs), 2, is_short=True).why[0]
    assert "right for 10.0%" in blessing.why[0]
    assert "'x', for 30.0%" in blessing.why[0]


def test_the_floor_of_sentences_is_above_the_chrf_of_copies_and_the_commonest():
    sources, targets = sentences(50), [text.replace("good", "gut") for text in sentences(50)]
    pairs = list(zip(sources, targets, strict=True))
    blessing = bless_texts(statistics(pairs=pairs), tested=400, is_short=False)
    copied = sacrebleu.corpus_chrf(sources, [targets]).score
    assert copied < blessing.bless["chrf"]["min"] <= min(99, copied + 2)

    pairs = [("九二四七", target if i % 3 else "I do not know that") for i, (_, target) in enumerate(pairs)]
    blessing = bless_texts(statistics(pairs=pairs), tested=400, is_short=False)
    targets = [target for _, target in pairs]
    commonest = sacrebleu.corpus_chrf(["I do not know that"] * 50, [targets]).score
    assert commonest > 10
    assert commonest < blessing.bless["chrf"]["min"] <= commonest + 2
    assert f"chrF 0.0, the commonest target, 'I do not know that', {commonest:.1f}" in blessing.why[0]


def test_the_floor_of_sentences_that_are_copies_is_below_100():
    pairs = [(text, text if i % 10 else f"{text} really") for i, text in enumerate(sentences(100))]
    floor = bless_texts(statistics(pairs=pairs), tested=400, is_short=False).bless["chrf"]["min"]
    sources, targets = map(list, zip(*pairs, strict=True))
    assert 98 < sacrebleu.corpus_chrf(sources, [targets]).score < floor < 100


def test_the_balance_is_told_in_comments():
    rows = [(text, "rare" if i % 10 == 0 else "often") for i, text in enumerate(sentences(200))]
    _, text, printed = described(write_table("a.csv", rows))
    assert "180   90.0%  often" in text
    assert "20   10.0%  rare" in text
    assert "often 180 (90%), rare 20 (10%)" in printed


def test_many_labels_are_told_in_part():
    rows = [(text, f"label {i % 40:02d}") for i, text in enumerate(sentences(400))]
    _, text, _ = described(write_table("a.csv", rows))
    assert "40 labels in the 400 examples" in text
    assert "and 28 more, the rarest 'label 39' with 10" in text


def test_two_labels_have_a_roc_curve():
    assert "roc_auc" in described(write_table("a.csv", labelled()))[0].evaluate.metrics
    rows = labelled(labels=("a", "b", "c"))
    assert "roc_auc" not in described(write_table("a.csv", rows), force=True)[0].evaluate.metrics


def test_a_small_test_split_is_made_larger():
    few, _, _ = described(write_table("a.csv", labelled(400)))
    many, _, _ = described(write_table("b.csv", labelled(2_500)), force=True)
    assert few.ingest.holdout == {"validation": 0.1, "test": 0.2}
    assert many.ingest.holdout == {"validation": 0.1, "test": 0.1}
    assert few.ingest.split.type == "stratified"


def test_of_very_few_records_no_split_is_promised():
    _, text, printed = described(write_table("a.csv", labelled(8)))
    assert (
        "held out for validation: about 1 example, perhaps none: then the last epoch's weights are" in printed
    )
    assert "held out for test: about 2 examples, perhaps none: then nothing is measured" in printed
    assert "of the best epoch are kept, of the last one if there is no validation" in text
    _, text, printed = described(write_table("b.csv", labelled(60)), force=True)
    assert "perhaps none" not in printed
    assert "the weights of the best epoch are kept." in text


def test_a_split_without_a_file_is_held_out():
    write_table("train.csv", labelled(400))
    write_table("test.csv", labelled(50))
    config, _, _ = described("train.csv", "test.csv")
    assert config.ingest.holdout == {"validation": 0.1}


def test_long_texts_are_taken_whole():
    rows = [(text * 300, label) for text, label in labelled(60)]
    config, _, _ = described(write_table("a.csv", rows))
    assert config.ingest.max_characters >= max(len(text) for text, _ in rows)


def test_records_without_a_label_are_told_and_let_pass():
    rows = [(text, "" if i % 5 == 0 else label) for i, (text, label) in enumerate(labelled())]
    config, _, printed = described(write_table("a.csv", rows))
    assert 0.2 < config.ingest.max_rejected < 0.4
    assert "24 of 120 records looked at are no examples, most for: empty label (24)" in printed


def test_awkward_names_and_labels_are_valid_yaml():
    labels = ("yes", "no", "# 1: {x}", "null")
    header = ("a: text", "#label")
    config, text, _ = described(write_table("über 'x' [1] #2.csv", labelled(labels=labels), header))
    assert config.ingest.files == "über 'x' [1] #2.csv"
    assert config.ingest.columns == {"text": "a: text", "label": "#label"}
    assert "# 1: {x}" in text


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("reviews.csv", "reviews"),
        ("My Reviews 2024.csv", "my-reviews-2024"),
        ("reviews_train.csv", "reviews"),
        ("imdb/train.csv", "imdb"),
        ("sst2/train/part-0.csv", "sst2"),
        ("评论.csv", "texts"),
        ("models.config.csv", "models"),
    ],
)
def test_the_name_follows_from_the_file(path, name, tmp_path):
    (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
    assert described(write_table(path, labelled()))[0].name == name


def test_a_seq2seq_configuration():
    write_lines("a.src", sentences(60))
    write_lines("a.tgt", [text.replace("good", "gut") for text in sentences(60)])
    config, text, _ = described("a.src", "a.tgt")
    assert config.decode.max_decoding_length == config.tokenize.target.max_sequence_length
    assert config.evaluate.thresholds["chrf"].min > 50
    assert "Copying the source has chrF" in text


@pytest.mark.parametrize(
    ("task", "total", "tokens", "epochs"),
    [
        ("classification", 500, 10_000, 20),
        ("classification", 5_000, 5_000_000, 15),
        ("classification", 25_000, 300_000, 10),
        ("classification", 25_000, 6_000_000, 4),
        ("seq2seq", 25_000, 6_000_000, 10),
        ("classification", 300_000, 300_000, 4),
    ],
)
def test_epochs_are_fewer_of_more_text(task, total, tokens, epochs):
    assert training_of(task, total, tokens).settings["epochs"] == epochs


def test_tokens_are_counted_as_far_as_they_are_read():
    lengths = lengths_of(["one two three four", "one two"])
    words = tokenizer_config({"type": "words", "max_sequence_length": 3})
    assert read_tokens(lengths, words, 1_000) == 2_500
    characters = tokenizer_config({"type": "characters", "max_sequence_length": 10})
    assert read_tokens(lengths, characters, 1_000) == 8_500
    assert read_tokens(Lengths(), words, 0) == 0
