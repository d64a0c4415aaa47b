"""How init finds out how files are written."""

import csv
import gzip
import json
import os

import pyarrow as pa
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
from pyarrow import parquet

from components.errors import UserError
from components.ingest.checks import columns_of
from components.ingest.readers import read_records
from components.ingest.sources import find_sources
from pipeline.init import excerpt


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def records(config):
    """What ingest reads by a configuration."""
    columns = columns_of(config.ingest, config.task)
    sources = find_sources(config.ingest, config.task)
    return [record for source in sources for record in read_records(source, columns)]


def values(config):
    return [tuple(map(str, record.values)) for record in records(config)]


TABLES = [
    ("a.csv", {}, {}),
    ("a.tsv", {"delimiter": "\t"}, {}),
    ("a.csv", {"delimiter": ";"}, {"delimiter": ";"}),
    ("a.csv", {"delimiter": "\t"}, {"delimiter": "\t"}),
    ("a.csv", {"delimiter": "|", "quoting": csv.QUOTE_ALL}, {"delimiter": "|"}),
    ("a.tsv", {"delimiter": "\t", "quoting": csv.QUOTE_ALL}, {"quoting": True}),
    ("a.txt", {"delimiter": "\t"}, {"format": "tsv"}),
    ("a.data", {"delimiter": ";"}, {"format": "csv", "delimiter": ";"}),
    ("a.csv.gz", {"delimiter": ";", "packed": True}, {"delimiter": ";"}),
]


@pytest.mark.parametrize(("name", "dialect", "expected"), TABLES)
def test_tables(name, dialect, expected):
    rows = [(f"{text}, it is; so", label) for text, label in labelled()]
    config, _, _ = described(write_table(name, rows, **dialect))
    assert ingest_of(config) == {"files": name, **expected}
    assert values(config) == rows


@pytest.mark.parametrize("delimiter", [",", ";"])
def test_quoted_cells_with_line_ends_and_quotes(delimiter):
    rows = [(f'he said "{text}{delimiter}"\nand left', label) for text, label in labelled()]
    config, _, _ = described(write_table("a.csv", rows, delimiter=delimiter))
    assert values(config) == rows


def test_quotes_of_a_table_with_tabs_that_are_only_characters():
    rows = [(f'"{text}" they said', label) for text, label in labelled()]
    lines = ["text\tlabel", *("\t".join(row) for row in rows)]
    config, _, _ = described(write_lines("a.tsv", lines))
    assert config.ingest.quoting is None
    assert values(config) == rows


def test_excels_first_line():
    rows = labelled()
    lines = ["sep=;", "text;label", *(";".join(row) for row in rows)]
    config, _, printed = described(write_lines("a.csv", lines))
    assert values(config) == rows
    assert "semicolons" in printed


ENCODED = [
    ("cp1252", "Die Größe wäre schön für Käufer: {} €"),
    ("cp1252", "El niño comió en la montaña, ¿qué más? {}"),
    ("cp1252", "C'était très agréable, l'été à la plage, où ça va {}"),
    ("cp1250", "Świetny film, naprawdę żółta łódź, polecam każdemu {}"),
    ("cp1251", "Очень понравился фильм, смотрели всей семьёй {}"),
    ("gb18030", "中国队在比赛中获得了名次，教练表示满意 {}"),
    ("big5", "中國隊在比賽中獲得了名次，教練表示滿意 {}"),
    ("cp932", "今日は東京で雨が降りました、とても寒いです {}"),
    ("cp949", "정말 재미있는 영화였습니다 추천합니다 {}"),
    ("utf-16", "Größe und Preis wären gut {}"),
    ("utf-16-le", "Größe und Preis wären gut {}"),
    ("utf-8", "Größe, 中国, фильм {}"),
    ("utf-8-sig", "Größe, 中国, фильм {}"),
]


@pytest.mark.parametrize(("encoding", "text"), ENCODED)
def test_encodings(encoding, text):
    rows = [(text.format(i), "ab"[i % 2]) for i in range(60)]
    config, _, _ = described(write_table("a.csv", rows, delimiter=";", encoding=encoding))
    assert values(config) == rows
    assert config.ingest.encoding == {"utf-8-sig": "utf-8"}.get(encoding, encoding)


def test_an_encoding_that_is_given():
    rows = [(f"õ {i} abc def", "ab"[i % 2]) for i in range(60)]
    config, _, _ = described(write_table("a.csv", rows, encoding="cp1257"), encoding="cp1257")
    assert config.ingest.encoding == "cp1257"
    assert values(config) == rows


def test_what_comes_late_in_a_file_counts():
    rows = [*labelled(2_000), ("Größe wäre schön", "pos"), ("für Käufer", "neg")]
    config, _, _ = described(write_table("a.csv", rows, encoding="cp1252"))
    assert config.ingest.encoding == "cp1252"


def test_a_damaged_line_leaves_a_file_in_utf8(tmp_path):
    write_table("a.csv", [(f"{text} größer", label) for text, label in labelled()])
    with open("a.csv", "ab") as file:
        file.write(b"gr\xf6\xdfer,pos\n")
    config, _, _ = described("a.csv")
    assert config.ingest.encoding == "utf-8"
    assert sum(bool(record.reason) for record in records(config)) == 1


def test_files_in_several_encodings_are_refused():
    write_table("train.csv", [("Größe " + text, label) for text, label in labelled()], encoding="cp1252")
    write_table("test.csv", [("Größe " + text, label) for text, label in labelled()])
    with pytest.raises(UserError, match=r"train\.csv is in cp1252 and test\.csv in utf-8, .* iconv"):
        described("train.csv", "test.csv")


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
@pytest.mark.parametrize("labels", [("pos", "neg"), ("0", "1", "2")])
def test_tables_without_a_header_line(order, labels):
    rows = [tuple(row[i] for i in order) for row in labelled(labels=labels)]
    config, _, printed = described(write_table("a.csv", rows, header=None))
    assert config.ingest.columns == {"text": order.index(0), "label": order.index(1)}
    assert len(values(config)) == len(rows)
    assert "no header line" in printed


@pytest.mark.parametrize(
    "header",
    [
        ("text", "label"),
        ("Kundenmeinung", "Note"),
        ("内容", "标签"),
        ("utterance", "Intent Name"),
        ("a", "b"),
        ("Texte de l'avis", "Catégorie"),
        ("What did you think?", "Would you recommend us?"),
        ("Comment", "% match"),
    ],
)
def test_header_lines(header):
    rows = labelled()
    config, _, _ = described(write_table("a.csv", rows, header=header))
    assert values(config) == rows
    assert columns_of(config.ingest, "classification") == dict(zip(("text", "label"), header, strict=True))


def test_json_lines():
    rows = [(i, text, label, {"nested": [1]}) for i, (text, label) in enumerate(labelled())]
    config, _, _ = described(write_objects("a.jsonl", rows, ("id", "review", "stars", "meta")))
    assert ingest_of(config) == {"files": "a.jsonl", "columns": {"text": "review", "label": "stars"}}


def test_json_lines_under_another_name():
    config, _, _ = described(write_objects("a.json", labelled()))
    assert ingest_of(config) == {"files": "a.json", "format": "jsonl"}


def test_parquet():
    texts, labels = zip(*labelled(labels=(0, 1)), strict=True)
    columns = {"id": range(len(texts)), "sentence": texts, "label": labels, "vector": [[0.5]] * len(texts)}
    parquet.write_table(pa.table({name: list(column) for name, column in columns.items()}), "a.parquet")
    config, _, _ = described("a.parquet")
    assert ingest_of(config) == {"files": "a.parquet", "columns": {"text": "sentence", "label": "label"}}
    assert len(values(config)) == 120


def test_aligned_files():
    write_lines("train.src", sentences(60))
    write_lines("train.tgt", [text.upper() for text in sentences(60)])
    config, _, _ = described("train.src", "train.tgt")
    assert config.task == "seq2seq"
    assert config.ingest.files == {"train": {"source": "train.src", "target": "train.tgt"}}


def test_aligned_files_of_texts_and_labels():
    texts, labels = zip(*labelled(), strict=True)
    write_lines("labels.txt", labels)
    write_lines("texts.txt", texts)
    config, _, _ = described("*.txt")
    assert config.task == "classification"
    assert config.ingest.files == {"train": {"text": "texts.txt", "label": "labels.txt"}}


def test_aligned_files_can_be_named():
    write_lines("a.de", sentences(60))
    write_lines("b.en", sentences(60, seed=5))
    config, _, _ = described("a.de", "b.en", columns={"source": "b.en"})
    assert config.ingest.files == {"train": {"source": "b.en", "target": "a.de"}}


def test_files_in_a_bucket(s3):
    import fsspec

    write_table("train.csv", labelled(), delimiter=";")
    for split in ("train", "test"):
        with fsspec.open(f"{s3}/{split}.csv", "wb") as file, open("train.csv", "rb") as local:
            file.write(local.read())
    config, _, _ = described(f"{s3}/train.csv")
    assert config.ingest.files == {"train": f"{s3}/train.csv", "test": f"{s3}/test.csv"}
    assert config.ingest.delimiter == ";"


def write_bytes(name, data):
    with open(name, "wb") as file:
        file.write(data)
    return name


ERRORS = [
    ("missing.csv", lambda name: name, "init: there is no file 'missing.csv' in "),
    (
        "link.csv",
        lambda name: os.symlink("away", name) or name,
        "'link.csv' is a link to 'away', which leads to no",
    ),
    ("empty.csv", lambda name: write_bytes(name, b""), "empty.csv is empty"),
    ("blank.csv", lambda name: write_bytes(name, b"\n\n"), "blank.csv is empty"),
    ("b.csv", lambda name: write_bytes(name, bytes(range(256)) * 20), "b.csv is no text in any encoding"),
    ("b.csv", lambda name: write_bytes(name, b"PK\3\4" + bytes(99)), "a zip archive or an Excel workbook"),
    ("b.csv", lambda name: write_bytes(name, gzip.compress(b"a,b\n" * 9)), "a name that ends in .gz"),
    (
        "b.csv.gz",
        lambda name: write_bytes(name, b"a,b\n" * 9),
        "init: cannot read b.csv.gz: Not a gzipped file (b'a,'). Expected a whole, readable file of the "
        "format its name says. Check it",
    ),
    (
        "b.parquet",
        lambda name: write_bytes(name, b"PAR1 and no more"),
        "init: cannot read b.parquet: Parquet magic bytes not found in footer. Either the file is corrupted "
        "or this is not a parquet file. Expected a whole, readable file of the format its name says.",
    ),
    ("a.json", lambda name: write_bytes(name, json.dumps([{"a": 1}]).encode()), "one JSON array"),
    ("a.jsonl", lambda name: write_bytes(name, b"[1]\n[2]\n"), "expected JSON lines"),
    ("a.csv", lambda name: write_lines(name, ["text", *sentences(9)]), "only one column, 'text'"),
    ("a.txt", lambda name: write_lines(name, sentences(9)), "a table with one column for train"),
    (
        "mac.csv",
        lambda name: write_bytes(name, b"text,label\ra,b\rc,d\r"),
        "init: mac.csv: received lines that end with",
    ),
    (
        "a.csv",
        lambda name: write_lines(
            name, ["# exported 2024", "text,label", *(f"{t},{x}" for t, x in labelled())]
        ),
        "a.csv begins with '# exported 2024', but most lines have 2 cells; expected the header line first",
    ),
    (
        "a.csv",
        lambda name: write_lines(name, ["", "", "text,label", *(f"{t},{x}" for t, x in labelled())]),
        "a.csv begins with an empty line, but most lines have 2 cells",
    ),
    (
        "a.csv",
        lambda name: write_table(name, labelled(), delimiter="~"),
        "'text~label', expected two at least: text and label, or source and target. If there is another "
        "character than commas between the cells, name it with --delimiter; otherwise add the missing column",
    ),
    ("a.csv", lambda name: write_lines(name, ["review,sentiment"]), "'review', 'sentiment' and no records"),
    (
        "a.parquet",
        lambda name: write_parquet(name, [], ("text", "label")),
        "a.parquet has the columns 'text', 'label' and no records, expected records below them",
    ),
    (
        "a.csv",
        lambda name: write_lines(name, ["text,label", *(f"{t}, or so,{x}" for t, x in labelled())]),
        "a.csv: no row has as many cells as the header line, 2; the first is line 2 with 3 cells: ",
    ),
    (
        "a.jsonl",
        lambda name: write_lines(name, ['{"text": "a"}', '{"label": "b"}', '{"text": "c"}']),
        "a.jsonl: no line can be read, most for: no key 'label'. Expected an object with the same keys",
    ),
    (
        "folder",
        lambda name: os.mkdir(name) or name,
        "init: 'folder' is a directory; expected files, such as 'folder/*'",
    ),
    (".", lambda name: name, "init: '.' is a directory; expected files, such as './*'"),
]


@pytest.mark.parametrize(("name", "make", "message"), ERRORS, ids=[each[2] for each in ERRORS])
def test_files_that_are_no_data(name, make, message):
    with pytest.raises(UserError) as error:
        described(make(name))
    assert message in str(error.value)
    assert not os.path.exists("pipeline.yaml")


def test_errors_of_the_readers_speak_of_options():
    write_table("a.csv", [(text, label, text) for text, label in labelled()], ("body", "verdict", "body"))
    with pytest.raises(
        UserError, match=r"^init: a\.csv: 2 columns are called 'body', expected one for 'text'"
    ):
        described("a.csv", columns={"text": "body"})
    write_table("b.csv", labelled())
    with pytest.raises(UserError, match=r"^init: cannot read b\.csv: it is not utf-16: (?!.*ingest)"):
        described("b.csv", encoding="utf-16")
    write_table("train.csv", labelled())
    write_bytes("test.csv", b"text,label\ra,b\r")
    assert "note test.csv: left out. test.csv: received lines that" in " ".join(
        described("train.csv")[2].split()
    )


def test_aligned_files_of_unequal_length():
    write_lines("a.src", sentences(60))
    write_lines("a.tgt", sentences(59))
    with pytest.raises(UserError, match=r"a\.src has 60 lines and a\.tgt 59"):
        described("a.src", "a.tgt")


@pytest.mark.parametrize("name", ["large.csv", "large.csv.gz", "large.jsonl", "large.parquet"])
def test_large_files_sorted_by_label(name, monkeypatch):
    """An excerpt holds all labels, in about their shares."""
    # gzip reads far ahead, which counts in a small file.
    monkeypatch.setattr(excerpt, "WHOLE_BYTES", 300_000 if name.endswith("gz") else 40_000)
    monkeypatch.setattr(excerpt, "_HEAD_BYTES", 2_000)
    monkeypatch.setattr(excerpt, "_PIECE_BYTES", 2_000)
    monkeypatch.setattr(excerpt, "_ROWS", 2_000)
    monkeypatch.setattr(excerpt, "_BATCH", 64)
    rows = [(text, label) for label in ("a", "b", "c", "c") for text in sentences(3_000)]
    if name.endswith("parquet"):
        texts, labels = zip(*rows, strict=True)
        parquet.write_table(pa.table({"text": texts, "label": labels}), name, row_group_size=6_000)
    elif name.endswith("jsonl"):
        write_objects(name, rows)
    else:
        write_table(name, rows, packed=name.endswith("gz"))
    config, text, printed = described(name)
    assert "3 labels" in text
    assert 0.5 < config.evaluate.thresholds["accuracy"].min < 0.6
    about = int(printed.partition("of about ")[2].partition(" looked")[0].replace(",", ""))
    assert 10_000 < about < 14_000


def test_of_large_aligned_files_the_beginning_is_looked_at(monkeypatch):
    monkeypatch.setattr(excerpt, "WHOLE_BYTES", 20_000)
    write_lines("a.src", sentences(3_000))
    write_lines("a.tgt", sentences(3_000, seed=7))
    _, _, printed = described("a.src", "a.tgt")
    assert "were looked at: if the file is sorted" in printed
    about = int(printed.partition("of about ")[2].partition(" looked")[0].replace(",", ""))
    assert 2_500 < about < 3_500


ODD_HEADERS = [
    (("v1", "v2", "", "", ""), ("", "", "")),
    (("Kommentar", "Urteil", "", ""), ("", "")),
    (("1. What did you think of it, and what could we do better the next time?", "2. Would you?"), ()),
    (("", "what", "which"), ()),
    (("a", "b", "2019", "2020"), ("35", "52")),
    (("a", "b", "id", "id"), ("x", "y")),
]


@pytest.mark.parametrize(("header", "more"), ODD_HEADERS)
def test_a_first_row_without_any_label_of_the_others_is_a_header_line(header, more):
    rows = [(*row, *more) for row in labelled()]
    if len(header) > len(rows[0]):
        rows = [(str(number), *row) for number, row in enumerate(rows)]
    config, _, _ = described(write_table("a.csv", rows, header))
    text = rows[0].index(labelled()[0][0])
    assert values(config) == labelled()
    assert config.ingest.columns == {"text": header[text], "label": header[text + 1]}


@pytest.mark.parametrize("more", [(), ("", ""), ("x", "x")])
def test_a_first_row_with_a_label_of_the_others_is_none(more):
    rows = [(*row, *more) for row in labelled()]
    assert "no header line" in described(write_table("a.csv", rows, header=None))[2]


def test_a_header_line_that_stands_there_again_is_one():
    rows = labelled()
    config, _, _ = described(write_table("a.csv", [*rows, ("v2", "v1"), *rows], ("v2", "v1")))
    assert config.ingest.columns == {"text": "v2", "label": "v1"}


def test_chinese_texts_are_not_taken_for_a_name():
    signs = "中国队在比赛获得了名次"
    texts = [f"教练表示非常满意而且以后会更好{a}大家都很高兴继续努力{b}场" for a in signs for b in signs]
    rows = [(text, f"{text}吗") for text in texts]
    assert "no header line" in described(write_table("a.csv", rows, header=None))[2]


def test_a_header_line_that_nothing_tells_is_one_if_a_column_is_named():
    rows = labelled(labels=("0", "1"))
    name = write_table("a.csv", rows, header=("123 what", "456"))
    assert "no header line" in described(name)[2]
    config, _, _ = described(name, force=True, columns={"text": "123 what", "label": "456"})
    assert values(config) == rows


@pytest.mark.parametrize(("name", "expected"), [("a.csv", {}), ("a.txt", {"format": "csv"})])
def test_a_delimiter_that_is_given(name, expected):
    rows = labelled()
    write_table(name, rows, delimiter="~")
    with pytest.raises(
        UserError, match=r"name .*character between .*--delimiter|another character than commas"
    ):
        described(name)
    config, _, printed = described(name, delimiter="~")
    assert ingest_of(config) == {"files": name, "delimiter": "~", **expected}
    assert values(config) == rows
    assert "'~' between the cells" in printed


def test_a_delimiter_that_is_given_comes_before_what_is_found():
    write_table("a.csv", [(f"{text};x", label) for text, label in labelled()], ("a;b", "c"), delimiter=",")
    config, _, _ = described("a.csv", delimiter=";", columns={"text": "a", "label": "b,c"})
    assert config.ingest.delimiter == ";"


def test_nuls_in_cells_are_characters_as_any_other():
    rows = [(f"{text}\0 end", label) for text, label in labelled()]
    assert values(described(write_table("nul.csv", rows))[0]) == rows


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("encoding", ["utf-8", "cp1252"])
def test_of_large_files_with_line_ends_in_cells_the_beginning_is_looked_at(monkeypatch, packed, encoding):
    """A piece from elsewhere would begin within a cell, whose lines would then be records."""
    monkeypatch.setattr(excerpt, "WHOLE_BYTES", 400_000)
    monkeypatch.setattr(excerpt, "_HEAD_BYTES", 20_000)
    monkeypatch.setattr(excerpt, "_PIECE_BYTES", 20_000)
    lines = sentences(300)
    rows = [
        ("\n".join(f"ä {line}, {number}" for line in lines), f"label {number % 3}") for number in range(200)
    ]
    name = "large.csv.gz" if packed else "large.csv"
    config, text, printed = described(write_table(name, rows, encoding=encoding, packed=packed))
    assert "3 labels" in text
    assert "cells hold line ends, so only the beginning" in printed
    assert "warning" not in printed
    assert 0.33 < config.evaluate.thresholds["accuracy"].min < 0.8
    assert config.ingest.max_rejected == 0.05
