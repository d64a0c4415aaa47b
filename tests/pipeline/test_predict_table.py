"""Files of texts in, files of answers out: in order, with the columns that say which is which."""

import csv
import datetime
import decimal
import io
import json
import math
import os

import pyarrow
import pytest
import tensorflow as tf
from called import call
from pyarrow import parquet
from rich.console import Console

from components.errors import UserError
from components.export.saved_model import export_saved_model
from components.ingest.sources import Dialect
from pipeline.serving.predict_table import predict_table

ROWS = [("7", "东京 🙂", "x"), ("8", 'say "é";\nok', ""), ("9", "", "y"), ("10", "unspeakable", "z")]


def reverse(text):
    tf.debugging.assert_none_equal(text, "unspeakable", message="cannot say this")
    characters = tf.strings.unicode_split(text, "UTF-8").to_tensor()
    length = tf.cast(tf.strings.length(text, "UTF8_CHAR"), tf.float32)
    return {"prediction": tf.strings.reduce_join(tf.reverse(characters, [1]), axis=1), "score": length}


def classify(inputs):
    text = tf.io.parse_example(inputs, {"text": tf.io.FixedLenFeature([], tf.string)})["text"]
    rows = tf.shape(text)[0]
    return {
        "classes": tf.repeat(tf.constant([["short", "länger"]]), rows, axis=0),
        "scores": tf.repeat(tf.constant([[0.25, 0.75]]), rows, axis=0),
    }


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "reverse"
    export_saved_model({"serving_default": reverse, "classify": classify}, [], str(folder))
    return str(folder)


@pytest.fixture
def told():
    return io.StringIO()


@pytest.fixture
def answer(model, told):
    def run(inputs, *arguments, **options):
        shown = []
        predict_table(
            model, str(inputs), *arguments, **options, console=Console(file=told), show=shown.append
        )
        return [json.loads(line) for line in shown]

    return run


@pytest.fixture
def table(tmp_path):
    """A table as spreadsheets in Europe write it."""
    path = tmp_path / "in.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=";")
        writer.writerows([("id", "body", "note"), *ROWS])
    return path


EUROPEAN = Dialect(";", True)


def test_order_columns_and_errors_are_kept(answer, table, told):
    found = answer(table, "body", ["id", "note"], dialect=EUROPEAN, batch_size=2)
    assert [row["id"] for row in found] == [row[0] for row in ROWS]
    assert found[0] == {"id": "7", "note": "x", "input": "东京 🙂", "prediction": "🙂 京东", "score": 4.0}
    assert found[1]["prediction"] == 'ko\n;"é" yas'
    assert found[2]["error"].endswith("in.csv:5: empty text")
    assert "in.csv:6: no answer: " in found[3]["error"]
    assert "cannot say this" in found[3]["error"]
    assert "answered 2 of 4 records in" in told.getvalue()
    assert (
        f"2 could not be, the first: {os.path.relpath(table)}" in told.getvalue()
        or "in.csv" in told.getvalue()
    )


@pytest.mark.parametrize("end", ["csv", "jsonl", "parquet"])
def test_what_is_written_is_what_is_shown(answer, table, tmp_path, end, told):
    shown = answer(table, "body", ["id"], dialect=EUROPEAN)
    output = tmp_path / "new" / f"out.{end}"
    assert answer(table, "body", ["id"], str(output), dialect=EUROPEAN, batch_size=3) == []
    if end == "jsonl":
        rows = [json.loads(line) for line in output.read_text("utf-8").splitlines()]
    elif end == "csv":
        with output.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        for row in rows:
            row["score"] = float(row["score"]) if row["score"] else ""
    else:
        rows = parquet.read_table(output).to_pylist()
    assert [list(row) for row in rows if end != "jsonl"] == [
        ["id", "input", "error", "prediction", "score"] for _ in rows if end != "jsonl"
    ]
    assert [{name: value for name, value in row.items() if value not in ("", None)} for row in rows] == [
        {name: value for name, value in row.items() if value not in ("", None)} for row in shown
    ]
    assert f"written to {output}" in told.getvalue().replace("\n", "")
    assert os.listdir(output.parent) == [output.name]


@pytest.mark.parametrize("end", ["csv", "parquet"])
def test_lists_are_written(answer, tmp_path, end):
    (tmp_path / "in.txt").write_text("a\nb\n", "utf-8")
    output = tmp_path / f"out.{end}"
    answer(tmp_path / "in.txt", output=str(output), signature="classify")
    if end == "csv":
        with output.open(encoding="utf-8", newline="") as file:
            scores = [json.loads(row["scores"]) for row in csv.DictReader(file)]
    else:
        scores = parquet.read_table(output)["scores"].to_pylist()
    assert scores == [[0.25, 0.75]] * 2


def test_every_format_that_ingest_reads(answer, tmp_path):
    (tmp_path / "a.tsv").write_text("n\ttext\n1\tone\n", "utf-8")
    (tmp_path / "b.jsonl").write_text('{"text": "two", "n": 2}\n{"n": 3}\n', "utf-8")
    parquet.write_table(pyarrow.table({"text": ["three"], "n": [4]}), tmp_path / "c.parquet")
    (tmp_path / "d.txt").write_bytes(b"\xef\xbb\xbffour\nf\xffve\n")
    assert [row["prediction"] for row in answer(tmp_path / "a.tsv", keep=["n"])] == ["eno"]
    two, missing = answer(tmp_path / "b.jsonl", keep=["n"])
    assert (two["prediction"], two["n"]) == ("owt", 2)
    assert missing["error"].endswith("b.jsonl:2: no key 'text'")
    assert missing["n"] == 3
    assert answer(tmp_path / "c.parquet", keep=["n"])[0]["n"] == 4
    four, five = answer(tmp_path / "d.txt")
    assert four["prediction"] == "ruof"
    assert "UTF-8" in five["error"]


def test_a_record_that_cannot_be_read_keeps_what_can_be(answer, tmp_path):
    """Behind a delimiter too many the cells are not where they belong."""
    (tmp_path / "a.csv").write_bytes(b'id,text,n\n1,one,x\n2,two, or so,y\n3\n4,f\xfcr,z\n\n5,"a\n')
    (tmp_path / "b.tsv").write_bytes(b"id\ttext\tn\n1\tone\tx\n4\tf\xfcr\tz\n")
    (tmp_path / "c.jsonl").write_bytes(b'{"id": 1, "text": "one"}\n{"id": 4, "text": "f\xfcr"}\n{"id": 5\n')
    one, two, three, four, empty, five = answer(tmp_path / "a.csv", keep=["id", "n"])
    assert (one["id"], one["n"]) == ("1", "x")
    assert (two["id"], three["id"], four["id"], four["n"]) == ("2", "3", "4", "z")
    assert "n" not in two
    assert two["error"].endswith("a.csv:3: 4 columns instead of 3")
    assert four["error"].endswith("a.csv:5: not UTF-8")
    assert empty == {"input": "", "error": empty["error"]}
    assert "a.csv:7: broken CSV" in five["error"]
    assert [row["id"] for row in answer(tmp_path / "b.tsv", keep=["id"])] == ["1", "4"]
    *rows, broken = answer(tmp_path / "c.jsonl", keep=["id"])
    assert [row["id"] for row in rows] == [1, 4]
    assert "c.jsonl:3: invalid JSON" in broken["error"]


def test_texts_of_any_length_are_answered(answer, tmp_path):
    """As on standard input: the model cuts them itself."""
    long = "ab" * 30_000
    (tmp_path / "a.csv").write_text(f"text\n{long}\n", "utf-8")
    assert [row["prediction"] for row in answer(tmp_path / "a.csv")] == [long[::-1]]


GERMAN = "Die Lieferung war schön, günstig und größer als erwartet. Das Zimmer war überteuert und hässlich."


def test_another_encoding_is_told_as_one(answer, tmp_path, told):
    table = tmp_path / "a.csv"
    rows = [f'{number},"{GERMAN}"\n' for number in range(9)]
    table.write_text("".join(["id,text\n", *rows]), "cp1252")
    with pytest.raises(
        UserError, match=r"none of 9 .*not UTF-8\. .*a\.csv looks like cp1252.*: give --encoding cp1252"
    ):
        answer(table)
    table.write_text("".join(["id,text\n", "0,plain\n", *rows]), "cp1252")
    assert len(answer(table)) == 10
    assert "looks like cp1252" in told.getvalue()
    table.write_text("".join(["id,text,größer\n", *rows]), "cp1252")
    with pytest.raises(UserError, match=r"not UTF-8 in the first line, .*Set --encoding .*looks like cp1252"):
        answer(table)


def test_a_damaged_record_does_not_make_an_encoding(answer, tmp_path, told):
    (tmp_path / "a.csv").write_bytes(b"text\n" + f'"{GERMAN}"\n'.encode() * 9 + b"f\xfcr\n")
    assert len(answer(tmp_path / "a.csv")) == 10
    assert "1 could not be" in told.getvalue()
    assert "--encoding" not in told.getvalue()


def test_positions_where_there_is_no_header(answer, tmp_path):
    (tmp_path / "a.tsv").write_text("1\tone\n2\ttwo\n", "utf-8")
    found = answer(tmp_path / "a.tsv", "1", ["0"])
    assert [(row["0"], row["prediction"]) for row in found] == [("1", "eno"), ("2", "owt")]


def test_any_name_that_the_answers_lack_is_kept(answer, tmp_path):
    """Also those that a run's own columns have, and the text's."""
    names = ["label", "target", "source", "length", "unknown", "text", "a=b", "a, b"]
    (tmp_path / "a.jsonl").write_text(json.dumps({"body": "one"} | {name: name for name in names}), "utf-8")
    (row,) = answer(tmp_path / "a.jsonl", "body", names)
    assert {name: row[name] for name in names} == {name: name for name in names}
    (tmp_path / "b.csv").write_text("text,target\none,eno\n", "utf-8")
    (row,) = answer(tmp_path / "b.csv", None, ["target", "text", "target"])
    assert row == {"target": "eno", "text": "one", "input": "one", "prediction": "eno", "score": 3.0}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("text",), "there is no column 'text'.*Give --column "),
        (("body", ["ID"]), "there is no column 'ID'.* Did you mean 'id'\\? Give --keep id"),
        (("body", ["a, b"]), "there is no column 'a, b', .*Give --keep "),
        (("body", ["score"]), "--keep score, expected none of input, .*Rename the column in the file"),
        (("body", ["id"], "out.xlsx"), "received --output out.xlsx, expected a name that ends in .csv"),
    ],
)
def test_wrong_options_are_told_in_their_own_words(answer, table, arguments, message):
    with pytest.raises(UserError, match=message) as caught:
        answer(table, *arguments, dialect=EUROPEAN)
    assert "ingest" not in str(caught.value)


def test_only_a_column_of_nearly_that_name_is_meant(answer, tmp_path):
    for name, text in (
        ("a.csv", "id,body,note\n1,one,x\n"),
        ("a.jsonl", '{"id": 1, "body": "b", "note": 2}\n'),
    ):
        (tmp_path / name).write_text(text, "utf-8")
        with pytest.raises(
            UserError, match=r"no column 'text', .*It has: 'id', 'body', 'note'.* Give --col"
        ) as no:
            answer(tmp_path / name)
        assert "Did you mean" not in str(no.value)
        with pytest.raises(UserError, match=r"Did you mean 'body'\? Give --column body"):
            answer(tmp_path / name, "boddy")


def test_an_output_that_is_read_is_refused(answer, table):
    before = table.read_bytes()
    with pytest.raises(UserError, match="which is read; expected another file"):
        answer(table, "body", [], str(table), dialect=EUROPEAN)
    assert table.read_bytes() == before


def test_nothing_is_left_where_nothing_could_be_answered(answer, tmp_path):
    (tmp_path / "in.txt").write_text("unspeakable\n", "utf-8")
    (tmp_path / "out.csv").write_text("from before", "utf-8")
    with pytest.raises(UserError, match=r"answered none of 1 records; the first: .*in.txt:1: no answer"):
        answer(tmp_path / "in.txt", output=str(tmp_path / "out.csv"))
    assert (tmp_path / "out.csv").read_text("utf-8") == "from before"
    assert sorted(os.listdir(tmp_path)) == ["in.txt", "out.csv"]


@pytest.mark.parametrize("end", ["csv", "jsonl", "parquet"])
def test_a_day_without_records_is_no_failure(answer, tmp_path, told, end):
    (tmp_path / "in.csv").write_text("id,text\n", "utf-8")
    output = tmp_path / f"out.{end}"
    answer(tmp_path / "in.csv", None, ["id"], str(output))
    assert told.getvalue() == f"no records, written to {output}\n"
    assert _rows_of(output) == []
    columns = ["id", "input", "error", "prediction", "score"]
    if end == "csv":
        assert output.read_text("utf-8") == ",".join(columns) + "\n"
    if end == "parquet":
        assert parquet.read_schema(output).names == columns
    (tmp_path / "in.txt").touch()
    assert answer(tmp_path / "in.txt") == []


@pytest.mark.parametrize(("option", "value"), [("--column", "text"), ("--encoding", "cp1252")])
def test_options_of_a_file_need_one(option, value):
    code, _, error, heavy = call("predict", "serving/dates", option, value)
    assert (code, heavy) == (1, [])
    assert f"received {option} without --input" in error


ODD = [" a ", "gut\rschlecht", "x\r\ny", "é", "1e5", ""]


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_what_is_kept_comes_back_as_it_was(model, tmp_path, told, suffix):
    source, target = tmp_path / "in.jsonl", tmp_path / f"out{suffix}"
    rows = [{"source": f"text {place}", "id": value, "more": "z" * 30_000} for place, value in enumerate(ODD)]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    predict_table(model, str(source), "source", ["id", "more"], str(target), console=Console(file=told))
    found = _rows_of(target)
    assert [row["id"] for row in found] == ODD
    assert {len(row["more"]) for row in found} == {30_000}


def test_values_that_are_kept_stay_what_they_are_in_json(answer, tmp_path):
    source = tmp_path / "in.jsonl"
    kept = {"id": {"k": [1, "é"]}, "n": 1.5, "whole": 10**20, "b": True, "none": None, "text": "7"}
    odd = '"half": "\\ud800", "halves": ["\\ud800"], "nan": NaN, "nans": [NaN]'
    source.write_text(f'{{"source": "ab", {json.dumps(kept)[1:-1]}, {odd}}}\n')
    names = [*kept, "half", "halves", "nan", "nans"]
    (row,) = answer(source, "source", names)
    assert {name: row[name] for name in kept} == kept
    assert (row["half"], row["halves"], row["nan"], row["nans"]) == ("\\ud800", '["\\ud800"]', None, "[NaN]")
    for end in ("csv", "jsonl", "parquet"):
        answer(source, "source", names, str(tmp_path / f"out.{end}"))
    (line,) = _rows_of(tmp_path / "out.jsonl")
    assert {name: line[name] for name in kept} == kept
    (cells,), (columns,) = _rows_of(tmp_path / "out.csv"), _rows_of(tmp_path / "out.parquet")
    strings = {"id": '{"k": [1, "é"]}', "n": "1.5", "whole": str(10**20), "b": "true", "text": "7"}
    assert {name: cells[name] for name in strings} == {name: columns[name] for name in strings} == strings
    assert (cells["none"], columns["none"]) == ("", None)


def test_values_of_parquet_stay_what_they_are_in_json(answer, tmp_path):
    day = datetime.date(2026, 3, 1)
    kept = {"n": [1, None], "day": [day, day], "price": [decimal.Decimal("1.50")] * 2, "x": [math.nan, 0.5]}
    parquet.write_table(pyarrow.table({"text": ["a", "b"], **kept}), tmp_path / "in.parquet")
    one, two = answer(tmp_path / "in.parquet", None, [*kept])
    assert [one[name] for name in kept] == [1, "2026-03-01", "1.50", None]
    assert [two[name] for name in kept] == [None, "2026-03-01", "1.50", 0.5]


def test_parquet_has_few_row_groups(model, tmp_path, told):
    source, target = tmp_path / "in.txt", tmp_path / "out.parquet"
    source.write_text("ab\n" * 300)
    predict_table(model, str(source), output=str(target), batch_size=4, console=Console(file=told))
    assert parquet.ParquetFile(target).num_row_groups == 1
    assert len(_rows_of(target)) == 300


def test_a_position_beside_a_name_is_refused(answer, table):
    with pytest.raises(UserError, match=r"--column 1, a position, and --keep id, a name; expected positions"):
        answer(table, "1", ["id"], dialect=EUROPEAN)


def test_nothing_is_answered_for_a_directory(answer, table, tmp_path):
    (tmp_path / "out.csv").mkdir()
    with pytest.raises(UserError, match=r"--output .*out\.csv, which is a directory; expected a file"):
        answer(table, "body", output=str(tmp_path / "out.csv"), dialect=EUROPEAN)


def test_an_output_that_cannot_be_written_is_told(answer, table, tmp_path):
    (tmp_path / "file.csv").write_text("x")
    with pytest.raises(
        UserError, match=r"received --output .*, but .*/file.csv is a file; .* Give another one"
    ):
        answer(table, "body", [], f"{tmp_path}/file.csv/new/out.csv", dialect=EUROPEAN)
    with pytest.raises(
        UserError, match=r"received --output /proc/.*, which cannot be written \(.*Give another"
    ):
        answer(table, "body", [], "/proc/x/out.csv", dialect=EUROPEAN)


def test_what_a_killed_command_left_is_removed(model, tmp_path, told):
    source, old, new = tmp_path / "in.txt", tmp_path / ".rnnpipe-old.csv", tmp_path / ".rnnpipe-new.csv"
    source.write_text("ab\n")
    for left in (old, new):
        left.write_text("half")
    os.utime(old, (0, 0))
    predict_table(model, str(source), output=str(tmp_path / "out.csv"), console=Console(file=told))
    assert not old.exists()
    assert new.exists()  # another command may be writing it


def _rows_of(path):
    if path.suffix == ".parquet":
        return parquet.read_table(path).to_pylist()
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:-1]]
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
