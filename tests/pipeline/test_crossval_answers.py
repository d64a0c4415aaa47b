"""Out-of-fold answers: every record once, in the order of the files, in three formats."""

import csv
import json
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from components import files
from components.errors import UserError
from components.ingest.config import PLACE
from components.ingest.sources import Source
from pipeline.crossval.answers import answer_rows, check_output, columns_of, write_answers
from pipeline.crossval.results import Fold

FEW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def sources_of(count, folder="/data"):
    places = [files.resolve(f"{folder}/{number}.tsv") for number in range(count)]
    return [
        Source(number, "train", "tsv", {"text": place, "label": place}, {"text": f"{number}.tsv"})
        for number, place in enumerate(places)
    ]


class Answered:
    """Records of a fold, and the answers to them, as two artifacts have them."""

    def __init__(self, records, probability=False, part=3):
        self.records, self.probability, self.part = records, probability, part

    def parts_of(self, split):
        assert split == "test"
        return list(range(0, len(self.records), self.part))

    def batches(self, part, fields):
        rows = self.records[part : part + self.part]
        columns = {
            "text": [text for _, _, text, _ in rows],
            "label": [label for *_, label in rows],
            PLACE: [f"{source}:{line}" for source, line, *_ in rows],
        }
        kept = {name: [f"{name} of {text}" for text in columns["text"]] for name in fields}
        yield {name: columns.get(name, kept[name]) for name in fields}

    def predictions(self):
        for _, line, text, label in self.records:
            row = {"prediction": f"answer to {text}", "correct": label == "a", "score": line / 2}
            yield row | ({"probability": 0.25} if self.probability else {})


def folds_of(dealt, probability=False):
    tested = {number: Answered(records, probability) for number, records in dealt.items()}
    return [Fold(number, each, each) for number, each in tested.items()]


@st.composite
def dealt(draw):
    """Records of several files, each dealt to one of some folds."""
    counts = draw(st.lists(st.integers(0, 15), min_size=1, max_size=3))
    folds = draw(st.integers(2, 5))
    records = [
        (source, line, f"text {source} {line}", draw(st.sampled_from("ab")))
        for source, count in enumerate(counts)
        for line in range(2, count + 2)
    ]
    of = {number: [] for number in range(1, folds + 1)}
    for record in records:
        of[draw(st.integers(1, folds))].append(record)
    return records, of


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_a_fold_whose_model_knows_a_third_label_has_no_probabilities(tmp_path, suffix):
    folds = [
        Fold(number, each, each)
        for number, each in enumerate((Answered(RECORDS[1]), Answered(RECORDS[2], probability=True)), 1)
    ]
    rows = written(tmp_path / f"answers{suffix}", folds=folds)
    probabilities = {row["fold"]: row["probability"] for row in rows}
    missing, known = ("", "0.25") if suffix == ".csv" else (None, 0.25)
    assert probabilities == ({"1": missing, "2": known} if suffix == ".csv" else {1: missing, 2: known})


@FEW
@given(dealt())
def test_every_record_is_there_once_in_the_order_of_the_files(drawn):
    records, of = drawn
    rows = list(answer_rows(folds_of(of), sources_of(3), "classification", ["by"]))
    assert [(row["id"], row["text"], row["label"]) for row in rows] == [
        (f"{source}.tsv:{line}", text, label) for source, line, text, label in records
    ]
    numbers = {text: number for number, own in of.items() for _, _, text, _ in own}
    for row in rows:
        assert row["fold"] == numbers[row["text"]]
        assert row["answer"] == f"answer to {row['text']}"
        assert row["by"] == f"by of {row['text']}"
        assert row["correct"] == (row["label"] == "a")


RECORDS = {
    1: [(0, 2, 'a "quoted", text', "a"), (1, 2, "two\nlines", "b")],
    2: [(0, 3, "größer", "a")],
}


def written(path, keep=("by",), folds=None):
    """What stands in the file, with the types that its format has."""
    count = write_answers(path, folds or folds_of(RECORDS), sources_of(2), "classification", list(keep))
    if path.suffix == ".parquet":
        rows = parquet.read_table(path).to_pylist()
    elif path.suffix == ".jsonl":
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:-1]]
    else:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    assert len(rows) == count
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    return rows


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_all_formats_hold_the_same(tmp_path, suffix):
    rows = written(tmp_path / f"answers.{suffix}")
    assert list(rows[0]) == ["id", "text", "label", "answer", "correct", "score", "fold", "by"]
    assert [row["id"] for row in rows] == ["0.tsv:2", "0.tsv:3", "1.tsv:2"]
    assert [row["text"] for row in rows] == ['a "quoted", text', "größer", "two\nlines"]
    first = rows[0]
    if suffix == "csv":
        assert (first["correct"], first["score"], first["fold"]) == ("true", "1.0", "1")
    else:
        assert (first["correct"], first["score"], first["fold"]) == (True, 1.0, 1)


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_the_probability_of_two_labels_is_a_column(tmp_path, suffix):
    rows = written(tmp_path / f"answers.{suffix}", folds=folds_of(RECORDS, probability=True))
    assert [float(row["probability"]) for row in rows] == [0.25] * 3


def test_kept_columns_whose_names_are_taken_are_called_otherwise(tmp_path):
    assert columns_of("seq2seq", ["fold", "by"])[-2:] == ["kept_fold", "by"]
    (row, *_) = written(tmp_path / "answers.jsonl", keep=["fold"])
    assert row["fold"] == 1
    assert row["kept_fold"].startswith("fold of")


def test_folds_that_were_not_measured_are_left_out(tmp_path):
    rows = written(tmp_path / "a.csv", folds=[*folds_of({1: RECORDS[1]}), Fold(2, None, None, "it failed")])
    assert [row["id"] for row in rows] == ["0.tsv:2", "1.tsv:2"]


def test_a_failure_leaves_no_file_and_what_was_there(tmp_path):
    (tmp_path / "a.csv").write_text("before")
    broken = Answered(RECORDS[1])
    broken.predictions = lambda: iter([])
    with pytest.raises(ValueError, match="shorter"):
        write_answers(tmp_path / "a.csv", [Fold(1, broken, broken)], sources_of(2), "classification", [])
    assert [each.name for each in tmp_path.iterdir()] == ["a.csv"]
    assert (tmp_path / "a.csv").read_text() == "before"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a.txt", "ends in .csv, .jsonl, .parquet"),
        ("nowhere/a.csv", "no directory"),
        ("folder.csv", "is a directory"),
        ("0.tsv", "ends in"),
        ("in.csv", "is one of the files that are read"),
    ],
)
def test_what_cannot_be_written_is_refused_at_once(tmp_path, name, message):
    (tmp_path / "folder.csv").mkdir()
    source = SimpleNamespace(files={"text": files.resolve(tmp_path / "in.csv")})
    with pytest.raises(UserError, match=message):
        check_output(tmp_path / name, [source])
