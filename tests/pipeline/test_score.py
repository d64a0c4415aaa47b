import csv
import gzip
import io
import itertools
import json
import math
import os
import subprocess
import sys
import threading
from pathlib import Path

import pyarrow
import pytest
import tensorflow as tf
import tiny
from made_models import push
from pyarrow import parquet
from rich.console import Console

from components.errors import UserError
from components.export.saved_model import export_saved_model
from components.export.session import SavedModelSession
from components.ingest.sources import Dialect
from pipeline.serving import pairs
from pipeline.serving.predict import predict
from pipeline.serving.score import score

LABELS = ["kurz", "länger"]
ROWS = [
    ("東京 🙂", "länger"),
    ("a", "kurz"),
    ("", "kurz"),
    ('say "é", ok', " kurz "),
    ("b", "other"),
    ("c", ""),
]


def reverse(text):
    return {"prediction": text, "score": tf.ones(tf.shape(text))}


def score_labels(text, target):
    """Texts of more than two characters are longer with a probability of 3/4, others are shorter."""
    is_long = tf.strings.length(text, "UTF8_CHAR") > 2
    tf.debugging.assert_none_equal(text, "unspeakable", message="cannot read this")
    expected = tf.where(is_long, LABELS[1], LABELS[0])
    known = tf.reduce_any(target[:, None] == tf.constant([LABELS]), axis=1)
    probability = tf.where(known, tf.where(target == expected, 0.75, 0.25), 0.0)
    return {"probability": probability, "log_probability": tf.math.log(probability), "known": known}


def score_texts(text, target):
    """Every character of the target, and its end, has the probability 1/2."""
    tokens = tf.strings.length(target, "UTF8_CHAR") + 1
    log_probability = tf.cast(tokens, tf.float32) * math.log(0.5)
    return {
        "log_probability": log_probability,
        "score": log_probability / 2 + 0.0 * tf.cast(tf.strings.length(text), tf.float32),
        "tokens": tokens,
        "known": ~tf.strings.regex_full_match(target, ".*🙂.*"),
        "target_tokens": target[:, None],
    }


def exported(folder, **signatures):
    export_saved_model({"serving_default": reverse, **signatures}, [], str(folder))
    return str(folder)


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    return exported(tmp_path_factory.mktemp("classifier") / "größer 東京", score=score_labels)


@pytest.fixture(scope="module")
def rewriter(tmp_path_factory):
    return exported(tmp_path_factory.mktemp("rewriter") / "model", score=score_texts)


@pytest.fixture
def said():
    return io.StringIO()


@pytest.fixture
def ask(said):
    """Scores; returns the rows. What is told is in `said`."""

    def run(model, *tables, lines=(), **arguments):
        console = Console(file=said, width=40)
        return [json.loads(row) for row in score(model, tables, lines, console=console, **arguments)]

    return run


@pytest.mark.parametrize("as_lines", [False, True])
def test_tables_and_lines_are_read_as_ingest_reads_them(ask, classifier, tmp_path, as_lines):
    rows = b"abc\tla\xcc\x88nger\r\r\na\t kurz\x00\na\t kurz \n"
    table = tmp_path / "a.tsv"
    table.write_bytes(b"\xef\xbb\xbftext\tlabel\n" + rows)
    if as_lines:
        found = ask(classifier, lines=io.BytesIO(b"\xef\xbb\xbf" + rows))
    else:
        found = ask(classifier, str(table))
    assert [(row["input"], row["target"], row["probability"]) for row in found] == [
        ("abc", "l\u00e4nger", 0.75),
        ("a", "kurz", 0.75),
    ]


def test_labels(ask, said, classifier, tmp_path):
    table = tmp_path / "a.tsv"
    write(table, ROWS, ("text", "label"))
    third, quarter = math.log(0.75), math.log(0.25)
    found = ask(classifier, str(table))
    assert [row.pop("log_probability") for row in found] == [
        pytest.approx(third),
        pytest.approx(third),
        pytest.approx(quarter),
        None,
    ]
    assert found == [
        {"input": "東京 🙂", "target": "länger", "probability": 0.75, "known": True},
        {"input": "a", "target": "kurz", "probability": 0.75, "known": True},
        {"input": 'say "é", ok', "target": "kurz", "probability": 0.25, "known": True},
        {"input": "b", "target": "other", "probability": 0.0, "known": False},
    ]
    assert said.getvalue().splitlines() == [
        f"skipped {table}:4: empty text",
        f"skipped {table}:7: empty label",
        f"4 of 6 records scored, mean log probability {(2 * third + quarter) / 3:.6g}, 1 with an unknown "
        "label, left out of the mean",
    ]


def test_texts(ask, said, rewriter):
    lines = "a\tbc\n東京\t🙂\r\n \tx\nno target\nthree\tof\tthem\n\n?\ta\nend\tä".encode()
    lines = io.BytesIO(lines.replace(b"?", b"\xff"))
    half = math.log(0.5)
    assert ask(rewriter, lines=lines) == [
        {"input": text, "target": target, "known": target != "🙂", "tokens": tokens}
        | {"log_probability": pytest.approx(half * tokens), "score": pytest.approx(half * tokens / 2)}
        for text, target, tokens in (("a", "bc", 3), ("東京", "🙂", 2), ("end", "ä", 2))
    ]
    assert said.getvalue().splitlines() == [
        "skipped standard input:3: empty source",
        "skipped standard input:4: 1 columns instead of 2",
        "skipped standard input:5: 3 columns instead of 2",
        "skipped standard input:6: empty line",
        "skipped standard input:7: not UTF-8",
        f"3 of 8 records scored, mean log probability {7 / 3 * half:.6g}, perplexity per token 2, 1 with an "
        "unknown token",
    ]


def test_a_count_is_no_fraction(rewriter):
    (row,) = score(rewriter, [], [b"a\tbc\n"], console=Console(file=io.StringIO()))
    assert '"tokens": 3, "known": true' in row


def test_another_encoding_is_told_as_one(ask, said, rewriter, tmp_path):
    german = '"Die Lieferung war schön, günstig und größer als erwartet, aber überteuert."'
    rows = ["source,target", "plain,x", *[f"{german},x"] * 9]
    (tmp_path / "a.csv").write_text("\n".join(rows), "cp1252")
    assert len(ask(rewriter, str(tmp_path / "a.csv"))) == 1
    assert "a.csv looks like cp1252" in said.getvalue()


def test_texts_of_any_length_are_scored(ask, rewriter, tmp_path):
    """The model cuts them itself."""
    write(tmp_path / "a.csv", [("ab" * 30_000, "x")], ("source", "target"))
    assert len(ask(rewriter, str(tmp_path / "a.csv"))) == 1


def write(path, rows, header):
    table = [header, *rows] if header else rows
    if path.name.endswith(".parquet"):
        columns = zip(header, zip(*rows, strict=True), strict=True)
        parquet.write_table(pyarrow.table({name: list(values) for name, values in columns}), path)
        return
    text = io.StringIO()
    if ".jsonl" in path.name:
        text.writelines(json.dumps(dict(zip(header, row, strict=True))) + "\n" for row in rows)
    elif ".csv" in path.name:
        csv.writer(text).writerows(table)
    else:
        text.writelines("\t".join(row) + "\n" for row in table)
    data = text.getvalue().encode()
    path.write_bytes(gzip.compress(data) if path.name.endswith(".gz") else data)


READ = [("東京 🙂", "bc", "1"), ("a, b", "é", "2")]


FORMATS = ["tsv", "csv", "jsonl", "parquet", "tsv.gz", "csv.gz", "jsonl.gz"]


@pytest.mark.parametrize("name", [f"table.{kind}" for kind in FORMATS])
def test_every_format_that_a_run_reads(ask, rewriter, tmp_path, name):
    expected = [(text, target) for text, target, _ in READ]
    write(tmp_path / name, READ, ("source", "target", "number"))
    assert [(row["input"], row["target"]) for row in ask(rewriter, str(tmp_path / name))] == expected
    write(tmp_path / name, READ, ("question", "x", "7"))
    named = {"text": "question", "target": "x"}
    assert [(row["input"], row["target"]) for row in ask(rewriter, str(tmp_path / name), **named)] == expected
    if "tsv" in name or "csv" in name:
        write(tmp_path / name, READ, None)
        found = ask(rewriter, str(tmp_path / name), text="0", target="1")
        assert [(row["input"], row["target"]) for row in found] == expected


def test_files_are_read_in_the_order_given_and_those_of_a_glob_by_name(ask, rewriter, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("c", "a", "b1", "b2"):
        write(tmp_path / f"{name}.tsv", [(name, "x")], ("source", "target"))
    found = ask(rewriter, "c.tsv", "b*.tsv", "-", "a.tsv", lines=[b"piped\tx\n"])
    assert [row["input"] for row in found] == ["c", "b1", "b2", "piped", "a"]


@pytest.fixture
def batches(monkeypatch):
    """Sizes of the batches that the model is asked."""
    sizes, run = [], SavedModelSession.run
    monkeypatch.setattr(
        SavedModelSession,
        "run",
        lambda self, inputs, *rest: (sizes.append(len(inputs["text"])), run(self, inputs, *rest))[1],
    )
    return sizes


def test_records_are_scored_in_batches(ask, rewriter, tmp_path, batches):
    write(tmp_path / "a.tsv", [(f"text {n}", "x") for n in range(150)], ("source", "target"))
    found = ask(rewriter, str(tmp_path / "a.tsv"))
    assert [row["input"] for row in found] == [f"text {n}" for n in range(150)]
    assert batches == [64, 64, 22]


def test_a_record_that_the_model_cannot_score_is_skipped(ask, said, classifier, batches):
    lines = [b"good\tkurz\n", b"unspeakable\tkurz\n", b"bad\n", b"also good\tkurz\n"]
    assert [row["input"] for row in ask(classifier, lines=lines)] == ["good", "also good"]
    skipped = said.getvalue().splitlines()
    assert skipped[0].startswith("skipped standard input:2: no answer: ")
    assert "cannot read this" in said.getvalue()
    assert "skipped standard input:3: 1 columns instead of 2" in skipped
    assert batches == [3, 1, 1, 1]


def test_nothing_is_read_ahead(rewriter, tmp_path, monkeypatch):
    endless = (b"%d\tx\n" % number for number in itertools.count())
    rows = score(rewriter, [], endless, console=Console(file=io.StringIO()))
    assert [json.loads(next(rows))["input"] for _ in range(100)] == list(map(str, range(100)))
    read = pairs.read_records
    monkeypatch.setattr(pairs, "read_records", lambda *arguments: itertools.cycle(list(read(*arguments))))
    write(tmp_path / "a.tsv", [("a", "x"), ("b", "y")], ("source", "target"))
    rows = score(rewriter, [str(tmp_path / "a.tsv")], [], console=Console(file=io.StringIO()))
    assert [json.loads(next(rows))["target"] for _ in range(200)] == ["x", "y"] * 100


def test_a_slow_stream_is_scored_line_by_line(rewriter):
    readable, writable = os.pipe()
    with os.fdopen(writable, "wb", buffering=0) as source, os.fdopen(readable, "rb") as stream:
        rows = score(rewriter, [], stream, console=Console(file=io.StringIO()))
        for text in ("one", "two"):
            source.write(f"{text}\tx\n".encode())
            assert json.loads(next(rows))["input"] == text
        source.write(b"thr")
        threading.Timer(0.05, lambda: (source.write(b"ee\tx"), source.close())).start()
        assert [json.loads(row)["input"] for row in rows] == ["three"]


def test_progress_is_told_on_a_terminal(rewriter, said, monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    console = Console(file=said, force_terminal=True, width=80)
    lines = [b"%d\tx\n" % number for number in range(3)] + [b"bad\n"]
    assert len(list(score(rewriter, [], lines, batch_size=2, console=console))) == 3
    assert "2 records" in said.getvalue()
    assert "skipped standard input:4: 1 columns instead of 2" in said.getvalue()


def refused(message, *arguments, **others):
    with pytest.raises(UserError) as error:
        list(score(*arguments, **{"lines": [], "console": Console(file=io.StringIO()), **others}))
    assert str(error.value) == message


HAS = "It has: 'text', 'iso', 'number'."


@pytest.mark.parametrize(
    ("tables", "options", "message"),
    [
        (
            ["a.tsv"],
            {},
            f"a.tsv: there is no column 'source', expected one for 'source'. {HAS} Give --text text, "
            "or another one of these.",
        ),
        (
            ["a.tsv"],
            {"text": "text", "target": "is"},
            f"a.tsv: there is no column 'is', expected one for 'target'. {HAS} Did you mean 'iso'? Give "
            "--target iso.",
        ),
        (
            ["none.tsv"],
            {},
            "none.tsv: received nothing in the first line, expected the names of the columns, in UTF-8. Add "
            "such a line, or give positions: --text 0 --target 1.",
        ),
        (
            ["semicolons.csv"],
            {},
            "semicolons.csv: received 'source;target' in line 1, expected the names of the columns, with ',' "
            'between them. Give --delimiter ";".',
        ),
        (
            ["a.tsv"],
            {"dialect": Dialect(encoding="utf-61")},
            "--encoding: received 'utf-61', expected an encoding that Python knows; did you mean 'utf_16'?",
        ),
        (
            ["a.jsonl"],
            {"dialect": Dialect(delimiter=";")},
            "received --delimiter, which is for csv, tsv, but all files are jsonl. Remove it.",
        ),
        (
            ["a.tsv", "b.tsv"],
            {},
            "no file matches 'b.tsv' (relative paths start in {folder}). Did you mean 'a.tsv'? Give the path "
            "or glob of at least one file.",
        ),
        (
            ["ftp://host/a.tsv"],
            {},
            "received 'ftp://host/a.tsv', expected a local path, or an address that begins with s3://, "
            "gs://, memory://.",
        ),
        (
            ["a.txt"],
            {},
            "cannot tell the format of a.txt from its name, expected one of .tsv, .csv, .jsonl, .parquet, "
            "also with .gz. Rename it.",
        ),
        (
            ["a.jsonl"],
            {"text": "0", "target": "1"},
            "--text and --target received positions, but a.jsonl is jsonl, where columns have names. Give "
            "the names.",
        ),
        (
            ["a.csv.gz"],
            {},
            "cannot read a.csv.gz: Not a gzipped file (b'no'). Expected a whole, readable file of the format "
            "its name says. Check it, its permissions, and whether it arrived complete.",
        ),
        (
            ["a.tsv"],
            {"text": "0"},
            "received --text 0 and --target target, expected two names, or two positions for files without a "
            "header line. Give both.",
        ),
        (
            ["-"],
            {"text": "a"},
            "received --text, --target or how a table is written, expected a file to which that applies; "
            "lines of standard input are a text, a tab and its target, in UTF-8. Name a file, or leave them "
            "out.",
        ),
    ],
    ids=str,
)
def test_what_cannot_be_read_is_told_in_the_words_of_the_command(
    rewriter, tmp_path, monkeypatch, tables, options, message
):
    monkeypatch.chdir(tmp_path)
    write(Path("a.tsv"), READ, ("text", "iso", "number"))
    write(Path("a.jsonl"), READ, ("text", "iso", "number"))
    Path("semicolons.csv").write_text("source;target\na;b\n")
    Path("none.tsv").touch()
    Path("a.txt").touch()
    Path("a.csv.gz").write_bytes(b"no gzip")
    refused(message.replace("{folder}", str(tmp_path)), rewriter, tables, **options)


def test_no_records_are_no_failure(ask, said, rewriter):
    assert ask(rewriter) == []
    assert said.getvalue() == "no records\n"


def test_where_no_record_can_be_scored(rewriter, classifier):
    refused(
        "scored none of 2 records; the first: standard input:1: 1 columns instead of 2",
        rewriter,
        [],
        lines=[b"a\n", b"b\t\n"],
    )
    with pytest.raises(UserError, match=r"none of 1 records; the first: standard input:1: no answer: .*cann"):
        list(score(classifier, [], [b"unspeakable\tkurz\n"], console=Console(file=io.StringIO())))


def test_a_model_without_the_signature(tmp_path, ask, rewriter):
    old = exported(tmp_path / "old")
    refused(
        f"{old} has the signatures serving_default, expected score: it was exported by an earlier rnnpipe. "
        "Run the pipeline again, which exports and pushes it with that.",
        old,
        [],
    )
    other = exported(tmp_path / "other", score=lambda text, target: {"known": text == target})
    refused(
        f"{other} has a signature score that takes ['target', 'text'] and gives ['known']; expected one as "
        "in a model that `rnnpipe run` exported.",
        other,
        [],
    )
    push(old, tmp_path / "serving", "a")
    push(rewriter, tmp_path / "serving", "b")
    assert len(ask(str(tmp_path / "serving"), lines=[b"a\tb"])) == 1, "the newest version is asked"


def test_a_model_that_does_not_load(tmp_path):
    (tmp_path / "saved_model.pb").write_bytes(b"not a graph")
    with pytest.raises(UserError, match=r"cannot be served: Read less bytes than requested"):
        next(score(str(tmp_path), [], []))


def test_predict_points_here(rewriter):
    with pytest.raises(UserError) as error:
        next(predict(rewriter, [b"a"], 1, "score"))
    assert str(error.value) == (
        "received --signature score, which takes a target beside each text, expected one that takes texts "
        "alone: serving_default, classify, n_best, explain. Give both to `rnnpipe score MODEL FILES`."
    )


PROGRAM = """
import atexit, sys
heavy = {"tensorflow", "tensorflow_text", "keras", "apache_beam", "mlflow"}
atexit.register(lambda: print(sorted(heavy & {name.partition(".")[0] for name in sys.modules})))
from pipeline.cli import main
main()
"""


def command(*arguments, lines=""):
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, *map(str, arguments)],
        input=lines.encode(),
        capture_output=True,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
    )
    *rows, heavy = ran.stdout.decode().splitlines()
    assert heavy == "[]"
    return ran.returncode, list(map(json.loads, rows)), ran.stderr.decode()


def test_the_command(rewriter, tmp_path):
    write(tmp_path / "a.tsv", READ, ("question", "answer", "number"))
    code, rows, errors = command("score", rewriter, tmp_path / "a.tsv", "--text=question", "--target=answer")
    assert (code, [row["target"] for row in rows]) == (0, ["bc", "é"])
    assert errors.startswith("2 of 2 records scored, mean log probability ")
    (tmp_path / "b.csv").write_bytes('"source";target\r\nein "s;bc\r\n'.encode("utf-16"))
    options = ("--encoding=utf-16", "--delimiter=;", "--no-quoting", '--text="source"')
    code, rows, errors = command("score", rewriter, tmp_path / "b.csv", *options)
    assert (code, [(row["input"], row["target"]) for row in rows]) == (0, [('ein "s', "bc")])
    (tmp_path / "c.csv").write_text("source\ttarget\nabc\tbc\n", encoding="utf-8")
    code, rows, errors = command("score", rewriter, tmp_path / "c.csv")
    assert (code, rows) == (1, [])
    assert r'Give --delimiter "\t".' in errors
    code, rows, errors = command("score", rewriter, tmp_path / "c.csv", r"--delimiter=\t")
    assert (code, [(row["input"], row["target"]) for row in rows]) == (0, [("abc", "bc")])
    code, rows, errors = command("score", rewriter, lines="één\tx\nbad\n")
    assert (code, [row["input"] for row in rows]) == (0, ["één"])
    assert errors.startswith("skipped standard input:2: 1 columns instead of 2\n1 of 2 records scored")
    code, rows, errors = command("score", rewriter, "-", lines="bad\n")
    assert (code, rows) == (1, [])
    assert errors.endswith("scored none of 1 records; the first: standard input:1: 1 columns instead of 2\n")
    code, rows, errors = command("predict", rewriter, "--signature", "score")
    assert (code, rows) == (1, [])
    assert "rnnpipe score MODEL FILES" in errors


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "options"),
    [(tiny.CLASSIFICATION, {}), (tiny.SEQ2SEQ, {"text": "text", "target": "label"})],
    ids=["classification", "seq2seq"],
)
def test_what_a_run_exports(ask, said, tmp_path, text, options):
    """The model's own answers have the score that they were given."""
    code, output = tiny.run(tiny.make(tmp_path, text), "tracking.enabled=false")
    assert code == 0, output
    (served,) = [path for path in (tmp_path / "serving").iterdir() if (path / "1").is_dir()]
    found = ask(str(served), str(tmp_path / "test.tsv"), **options)
    assert len(found) == 40
    asked = [f"{row['input']}\n".encode() for row in found]
    answers = [row for row in map(json.loads, predict(str(served), asked)) if row["prediction"]]
    lines = [f"{row['input']}\t{row['prediction']}".encode() for row in answers]
    assert len(lines) > 20
    name = "score" if options else "probability"
    scores = [row["score"] for row in answers]
    scored = [row[name] for row in ask(str(served), lines=lines)]
    assert scored == pytest.approx(scores, abs=1e-4)
    assert "records scored, mean log probability -" in said.getvalue()
