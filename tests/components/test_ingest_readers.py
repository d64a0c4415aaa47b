import csv
import gzip
import io
import json

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet
from upath import UPath

from components.errors import UserError
from components.ingest import lines, rows
from components.ingest.readers import read_records
from components.ingest.records import shown
from components.ingest.sources import Source

NAMES = {"text": "text", "label": "label"}


@pytest.fixture
def read(tmp_path):
    """Reads a file of these contents to (line, values, reason) each."""

    def run(kind, contents, columns=NAMES, name="data"):
        path = tmp_path / name
        path.write_bytes(contents if isinstance(contents, bytes) else contents.encode())
        records = read_records(Source(0, "train", kind, dict.fromkeys(columns, UPath(path))), columns)
        return [(record.line, record.values, record.reason) for record in records]

    return run


def test_a_quote_is_a_character_in_tsv(read):
    assert read("tsv", 'text\tlabel\n"a\tb\n\'c"\td\n') == [(2, ('"a', "b"), ""), (3, ("'c\"", "d"), "")]


def test_tsv_lines_end_with_or_without_carriage_return_and_the_last_one_with_nothing(read):
    assert read("tsv", "text\tlabel\r\na\tb\r\nc\td\ne\tf") == [
        (2, ("a", "b"), ""),
        (3, ("c", "d"), ""),
        (4, ("e", "f"), ""),
    ]


def test_only_line_feeds_end_lines(read):
    assert read("tsv", "text\tlabel\na\u2028b\x0bc\x85\td\n") == [(2, ("a\u2028b\x0bc\x85", "d"), "")]


def test_columns_are_chosen_by_name_in_any_order(read):
    columns = {"text": "body", "label": "class"}
    assert read("tsv", "class\tid\tbody\nx\t1\thello\n", columns) == [(2, ("hello", "x"), "")]


def test_positions_choose_columns_of_a_file_without_header(read):
    contents = "x\t1\thello\ny\t2\nz\t3\tbye\n"
    assert read("tsv", contents, {"text": 2, "label": 0}) == [
        (1, ("hello", "x"), ""),
        (2, (), "2 columns instead of 3"),
        (3, ("bye", "z"), ""),
    ]
    assert read("tsv", "x\n", {"text": 2, "label": 0}) == [(1, (), "1 columns instead of 3")]


def test_bad_tsv_lines_are_reported_where_they_stand(read):
    contents = b"text\tlabel\na\tb\n\xff\tb\n\na\n\xc3\xa9\tb\tc\nc\td\n\n\n"
    assert read("tsv", contents) == [
        (2, ("a", "b"), ""),
        (3, (), "not UTF-8"),
        (4, (), "empty line"),
        (5, (), "1 columns instead of 2"),
        (6, (), "3 columns instead of 2"),
        (7, ("c", "d"), ""),
    ]


@pytest.mark.parametrize(
    ("kind", "contents"),
    [
        ("tsv", "text\tlabel\na\tb\n"),
        ("csv", "text,label\na,b\n"),
        ("jsonl", '{"text": "a", "label": "b"}\n'),
    ],
)
def test_a_byte_order_mark_is_dropped_and_gzip_unpacked(read, kind, contents):
    expected = [(1 if kind == "jsonl" else 2, ("a", "b"), "")]
    assert read(kind, b"\xef\xbb\xbf" + contents.encode()) == expected
    assert read(kind, gzip.compress(contents.encode()), name="data.gz") == expected


def test_csv_cells_may_hold_commas_quotes_and_line_ends(read):
    contents = 'text,label\r\n"a, ""b""\r\nc\n\nd",x\r\ne,y\r\n"f\ng","z"'
    assert read("csv", contents) == [
        (2, ('a, "b"\r\nc\n\nd', "x"), ""),
        (6, ("e", "y"), ""),
        (7, ("f\ng", "z"), ""),
    ]


def test_csv_without_header(read):
    assert read("csv", '"a,b",x\n', {"text": 0, "label": 1}) == [(1, ("a,b", "x"), "")]


def test_an_unclosed_quote_costs_its_line_only(read):
    contents = 'text,label\na,x\n"b,x\nc,x\n"d",x\ne,x\n"f,x\ng,x\n'
    assert read("csv", contents) == [
        (2, ("a", "x"), ""),
        (3, (), "broken CSV: ',' expected after '\"'"),
        (4, ("c", "x"), ""),
        (5, ("d", "x"), ""),
        (6, ("e", "x"), ""),
        (7, (), "broken CSV: unexpected end of data"),
        (8, ("g", "x"), ""),
    ]


def test_a_quote_that_never_closes_does_not_take_the_file_into_memory(read, monkeypatch):
    monkeypatch.setattr(rows, "_RECORD_LIMIT", 50)
    try:
        records = read("csv", 'text,label\n"b,x\n' + "c,x\n" * 100)
    finally:
        csv.field_size_limit(131_072)
    assert records[0] == (2, (), "broken CSV: field larger than field limit (50)")
    assert records[1:] == [(3 + index, ("c", "x"), "") for index in range(100)]


def test_bad_csv_records_are_reported_where_they_start(read):
    contents = b'text,label\n"a\nb"\n"c\n\xff",x\n\nd,x\n\n'
    assert read("csv", contents) == [
        (2, (), "1 columns instead of 2"),
        (4, (), "not UTF-8"),
        (6, (), "empty line"),
        (7, ("d", "x"), ""),
    ]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), st.sampled_from("ab")
        ),
        min_size=1,
    )
)
def test_csv_reads_what_the_standard_library_writes(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("csv") / "data.csv"
    text = io.StringIO(newline="")
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows([("text", "label"), *rows])
    path.write_bytes(text.getvalue().encode())
    records = list(read_records(Source(0, "train", "csv", dict.fromkeys(NAMES, UPath(path))), NAMES))
    assert [record.values for record in records] == rows
    starts = [2 + sum(row[0].count("\n") + 1 for row in rows[:index]) for index in range(len(rows))]
    assert [record.line for record in records] == starts


@settings(max_examples=100, deadline=None)
@given(
    st.binary(max_size=300).map(lambda junk: b"text,label\n" + junk.replace(b"x", b'"').replace(b"\0", b"\n"))
)
def test_every_line_of_any_csv_is_in_one_record(tmp_path_factory, contents):
    path = tmp_path_factory.mktemp("csv") / "data.csv"
    path.write_bytes(contents)
    records = list(read_records(Source(0, "train", "csv", dict.fromkeys(NAMES, UPath(path))), NAMES))
    body = contents.split(b"\n", 1)[1]
    raw = b"".join(record.raw for record in records)
    assert body.startswith(raw)
    assert not body[len(raw) :].strip(b"\r\n")
    line = 2
    for record in records:
        assert record.line == line
        line += record.raw.count(b"\n")


def test_json_lines(read):
    lines = [
        json.dumps({"id": 1, "text": "a\n\u2028", "label": 0}),
        "{",
        "",
        "[1]",
        '{"text": "a"}',
        "9" * 5000,
        "[" * 200_000,
        '{"text": ["a"], "label": null}',
    ]
    assert read("jsonl", "\n".join(lines)) == [
        (1, ("a\n\u2028", 0), ""),
        (2, (), "invalid JSON: Expecting property name enclosed in double quotes"),
        (3, (), "empty line"),
        (4, (), "JSON of type list, not an object"),
        (5, (), "no key 'label'"),
        (6, (), "invalid JSON: number or nesting too large"),
        (7, (), "invalid JSON: number or nesting too large"),
        (8, (["a"], None), ""),
    ]
    assert read("jsonl", b'{"text": "\xe9"}\n') == [(1, (), "not UTF-8")]


def test_aligned_text_files(tmp_path):
    (tmp_path / "de").write_bytes(b"\xef\xbb\xbfeins\r\n\nzwei\ndrei\n\n")
    (tmp_path / "en").write_bytes(b"one\n\ntwo\n")
    source = Source(0, "train", "text", {"source": UPath(tmp_path, "de"), "target": UPath(tmp_path, "en")})
    records = list(read_records(source, {"source": "source", "target": "target"}))
    assert [(record.line, record.values, record.reason, record.field) for record in records] == [
        (1, ("eins", "one"), "", ""),
        (2, ("", ""), "", ""),
        (3, ("zwei", "two"), "", ""),
        (4, (), "no line of target goes with it", "source"),
    ]
    assert [shown(record.raw) for record in records] == ["eins\tone", "\t", "zwei\ttwo", "drei"]


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())])
def test_parquet(tmp_path, kind):
    path = str(tmp_path / "data.parquet")
    labels = pa.array(["x", None, "y"] * 1000, pa.string()).cast(kind)
    parquet.write_table(pa.table({"id": range(3000), "n": range(3000), "label": labels}), path)
    records = list(
        read_records(Source(0, "train", "parquet", {"text": UPath(path)}), {"text": "n", "label": "label"})
    )
    assert [record.line for record in records] == list(range(1, 3001))
    assert [record.values for record in records[:3]] == [(0, b"x"), (1, None), (2, b"y")]
    assert shown(records[0].raw) == '[0, "x"]'


def test_one_bad_parquet_row_spoils_no_other(tmp_path):
    path = str(tmp_path / "data.parquet")
    texts = pa.array([b"a", b"\xff", b"c"]).view(pa.string())
    parquet.write_table(pa.table({"text": texts}), path)
    records = read_records(Source(0, "train", "parquet", {"text": UPath(path)}), {"text": "text"})
    assert [record.values for record in records] == [(b"a",), (b"\xff",), (b"c",)]


def test_a_missing_column_is_named_with_those_there_are_and_the_nearest(read, tmp_path):
    with pytest.raises(UserError) as caught:
        read("tsv", "Texts\tlabel\nx\ty\n")
    assert str(caught.value) == (
        f"ingest: {tmp_path}/data: there is no column 'text', expected one for 'text'. "
        "It has: 'Texts', 'label'. Did you mean 'Texts'? Under `ingest`, set `columns: {text: Texts}`."
    )
    with pytest.raises(
        UserError, match=r"no column 'label'.*Under `ingest`, set `columns: {label: q}`, or another"
    ):
        read("csv", "text,q\nx,y\n")


def test_a_column_that_stands_there_twice_is_an_error(read):
    with pytest.raises(UserError, match=r"2 columns are called 'text'.*Rename all but one"):
        read("tsv", "text\ttext\tlabel\n")


@pytest.mark.parametrize("contents", ["", "\n\n", "\nx\ty\n", b"\xfftext\tlabel\n"])
def test_a_file_without_a_readable_header_is_an_error(read, contents):
    with pytest.raises(UserError, match="in the first line, expected the names of the columns, in UTF-8"):
        read("tsv", contents)


def test_files_that_cannot_be_read_are_errors(read, tmp_path):
    with pytest.raises(UserError, match=r"cannot read .*data\.gz: Compressed file ended before"):
        read("tsv", gzip.compress(b"text\tlabel\n" + b"a\tb\n" * 1000)[:-20], name="data.gz")
    with pytest.raises(UserError, match=r"cannot read .*x\.gz: Not a gzipped file"):
        read("tsv", "text\tlabel\n", name="x.gz")
    with pytest.raises(UserError, match=r"cannot read .*data: Parquet"):
        read("parquet", "text\tlabel\n")
    with pytest.raises(UserError, match=r"cannot read .*Is a directory.*Check it, its permissions"):
        list(read_records(Source(0, "train", "tsv", {"text": UPath(tmp_path)}), NAMES))


@pytest.mark.parametrize("kind", ["tsv", "csv", "jsonl"])
@pytest.mark.parametrize("length", [20, 39, 40, 41, 80, 95])
def test_a_line_beyond_the_limit_is_rejected_and_the_next_is_found(read, monkeypatch, kind, length):
    monkeypatch.setattr(lines, "_LINE_LIMIT", 40)
    good = {"tsv": "c\td\n", "csv": "c,d\n", "jsonl": '{"text": "c", "label": "d"}\n'}[kind]
    header = {"tsv": "text\tlabel\n", "csv": "text,label\n", "jsonl": "\n"}[kind]
    records = read(kind, header + "a" * (length - 1) + "\n" + good)
    assert (records[-2][2] == "line too long to be read") == (length > 40)
    assert records[-2][2]
    assert records[-1] == (3, ("c", "d"), "")
