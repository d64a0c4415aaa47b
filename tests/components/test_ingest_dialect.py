import re
from pathlib import Path

import pytest
from ingest_cases import ALL, examples, ingest, rejected
from pydantic import ValidationError
from ruamel.yaml import YAML

from components.errors import UserError
from components.ingest.advice import setting
from components.ingest.config import IngestConfig
from components.ingest.tables import HEADER, HEADER_AGAIN

ROWS = [("grün, 'ja'", "farbe"), ("drei", "zahl"), ("vier", "zahl"), ("rot", "farbe")]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def table(rows=ROWS, delimiter="\t", header=("text", "label")):
    return "".join(delimiter.join(row) + "\n" for row in [*([header] if header else []), *rows])


def refusal(config, task="classification"):
    with pytest.raises(UserError) as caught:
        ingest({**config, **ALL}, task)
    return str(caught.value).split(" [while running")[0]


def advised(message):
    """What the message says to set under `ingest`, as YAML has it."""
    settings = {}
    for advice in re.findall(r"[Uu]nder `ingest`, set `(.*?)`", message):
        settings |= YAML(typ="safe").load(advice)
    return settings


# Encodings


@pytest.mark.parametrize(
    ("encoding", "contents"),
    [
        ("utf-8", b"\xef\xbb\xbf" + table().encode()),
        ("UTF8", table().encode()),
        ("utf-8-sig", table().encode("utf-8-sig")),
        ("utf-16", table().encode("utf-16")),
        ("utf-16-le", b"\xff\xfe" + table().encode("utf-16-le")),
        ("utf-16-be", table().encode("utf-16-be")),
        ("utf-32", table().encode("utf-32")),
        ("cp1252", table().encode("cp1252")),
        ("latin1", table().replace("\n", "\r\n").encode("latin1")),
        ("cp500", table().encode("cp500")),
    ],
)
@pytest.mark.parametrize("kind", ["tsv", "csv"])
def test_tables_in_any_encoding(encoding, contents, kind):
    Path(f"a.{kind}").write_bytes(contents)
    made = ingest({"files": f"a.{kind}", "encoding": encoding, "delimiter": "\t", **ALL})
    assert examples(made) == ROWS


def test_other_formats_in_another_encoding():
    Path("a.jsonl").write_bytes('{"source": "日本", "target": "東京"}\n'.encode("shift_jis"))
    assert examples(
        ingest({"files": "a.jsonl", "encoding": "shift_jis", **ALL}, "seq2seq"), task="seq2seq"
    ) == [("日本", "東京")]
    Path("de").write_bytes("grün\n".encode("utf-16"))
    Path("en").write_bytes("green\n".encode("utf-16"))
    config = {"files": {"train": {"source": "de", "target": "en"}}, "encoding": "utf-16", **ALL}
    assert examples(ingest(config, "seq2seq"), task="seq2seq") == [("grün", "green")]


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_blocks_end_within_characters(monkeypatch, size):
    monkeypatch.setattr("components.ingest.encodings._BLOCK", size)
    Path("a.tsv").write_bytes(table([("🙂é", "x")]).encode("utf-16"))
    assert examples(ingest({"files": "a.tsv", "encoding": "utf-16", **ALL})) == [("🙂é", "x")]


@pytest.mark.parametrize(
    ("encoding", "good", "bad"),
    [
        ("cp1252", "grün\tx\n".encode("cp1252"), b"\x81\tx\n"),
        ("shift_jis", "日\tx\n".encode("shift_jis"), b"\x81\xff\tx\n"),
        ("utf-16-le", "grün\tx\n".encode("utf-16-le"), b"\x00\xd8" + "a\tx\n".encode("utf-16-le")),
    ],
)
def test_what_an_encoding_does_not_know_spoils_one_record(encoding, good, bad):
    header = "text\tlabel\n".encode(encoding)
    Path("a.tsv").write_bytes(header + good + bad + good)
    made = ingest({"files": "a.tsv", "encoding": encoding, "max_rejected": 1, **ALL})
    assert len(examples(made)) == 2
    assert [row[1:3] for row in rejected(made)] == [(3, f"not {encoding}")]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_another_unicode_encoding_is_recognised_and_the_advice_is_right(encoding):
    Path("a.tsv").write_bytes(table().encode(encoding))
    message = refusal({"files": "a.tsv"})
    assert f"a.tsv: received {encoding.upper()}, expected UTF-8" in message
    assert examples(ingest({"files": "a.tsv", **advised(message), **ALL})) == ROWS


def test_an_encoding_that_does_not_fit():
    Path("a.tsv").write_bytes(table([("grün", "x")] * 3).encode("cp1252"))
    message = refusal({"files": "a.tsv"})
    assert "3 x not UTF-8" in message
    assert examples(ingest({"files": "a.tsv", **advised(message), **ALL})) == [("grün", "x")] * 3
    Path("b.tsv").write_bytes(table().encode("utf-16-le"))
    assert "it is not utf-16: UTF-16 stream does not start with BOM" in refusal(
        {"files": "b.tsv", "encoding": "utf-16"}
    )


@pytest.mark.parametrize(
    "encoding", ["utf-61", "base64", "rot13", "punycode", "unicode_escape", "", "a\0b", "é"]
)
def test_what_is_no_encoding_is_refused(encoding):
    with pytest.raises(ValidationError, match="expected an encoding that Python knows"):
        IngestConfig(files="a", encoding=encoding)


@pytest.mark.parametrize("delimiter", ["", "||", "\n", "\r", '"', "\0", "\\t"])
def test_what_is_no_delimiter_is_refused(delimiter):
    with pytest.raises(ValidationError, match="expected one character that is no quote and no line end"):
        IngestConfig(files="a", delimiter=delimiter)


@pytest.mark.parametrize(
    ("name", "setting"),
    [("a.jsonl", {"delimiter": ";"}), ("a.jsonl", {"quoting": True}), ("a.parquet", {"encoding": "utf-16"})],
)
def test_a_setting_that_no_file_obeys_is_refused(name, setting):
    Path(name).touch()
    (key,) = setting
    assert f"received `ingest.{key}`, which is for" in refusal({"files": name, **setting})


# Delimiters and quotes


@pytest.mark.parametrize("kind", ["tsv", "csv"])
@pytest.mark.parametrize("delimiter", [";", "|", "\t", ",", "¦"])
def test_any_delimiter_with_and_without_quotes(kind, delimiter):
    Path(f"a.{kind}").write_text(f'text{delimiter}label\n"a{delimiter}b\n""c"""{delimiter}x\n')
    options = {"files": f"a.{kind}", "delimiter": delimiter, **ALL}
    assert examples(ingest({**options, "quoting": True})) == [(f'a{delimiter}b\n"c"', "x")]
    assert examples(ingest({**options, "quoting": False})) == [('"a', "b"), ('""c"""', "x")]


@pytest.mark.parametrize("first", ["sep=;\r\n", '\ufeff"sep=;"\n'])
def test_the_first_line_of_excel_says_the_delimiter(first):
    Path("a.csv").write_text(first + table([("a,b", "x"), ("", "y")], ";"))
    made = ingest({"files": "a.csv", "max_rejected": 1, **ALL})
    assert examples(made) == [("a,b", "x")]
    assert rejected(made)[0][1:3] == (4, "empty text")  # lines are counted from the first of the file
    Path("b.csv").write_text(first + table([("a", "x")], ";", header=()))
    assert examples(ingest({"files": "b.csv", "columns": {"text": 0, "label": 1}, **ALL})) == [("a", "x")]


@pytest.mark.parametrize(
    ("name", "contents"),
    [
        ("a.csv", table(delimiter=";")),
        ("a.csv", "\ufeff" + table(delimiter=";").replace("\n", "\r\n")),
        ("a.csv", '"text";"label"\n' + table(delimiter=";", header=())),
        ("a.csv", table(delimiter="|")),
        ("a.csv", table()),
        ("a.tsv", table([row for row in ROWS if "," not in row[0]], ",")),
        ("a.tsv", '"text"\t"label"\n' + table(header=())),
        ("a.tsv", '"text";"label"\n' + table(delimiter=";", header=())),
    ],
)
def test_the_advice_on_delimiters_and_quotes_can_be_pasted(name, contents):
    Path(name).write_text(contents, newline="")
    message = refusal({"files": name})
    assert len(message) < 500
    rows = [row for row in ROWS if row[0] in contents]
    assert examples(ingest({"files": name, **advised(message), **ALL})) == rows


def test_advice_without_a_header_line():
    Path("a.csv").write_text(table(delimiter=";", header=()))
    config = {"files": "a.csv", "columns": {"text": 0, "label": 1}}
    message = refusal(config)
    assert advised(message) == {"delimiter": ";"}
    assert examples(ingest({**config, **advised(message), **ALL})) == ROWS
    # Once a row was read, a semicolon is no hint.
    Path("b.csv").write_text("a,x\nb;x\n")
    made = ingest({**config, "files": "b.csv", "max_rejected": 1, **ALL})
    assert rejected(made)[0][2] == "1 columns instead of 2"


@pytest.mark.parametrize(
    "name", ["Text", "my text: x", "text{", '"te"xt\\', "text\u2028", "yes text", "tëxt 🙂"]
)
def test_the_advice_on_columns_can_be_pasted(name):
    Path("a.tsv").write_text(table(header=(name, "label")))
    message = refusal({"files": "a.tsv"})
    assert advised(message) == {"columns": {"text": name}}
    assert examples(ingest({"files": "a.tsv", **advised(message), **ALL})) == ROWS


@pytest.mark.parametrize("value", ["yes", "null", "1", "", "a: b", "\t", ";", "\x7f", "'", True, 3])
def test_settings_are_valid_yaml(value):
    assert advised(setting("key", value)) == {"key": value}


# Header lines


@pytest.mark.parametrize("kind", ["tsv", "csv"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_header_line_in_the_middle_is_no_example(kind, mark):
    delimiter = {"tsv": "\t", "csv": ";"}[kind]
    Path(f"a.{kind}").write_text((mark + table(delimiter=delimiter)) * 3)
    made = ingest({"files": f"a.{kind}", "delimiter": delimiter, "max_rejected": 2, **ALL})
    assert examples(made) == ROWS * 3
    assert [row[1:3] for row in rejected(made)] == [(6, HEADER_AGAIN), (11, HEADER_AGAIN)]
    assert set(made.statistics()["splits"]["train"]["labels"]) == {"farbe", "zahl"}


def test_columns_in_another_order_from_the_middle_on_stop_the_run():
    swapped = table([row[::-1] for row in ROWS], header=("label", "text"))
    Path("a.tsv").write_text(table() + swapped)
    assert "a.tsv:6: received a header line whose columns are in another order" in refusal({"files": "a.tsv"})


@pytest.mark.parametrize("header", [("text", "label"), ("ID", " Label "), ("Review", "class")])
def test_a_header_line_where_columns_have_positions_is_no_example(header):
    Path("a.tsv").write_text(table(header=header) * 2)
    config = {"files": "a.tsv", "columns": {"text": 0, "label": 1}, "max_rejected": 2, **ALL}
    made = ingest(config)
    assert examples(made) == ROWS * 2
    assert [row[1:3] for row in rejected(made)] == [(1, HEADER), (6, HEADER_AGAIN)]


def test_examples_of_such_words_further_down_are_examples():
    rows = [("drei", "zahl"), ("Review", "class"), ("text", "zahl")]
    Path("a.tsv").write_text(table(rows, header=()))
    assert examples(ingest({"files": "a.tsv", "columns": {"text": 0, "label": 1}, **ALL})) == rows


def test_header_lines_of_text_pairs_by_position():
    Path("a.tsv").write_text(table([("eins", "one")], header=("Source", "english")))
    config = {"files": "a.tsv", "columns": {"source": 0, "target": 1}, "max_rejected": 1, **ALL}
    assert examples(ingest(config, "seq2seq"), task="seq2seq") == [("eins", "one")]


@pytest.mark.parametrize(("header", "warned"), [("rating", True), ("farbe", False)])
def test_a_label_that_first_lines_alone_have_is_named(header, warned):
    for name in ("a.tsv", "b.tsv"):
        Path(name).write_text(table(header=("opinion", header)))
    made = ingest({"files": "?.tsv", "columns": {"text": 0, "label": 1}, **ALL})
    warnings = [warning for warning in made.summary["warnings"] if "header line" in warning]
    assert len(warnings) == warned
    assert not warned or warnings[0].startswith(
        "The label 'rating' occurs in the first line alone (such as a.tsv)"
    )
    by_name = ingest({"files": "?.tsv", "columns": {"text": "opinion", "label": header}, **ALL})
    assert not any("header line" in warning for warning in by_name.summary["warnings"])


# Line ends


@pytest.mark.parametrize("name", ["a.tsv", "a.csv", "a.jsonl"])
@pytest.mark.parametrize("end", ["", "\r"])
def test_lines_that_end_with_a_carriage_return_alone(name, end):
    line = {"a.tsv": "text\tlabel", "a.csv": "text,label", "a.jsonl": '{"text": "a", "label": "b"}'}[name]
    Path(name).write_bytes("\r".join([line] * 300_000).encode() + end.encode())
    message = refusal({"files": name})
    assert "a carriage return alone (" in message
    assert "tr '\\r' '\\n' < OLD > NEW" in message
    assert len(message) < 500


def test_a_header_line_of_megabytes_is_not_quoted_as_a_whole():
    Path("a.tsv").write_bytes(("text\rx\t" * 300_000).encode() + b"\n")
    message = refusal({"files": "a.tsv"})
    assert "and 299,981 more. Lines must end with a line feed" in message
    assert len(message) < 1000
    Path("b.tsv").write_bytes(b"x" * 3_000_000 + b"\ty\n")
    assert len(refusal({"files": "b.tsv"})) < 500
