"""What init takes columns and files for, and when it asks."""

import os
import random
import shlex
import shutil
import subprocess
import sys

import pytest
from made_data import (
    described,
    ingest_of,
    labelled,
    sentences,
    write_lines,
    write_objects,
    write_parquet,
    write_table,
)

from components.errors import UserError
from components.ingest.numeric_labels import look_like_numbers
from pipeline.init.columns import Column
from pipeline.init.scores import label_warnings


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def at_a_terminal(monkeypatch):
    """Answers questions by what is put into the list; keeps the questions."""
    answers, asked = [], []
    monkeypatch.setattr("pipeline.init.ask.sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("pipeline.init.ask.typer.echo", asked.append)
    monkeypatch.setattr("pipeline.init.ask.typer.prompt", lambda *_, **__: answers.pop(0))
    return answers, asked


def numbers(count, low, high, seed=3):
    draw = random.Random(seed)
    return [draw.randint(low, high) for _ in range(count)]


def unclear():
    """A table with two columns that may be the label, and two that may be the text."""
    rows = zip(sentences(90, 4, 6), sentences(90, 6, 8), "ab" * 45, "xyz" * 30, strict=True)
    return write_table("a.csv", list(rows), ("first", "second", "cat", "sub"))


def test_ids_and_numbers_are_not_text():
    rows = [(f"rev_{i:05d}", i, text, label) for i, (text, label) in enumerate(labelled())]
    config, _, printed = described(write_table("a.csv", rows, ("id", "n", "what", "which")))
    assert config.ingest.columns == {"text": "what", "label": "which"}
    assert "'which' has 2 different values that recur" in printed


def test_names_in_languages():
    draw = random.Random(1)
    names = ["".join(draw.choices("aeioulmnrst", k=draw.randint(4, 9))).title() for _ in range(200)]
    rows = [(name, draw.choice(("it", "de", "fr", "es"))) for name in names]
    config, _, _ = described(write_table("a.csv", rows, ("surname", "country")))
    assert config.ingest.columns == {"text": "surname", "label": "country"}
    assert config.tokenize.text.type == "characters"


def test_dates_are_text_to_text():
    rows = [
        (f"{day}. März {year}", f"{year}-03-{day:02d}") for year in range(1990, 2000) for day in range(1, 29)
    ]
    config, _, printed = described(write_table("a.csv", rows, ("written", "iso")))
    assert config.task == "seq2seq"
    assert config.ingest.columns == {"source": "written", "target": "iso"}
    assert "warning" not in printed


def test_usual_names_decide_the_direction():
    rows = list(zip(sentences(60), sentences(60, seed=9), strict=True))
    config, _, _ = described(write_table("a.csv", rows, ("translation", "original")))
    assert config.ingest.columns == {"source": "original", "target": "translation"}


def test_what_is_not_clear_is_an_error_where_nobody_can_be_asked():
    with pytest.raises(UserError, match=r"not clear which column is the label, expected one of 'cat', 'sub'"):
        described(unclear())


def test_the_best_guess():
    config, _, _ = described(unclear(), yes=True)
    assert config.ingest.columns == {"text": "second", "label": "cat"}


def test_questions_at_a_terminal(at_a_terminal):
    answers, asked = at_a_terminal
    answers += [7, 2, 2]  # there is no seventh
    config, _, _ = described(unclear())
    assert config.ingest.columns == {"text": "first", "label": "sub"}
    assert asked[0] == "Which column is the label?"
    assert asked[2].split() == ["2", "sub,", "such", "as", "'x'"]


def test_nothing_is_asked_where_it_is_clear(at_a_terminal):
    described(write_table("a.csv", labelled()))
    assert at_a_terminal[1] == []


def test_a_column_called_as_the_field_is_clear():
    rows = zip("ab" * 45, "xyz" * 30, sentences(90), sentences(90, seed=6), strict=True)
    config, _, printed = described(write_table("a.csv", list(rows), ("label", "rating", "comment", "text")))
    assert ingest_of(config) == {"files": "a.csv"}
    assert "'label' has 2 different values that recur" in printed


def test_columns_that_are_named():
    config, _, _ = described(unclear(), columns={"text": "first", "label": "sub"})
    assert config.ingest.columns == {"text": "first", "label": "sub"}
    config, _, _ = described("a.csv", columns={"source": "second", "target": "first"}, force=True)
    assert config.task == "seq2seq"
    assert config.ingest.columns == {"source": "second", "target": "first"}


def test_positions_that_are_named():
    write_table("a.csv", [(label, text) for text, label in labelled()], None)
    config, _, _ = described("a.csv", columns={"text": "1", "label": "0"})
    assert config.ingest.columns == {"text": 1, "label": 0}


def test_a_task_that_is_named():
    config, _, _ = described(write_table("a.csv", labelled(), ("story", "answer")), task="seq2seq")
    assert config.ingest.columns == {"source": "story", "target": "answer"}


TABLES = [
    ([(text, "a") for text in sentences(50)], "the label 'label' has one value alone, 'a', in the 50 rows"),
    (list(zip(sentences(50), sentences(50, seed=4), strict=True)), "50 different values in 50 rows"),
    ([(f"rev{i:05d}", "ab"[i % 2]) for i in range(50)], "no column beside 'label' holds text, but ids"),
    ([(text, f"{i / 7:.3f}") for i, text in enumerate(sentences(50))], "50 different values in 50 rows"),
]


@pytest.mark.parametrize(("rows", "message"), TABLES)
def test_labels_and_texts_of_which_nothing_can_be_learnt(rows, message):
    with pytest.raises(UserError, match=message):
        described(write_table("a.csv", rows))


def test_columns_of_one_name_are_not_taken_where_others_are_there():
    rows = [(tag, text, label, text, tag) for (text, label), tag in zip(labelled(), "ab" * 60, strict=True)]
    table = write_table("a.csv", rows, ("tag", "body", "verdict", "what", "tag"))
    config, _, _ = described(table, columns={"text": "body"})
    assert config.ingest.columns == {"text": "body", "label": "verdict"}
    rows = [(text, label, text) for text, label in labelled()]
    with pytest.raises(UserError, match=r"2 columns are called 'body', .* Rename all but one of them"):
        described(write_table("b.csv", rows, ("body", "verdict", "body")), force=True)


def test_prices_are_no_labels():
    rows = [(text, i / 8) for i, text in enumerate(sentences(50))]
    with pytest.raises(UserError, match="'price' has numbers with fractions; regression is not offered"):
        described(write_table("a.csv", rows, ("what", "price")))


def test_numbers_with_fractions_in_json_cannot_be_read_as_labels():
    write_objects("a.jsonl", [(text, i % 3 + 0.5) for i, text in enumerate(sentences(60))])
    with pytest.raises(UserError, match=r"is of type float, .* regression is not offered"):
        described("a.jsonl")


NUMBERS = [
    (range(1, 81), True),
    (range(101), True),
    (range(0, 60, 4), True),
    (range(20), False),
    (range(1, 6), False),
    ([*range(101), "other"], False),
    ([number / 2 for number in range(1, 11)], False),  # half stars
    ([number / 2 for number in range(40)], True),
]


@pytest.mark.parametrize(("labels", "warned"), NUMBERS)
def test_many_numbers_as_labels_are_warned_of_as_in_a_run(labels, warned):
    column = Column("rating")
    for label in [*labels] * 6:
        column.add(str(label))
    assert any("regression is not offered" in line for line in label_warnings(column, "a.csv")) == warned
    assert look_like_numbers([str(label) for label in labels]) == warned


def test_the_numbers_that_are_warned_of_are_taken_for_labels_by_their_name():
    rows = list(zip(sentences(600), numbers(600, 1, 80), strict=True))
    config, _, printed = described(write_table("a.csv", rows, ("text", "rating")))
    assert config.ingest.columns == {"label": "rating", "text": "text"}
    assert "80 different numbers: regression is not offered" in printed


@pytest.mark.parametrize("missing", ["NaN", "null", "None", "N/A", "-"])
def test_labels_that_look_like_missing_values_are_warned_of(missing):
    rows = [(text, missing if i % 3 == 0 else label) for i, (text, label) in enumerate(labelled())]
    _, _, printed = described(write_table("a.csv", rows))
    assert f"the label 'label' is {missing!r} in 40 of 120 rows, which looks like a missing value" in printed
    rows = [(text, "" if label == missing else label) for text, label in rows]
    config, _, printed = described(write_table("a.csv", rows), force=True)
    assert "looks like a missing value" not in printed
    assert config.ingest.max_rejected > 1 / 3


def test_a_text_that_is_named_and_looks_like_ids_is_warned_of():
    rows = [(f"rev{i:05d}", *row) for i, row in enumerate(labelled())]
    _, _, printed = described(write_table("a.csv", rows, ("id", "what", "label")), columns={"text": "id"})
    assert "the text 'id' looks like an id ('rev00000')" in printed


def test_columns_that_are_not_there():
    write_table("a.csv", labelled())
    with pytest.raises(UserError, match="received --label stars, expected one of the columns: text, label"):
        described("a.csv", columns={"label": "stars"})
    with pytest.raises(UserError, match="received 'text' for both text and label"):
        described("a.csv", columns={"label": "text", "text": "text"})


SPLITS = [
    (
        ["train.csv", "dev.csv", "test.csv"],
        {"train": "train.csv", "validation": "dev.csv", "test": "test.csv"},
    ),
    (["x_train.csv", "x_valid.csv"], {"train": "x_train.csv", "validation": "x_valid.csv"}),
    (
        ["reviews-training.csv", "reviews-held_out.csv"],
        {"train": "reviews-training.csv", "test": "reviews-held_out.csv"},
    ),
    (
        ["train/a.csv", "train/b.csv", "test/a.csv"],
        {"train": ["train/a.csv", "train/b.csv"], "test": "test/a.csv"},
    ),
    (["data.csv", "test.csv"], {"train": "data.csv", "test": "test.csv"}),
    (["b.csv", "a.csv"], ["b.csv", "a.csv"]),
    (["test_of_mine/a.csv", "b.csv"], ["test_of_mine/a.csv", "b.csv"]),
    (["test.csv"], "test.csv"),
]


@pytest.mark.parametrize(("names", "files"), SPLITS, ids=[each[0][0] for each in SPLITS])
def test_splits_by_name(names, files):
    for number, name in enumerate(names):
        os.makedirs(os.path.dirname(name) or ".", exist_ok=True)
        write_table(name, labelled(seed=number))
    config, _, printed = described(*names)
    assert config.ingest.files == files
    given = files if isinstance(files, dict) else {"train": files}
    held = {split for split in ("validation", "test") if split not in given}
    assert set(config.ingest.holdout) >= held
    assert ("held out" in printed) == bool(held)


def test_globs_stay_globs():
    for name in ("train-1.csv", "train-2.csv", "test-1.csv", "test-2.csv"):
        write_table(name, labelled())
    config, _, _ = described("train-*.csv", "test-*.csv")
    assert config.ingest.files == {"train": "train-*.csv", "test": "test-*.csv"}
    config, _, _ = described("*.csv", force=True)
    assert config.ingest.files == {
        "train": ["train-1.csv", "train-2.csv"],
        "test": ["test-1.csv", "test-2.csv"],
    }


def test_other_splits_are_found_beside_train():
    for name in ("train.csv", "validation.csv", "test.csv", "other.csv", "test.tsv"):
        write_table(name, labelled())
    config, _, printed = described("train.csv")
    assert config.ingest.files == {"train": "train.csv", "validation": "validation.csv", "test": "test.csv"}
    assert "test.csv: found beside train.csv, for test" in printed


def test_a_test_file_beside_train_without_labels_is_left_out():
    write_table("train.csv", labelled())
    write_table("test.csv", [(i, text) for i, text in enumerate(sentences(20))], ("id", "text"))
    config, _, printed = described("train.csv")
    assert config.ingest.files == "train.csv"
    assert "test.csv: left out, as it has no column 'label'" in printed
    assert "found beside" not in printed
    with pytest.raises(
        UserError, match=r"test\.csv has no column 'label'; expected .* rnnpipe init train\.csv$"
    ):
        described("train.csv", "test.csv", force=True)


def test_of_files_beside_train_only_what_does_not_fit_is_left_out():
    write_table("train.csv", labelled())
    write_table("valid.csv", labelled(40))
    write_lines("test.csv", ["text", *sentences(20)])
    config, _, printed = described("train.csv")
    assert config.ingest.files == {"train": "train.csv", "validation": "valid.csv"}
    assert "test.csv: left out, as it has no column 'label'" in printed
    assert "valid.csv: found beside train.csv, for validation" in printed
    with pytest.raises(UserError, match=r"test\.csv has no column 'label'; .* init train\.csv valid\.csv$"):
        described("*.csv", force=True)
    write_table("test.csv", labelled(40), delimiter=";")
    config, _, printed = described("train.csv", force=True)
    assert config.ingest.files == {"train": "train.csv", "validation": "valid.csv"}
    assert "test.csv: left out. test.csv is a table with semicolons" in printed
    assert "valid.csv: found beside" in printed


def test_a_file_of_a_glob_that_does_not_fit_is_named_although_it_comes_first():
    write_table("answers.csv", [(i, 0) for i in range(20)], ("id", "label"))
    write_table("train.csv", [(i, *row) for i, row in enumerate(labelled())], ("id", "text", "label"))
    with pytest.raises(UserError, match=r"^init: answers\.csv has no column 'text'; .* init train\.csv$"):
        described("*.csv")
    write_table("answers.csv", [(i, 0) for i in range(20)], ("id", "label"), delimiter=";")
    with pytest.raises(UserError, match=r"answers\.csv is a table with semicolons .* but train\.csv is"):
        described("*.csv")


def test_a_file_beside_train_that_cannot_be_read_likewise_is_left_out():
    write_table("train.csv", labelled())
    write_table("test.csv", labelled(), delimiter=";")
    config, _, printed = described("train.csv")
    assert config.ingest.files == "train.csv"
    assert "test.csv: left out. test.csv is a table with semicolons" in printed
    write_lines("train.en", sentences(60))
    write_lines("train.de", sentences(60, seed=8))
    write_lines("test.en", sentences(20))
    config, _, printed = described("train.en", "train.de", force=True)
    assert set(config.ingest.files) == {"train"}
    assert "test.en: left out. received a table with one column for test" in printed


def test_aligned_files_of_several_splits():
    for split, count in (("train", 60), ("dev", 20), ("test", 20)):
        write_lines(f"{split}.en", sentences(count))
        write_lines(f"{split}.de", sentences(count, seed=8))
    config, _, _ = described("train.en", "train.de")
    assert config.ingest.files["test"] == {"source": "test.en", "target": "test.de"}
    config, _, _ = described("*.de", "*.en", force=True)
    assert config.ingest.files["validation"] == {"source": "dev.de", "target": "dev.en"}


def test_files_that_are_written_differently():
    write_table("train.csv", labelled())
    write_table("test.csv", labelled(), delimiter=";")
    with pytest.raises(UserError, match=r"test\.csv is a table with semicolons .* with commas"):
        described("train.csv", "test.csv")
    write_objects("test.jsonl", labelled())
    with pytest.raises(UserError, match=r"test\.jsonl is jsonl, but train\.csv csv"):
        described("train.csv", "test.jsonl")


SPLIT_COLUMN = {
    "semi.csv": lambda rows, header: write_table("semi.csv", rows, header, "cp1252", delimiter=";"),
    "a b.tsv": lambda rows, header: write_table("a b.tsv", rows, header, delimiter="\t"),
    "a.jsonl": lambda rows, header: write_objects("a.jsonl", rows, header),
    "a.parquet": lambda rows, header: write_parquet("a.parquet", rows, header),
}


@pytest.mark.parametrize("name", SPLIT_COLUMN)
def test_a_column_that_says_the_split_is_told_of_with_a_command_that_cuts_the_file(name):
    splits = ["train"] * 8 + ["dev", "test"]
    rows = [(f"{text} é", label, splits[i % 10]) for i, (text, label) in enumerate(labelled())]
    _, _, printed = described(SPLIT_COLUMN[name](rows, ("text", "label", "split")))
    printed = " ".join(printed.split())
    assert "'split' seems to say which split a record is for: 'train' 96, 'dev' 12, 'test' 12" in printed
    command, _, then = printed.partition("give these: ")[2].partition(" written ")[0].partition(" && ")
    subprocess.run(shlex.split(command.replace("python", sys.executable, 1)), check=True)
    words = shlex.split(then)
    assert words[:2] == ["rnnpipe", "init"]
    config, _, printed = described(*words[2:], force=True)
    assert set(config.ingest.files) == {"train", "validation", "test"}
    assert "train 96 examples" in " ".join(printed.split())
    assert "seems to say" not in printed


def test_labels_that_train_lacks_are_warned_of():
    write_table("train.csv", labelled())
    write_table("test.csv", labelled(labels=("pos", "new")))
    assert "test has labels that train lacks, such as 'new'" in described("train.csv", "test.csv")[2]


def test_aligned_files_of_other_names_are_taken_in_the_order_given():
    for name in ("train.en", "train.de", "test.x", "test.y"):
        write_lines(name, sentences(40, seed=len(name)))
    config, _, _ = described("train.en", "train.de", "test.x", "test.y")
    assert config.ingest.files["test"] == {"source": "test.x", "target": "test.y"}
    write_table("b.csv", labelled())
    with pytest.raises(UserError, match=r"b\.csv is a table by its name, but the first file plain text"):
        described("train.en", "b.csv", force=True)


def test_aligned_files_of_numbers_are_text_to_text():
    """In a table such a column may be what regression would be for; in a file of its own it is the answer."""
    write_lines("n.words", [f"number {number}" for number in range(300)])
    write_lines("n.digits", [str(number) for number in range(300)])
    config, _, _ = described("n.words", "n.digits")
    assert config.task == "seq2seq"
    assert config.ingest.files["train"] == {"source": "n.words", "target": "n.digits"}


def _flattened(name):
    """Init's error, and the configuration once its advice was followed."""
    with pytest.raises(UserError) as error:
        described(name)
    command, _, then = str(error.value).partition("a column of its own: ")[2].partition(" && rnnpipe init ")
    subprocess.run(command.replace("python", sys.executable, 1), shell=True, check=True)
    return str(error.value), described(*shlex.split(then))[0]


@pytest.mark.skipif(not shutil.which("jq"), reason="jq is not installed")
@pytest.mark.parametrize("packed", [False, True])
def test_nested_json_can_be_taken_apart_as_is_advised(packed):
    rows = [({"text": text}, [{"label": label == "pos"}]) for text, label in labelled()]
    name = write_objects("a b.jsonl", rows, ("data", "notes"))
    if packed:
        subprocess.run(["gzip", name], check=True)
    error, config = _flattened(f"{name}.gz" if packed else name)
    assert "Nested values, as in 'data', 'notes', are not read" in error
    assert config.ingest.columns == {"text": "data_text", "label": "notes_0_label"}


def test_nested_parquet_can_be_taken_apart_as_is_advised():
    rows = [({"text": text}, label) for text, label in labelled()]
    error, config = _flattened(write_parquet("a b.parquet", rows, ("doc", "label")))
    assert "no column beside 'label' holds text" in error
    assert config.ingest.columns == {"text": "doc.text", "label": "label"}
    assert "Name it with" not in error


def test_a_nested_column_that_is_named_is_refused():
    name = write_objects(
        "a.jsonl", [({"text": text}, label) for text, label in labelled()], ("data", "label")
    )
    with pytest.raises(UserError, match=r"received --text data, which has nested values\..*: jq -c"):
        described(name, columns={"text": "data"})


def test_a_label_that_is_named_as_the_text_is_told_as_the_reason():
    name = write_table("a.csv", labelled())
    with pytest.raises(UserError, match=r"'label' is the text\. Name another column with --text\.$"):
        described(name, columns={"text": "label"})


def test_of_many_columns_those_that_are_read_are_shown():
    rows = [(i, *numbers(20, 0, 9, seed=i), *row) for i, row in enumerate(labelled())]
    header = ("", *(f"q{i}" for i in range(20)), "comment", "label")
    _, _, printed = described(write_table("a.csv", rows, header))
    lines = [line.split() for line in printed.splitlines()]
    assert ["(unnamed)", "such", "as", "'0'"] in lines
    assert [line[:3] for line in lines if "->" in line] == [
        ["comment", "->", "text;"],
        ["label", "->", "label;"],
    ]
    assert "q8" in printed
    assert "q9" not in printed
    assert "and 11 more columns" in printed


def test_labels_with_control_characters_say_so():
    rows = [(text, f"{label}\tx") for text, label in labelled()]
    with pytest.raises(
        UserError, match=r"label 'label' has values .*the first a label with the control .*0009"
    ):
        described(write_table("a.csv", rows), columns={"text": "text", "label": "label"})
