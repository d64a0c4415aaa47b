import gzip
import json
import random
import re
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that, equal_to
from hypothesis import given, settings
from hypothesis import strategies as st
from ingest_cases import ALL, examples, ingest, kept, rejected
from pyarrow import parquet
from stage_runner import run_stage

from components import files
from components.artifacts.artifact import local_file
from components.artifacts.examples import Examples
from components.errors import UserError
from components.ingest import locate, parts, transform
from components.ingest.config import IngestConfig
from components.ingest.sources import find_sources
from components.ingest.transform import Ingest
from components.reports import Progress, Warned, listening
from components.strict import SPLITS
from components.work import Work


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_artifact_and_the_summary(folder):
    Path("b.tsv").write_text("label\ttext\ny\tdrei\nx\tvier\n")
    Path("a.tsv").write_text("text\tlabel\neins\tx\nzwei\t y \n")
    Path("test.jsonl").write_text('{"text": " fünf ", "label": "x"}\n')
    Path("v.csv.gz").write_bytes(gzip.compress(b'text,label\n"sechs\nsieben",x\n'))
    made = ingest({"files": {"train": "?.tsv", "test": ["test.jsonl"], "validation": "v.csv.gz"}})
    counts = {"train": 4, "validation": 1, "test": 1}
    assert made.summary == {"examples": counts, "rejected": 0, "warnings": []}
    assert made.names() == [
        "examples/test-00000.parquet",
        "examples/train-00000.parquet",
        "examples/train-00001.parquet",
        "examples/validation-00000.parquet",
        "rejected.jsonl",
        "statistics.json",
    ]
    assert examples(made) == [("eins", "x"), ("zwei", "y"), ("drei", "y"), ("vier", "x")]
    assert examples(made, "validation") == [("sechs\nsieben", "x")]
    assert examples(made, "test") == [(" fünf ", "x")]
    assert rejected(made) == []
    assert {split: made.count(split) for split in SPLITS} == counts


def test_text_pairs(folder):
    Path("de").write_text("eins\n\nzwei\ndrei\n")
    Path("en").write_bytes(b"one\nx\n\xff\n")
    made = ingest(
        {"files": {"train": {"source": "de", "target": "en"}}, "format": "text", "max_rejected": 3}, "seq2seq"
    )
    assert sum(made.summary["examples"].values()) == 1
    assert rejected(made) == [
        ("de", 2, "empty source", "\tx"),
        ("de", 4, "no line of target goes with it", "drei"),
        ("en", 3, "not UTF-8", "zwei\t�"),
    ]
    assert "labels" not in made.statistics()["splits"]["train"]


def test_every_reason_is_told_with_file_and_line(folder):
    lines = [
        {"text": "good", "label": "x"},
        {"text": " \u3000\t", "label": "x"},
        {"text": "a", "label": ""},
        {"text": "a" * 21, "label": "x"},
        {"text": "a" * 20, "label": 3},
        {"text": 3, "label": "x"},
        {"text": None, "label": "x"},
        {"text": ["a"], "label": "x"},
        {"text": "a", "label": 1.5},
        {"text": "a", "label": "x\ny"},
        {"text": "\ud800", "label": "x"},
        {"text": "a"},
        {"text": "true", "label": True},
    ]
    Path("b.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    Path("a.tsv").write_bytes(b"text\tlabel\na\n" + b"\xff" * 2000 + b"\tb\n" + b"c\td\n")
    made = ingest({"files": ["b.jsonl", "a.tsv"], "max_characters": 20, "max_rejected": 12, **ALL})
    assert made.summary["rejected"] == 12
    assert examples(made) == [("c", "d"), ("good", "x"), ("a" * 20, "3"), ("true", "true")]
    assert [each[:3] for each in rejected(made)] == [
        ("a.tsv", 2, "1 columns instead of 2"),
        ("a.tsv", 3, "not UTF-8"),
        ("b.jsonl", 2, "empty text"),
        ("b.jsonl", 3, "empty label"),
        ("b.jsonl", 4, "text longer than 20 characters"),
        ("b.jsonl", 6, "text is of type int, not a string"),
        ("b.jsonl", 7, "text is null"),
        ("b.jsonl", 8, "text is of type list, not a string"),
        ("b.jsonl", 9, "label is of type float, not a string"),
        ("b.jsonl", 10, "label of several lines"),
        ("b.jsonl", 11, "not valid Unicode"),
        ("b.jsonl", 12, "no key 'label'"),
    ]
    texts = [each[3] for each in rejected(made)]
    assert texts[0] == "a"
    assert texts[1] == "�" * 999 + "…"
    assert texts[3] == '{"text": "a", "label": ""}'
    reasons = made.statistics()["rejected"]
    assert reasons["total"] == 12
    assert reasons["reasons"]["text is null"] == 1


def test_exactly_the_broken_lines_are_rejected(folder):
    chance = random.Random(1)
    lines = [f"text {number}\t{'ab'[number % 2]}" for number in range(3000)]
    broken = sorted(chance.sample(range(3000), 30))
    for number in broken:
        lines[number] = chance.choice(["", "no tab", "\tx", "x\t", "too\tmany\ttabs"])
    Path("a.tsv").write_text("text\tlabel\n" + "\n".join(lines) + "\nlast\ta\n")
    made = ingest({"files": "a.tsv", "max_rejected": 0.01})
    assert [line for _, line, _, _ in rejected(made)] == [number + 2 for number in broken]
    assert made.summary["rejected"] == 30
    read = sorted(text for split in SPLITS for text, _ in examples(made, split))
    assert read == sorted(["last", *(f"text {number}" for number in range(3000) if number not in broken)])


@pytest.mark.parametrize(("allowed", "shown"), [(3, "3"), (0, "0"), (0.39, "0.39 of them")])
def test_too_many_rejected_records_stop_the_run(folder, allowed, shown):
    Path("a.tsv").write_text("text\tlabel\n" + "good\tx\n" * 6 + "bad\n\tx\nbad\n.\t.\t.\n")
    with pytest.raises(UserError) as caught:
        ingest({"files": "a.tsv", "max_rejected": allowed})
    message = str(caught.value).split(" [while running")[0]
    (path,) = re.findall(r"All of them are in (\S+)\. ", message)
    assert message == (
        f"ingest: 4 of 10 records were rejected, expected at most {shown} (`ingest.max_rejected`). "
        "Most frequent reasons:\n"
        "  2 x 1 columns instead of 2 (such as a.tsv:8)\n"
        "  1 x 3 columns instead of 2 (such as a.tsv:11)\n"
        "  1 x empty text (such as a.tsv:9)\n"
        f"All of them are in {path}. Correct the files, `ingest.format` or `ingest.columns`, or "
        "raise `ingest.max_rejected`."
    )
    assert path.startswith(f"{folder}/runs/artifacts/ingest/")
    assert [json.loads(line)["line"] for line in Path(path).read_text().splitlines()] == [8, 9, 10, 11]


@pytest.mark.parametrize("allowed", [29, 0.29])
def test_as_many_rejected_records_as_allowed_do_not(folder, allowed):
    Path("a.tsv").write_text("text\tlabel\n" + "good\tx\n" * 71 + "bad\n" * 29)
    assert ingest({"files": "a.tsv", "max_rejected": allowed, **ALL}).summary["examples"]["train"] == 71


def test_nothing_to_train_on_is_an_error(folder):
    Path("a.tsv").write_text("text\tlabel\nbad\n")
    Path("b.tsv").write_text("text\tlabel\ngood\tx\n")
    with pytest.raises(UserError) as caught:
        ingest({"files": {"train": "a.tsv", "test": "b.tsv"}, "max_rejected": 1})
    message = re.sub(r"see \S+/rejected\.jsonl", "see REJECTED", str(caught.value))
    assert (
        "ingest: no example is left to train on: received 2 records, of which 1 were rejected "
        "(see REJECTED) and the rest belongs to other splits. Expected at least one "
        "in train. Check `ingest.files`"
    ) in message


def test_errors_of_the_workers_keep_their_type(folder):
    Path("a.tsv").write_text("txt\tlabel\nbad\n")
    with pytest.raises(UserError, match="Did you mean 'txt'"):
        ingest({"files": "a.tsv"})


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"source": "a"}, "`columns` received source, expected text and label for classification"),
        ({"text": 0}, "`columns` received a position for text, but none for label"),
    ],
)
def test_columns_must_suit_the_task(columns, message):
    with pytest.raises(UserError, match=message):
        Ingest(
            IngestConfig(files="a.tsv", columns=columns), "classification", [], Work(None, "ingest", "key")
        )


def test_columns_are_kept_beside_the_fields(folder):
    Path("a.tsv").write_text("text\tlabel\tabout\tid\nx\ta\t art \t1\ny\tb\t\t2\nx\ta\twar\t3\n")
    Path("b.jsonl").write_text(
        '{"text": "z", "label": "b", "about": null, "id": 1.5}\n'
        '{"text": "w", "label": "b", "about": ["art"], "id": true}\n'
        '{"text": "u", "label": "b", "id": 7}\n'
        '{"text": "v", "label": "b", "about": "law", "id": true}\n'
    )
    config = {"files": ["a.tsv", "b.jsonl"], "max_rejected": 0, **ALL}
    made = ingest({**config, "keep": {"topic": "about", "id": "id"}})
    assert made.summary["examples"]["train"] == 7
    assert kept(made, "topic") == ["art", "", "war", "", "", "", "law"]
    assert kept(made, "id") == ["1", "2", "3", "1.5", "true", "7", "true"]
    # Two examples that differ in nothing but what is kept are the same example.
    assert made.statistics()["splits"]["train"]["duplicates"] == 1
    assert list(made.statistics()["splits"]["train"]["characters"]) == ["text", "label"]
    without = ingest(config)
    assert without.names("kept/") == []
    assert examples(without) == examples(made)
    digests = [{**each.manifest.digests, "kept": "", "report": ""} for each in (made, without)]
    assert digests[0] == digests[1]


def test_what_cannot_be_kept_is_left_empty_and_counted(folder):
    rows = [["art"], "a" * 21, "\ud800", {"a": 1}, "law", None, ""]
    lines = [{"text": f"text {number}", "label": "x", "about": value} for number, value in enumerate(rows)]
    Path("a.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    config = {"files": dict.fromkeys(SPLITS, "a.jsonl"), "max_characters": 20, "max_rejected": 0}
    made = ingest({**config, "keep": {"topic": "about", "id": "id"}})
    assert made.summary["rejected"] == 0
    assert kept(made, "topic") == ["", "", "", "", "law", "", ""]
    assert made.statistics()["unreadable"] == {"topic": 12, "id": 0}
    assert made.summary["warnings"][-1] == (
        "Values of 'topic' (`ingest.keep`) that cannot be read as text and are left empty: 12 (such as "
        "a.jsonl:1, topic is of type list, not a string)."
    )
    assert "unreadable" not in ingest(config).statistics()


def test_columns_are_kept_by_position(folder):
    Path("a.csv").write_text("x,a,art\ny,b,war\n")
    made = ingest({"files": "a.csv", "columns": {"text": 0, "label": 1}, "keep": {"topic": 2}, **ALL})
    assert kept(made, "topic") == ["art", "war"]


def test_a_column_to_keep_that_is_not_there(folder):
    Path("a.tsv").write_text("text\tlabel\tabout\nx\ta\tart\n")
    with pytest.raises(UserError, match=r"no column 'abuot'.*Under `ingest`, set `keep: {topic: about}`"):
        ingest({"files": "a.tsv", "keep": {"topic": "abuot"}})


def test_holdout_keeps_equal_texts_together_whatever_the_files(folder):
    rows = [f"text {number % 500}\t{number % 3}\n" for number in range(2000)]
    Path("all.tsv").write_text("text\tlabel\n" + "".join(rows))
    random.Random(3).shuffle(rows)
    Path("1.tsv").write_text("text\tlabel\n" + "".join(rows[:700]))
    Path("2.csv").write_text("text,label\n" + "".join(rows[700:]).replace("\t", ","))
    one = ingest({"files": "all.tsv"})
    two = ingest({"files": ["2.csv", "1.tsv"]})
    for split in SPLITS:
        assert sorted(examples(one, split)) == sorted(examples(two, split))
    texts = [{text for text, _ in examples(one, split)} for split in SPLITS]
    assert sum(map(len, texts)) == 500
    assert 25 < len(texts[1]) < 75
    assert 25 < len(texts[2]) < 75
    assert one.statistics()["shared_texts"] == []


def test_statistics_warnings_and_events(folder):
    Path("a.tsv").write_text("text\tlabel\nein\tx\nein\tx\nein\ty\nvier\ty\n\n\n")
    Path("b.tsv").write_text("text\tlabel\nzwei\tx\nvier\tz\nein\tx\n")
    events = []
    with listening(events.append):
        artifact = ingest({"files": {"train": "a.tsv", "test": "b.tsv"}, **ALL})
    made = artifact.statistics()
    assert made["splits"]["train"] == {
        "examples": 4,
        "duplicates": 1,
        "characters": {
            "text": {"min": 3, "mean": 3.25, "median": 3, "p95": 4, "max": 4},
            "label": {"min": 1, "mean": 1.0, "median": 1, "p95": 1, "max": 1},
        },
        "labels": {"x": 2, "y": 2},
    }
    assert made["shared_texts"] == [
        {
            "splits": ["train", "test"],
            "texts": 2,
            "places": [["a.tsv:5", "b.tsv:3"], ["a.tsv:2", "b.tsv:4"]],
        }
    ]
    assert made["rejected"] == {"total": 0, "reasons": {}}
    assert made["warnings"] == artifact.summary["warnings"]
    assert [warning.split(":")[0] for warning in made["warnings"]] == [
        "There are no validation examples",
        "Texts of test that are also in train",
        "Labels of test that do not occur in train",
        "Texts of train that have several labels",
    ]
    assert [event.message for event in events if isinstance(event, Warned)] == made["warnings"]
    assert events[-5] == Progress("ingest", 7, 7, "records")


def test_progress_is_told_now_and_then(folder, monkeypatch):
    monkeypatch.setattr(transform, "CHUNK", 100)
    Path("a.tsv").write_text("text\tlabel\n" + "".join(f"text {number}\tx\n" for number in range(1000)))
    events = []
    with listening(events.append):
        made = ingest({"files": "a.tsv"})
    told = [event for event in events if isinstance(event, Progress)]
    assert told[0] == Progress("ingest", 100, None, "records")
    assert told[-1] == Progress("ingest", 1000, 1000, "records")
    assert len(told) < 8
    assert made.statistics()["splits"]["train"]["duplicates"] == 0


def test_progress_is_also_told_before_the_examples_are_cut(folder, monkeypatch):
    monkeypatch.setattr(locate, "CHUNK", 100)
    Path("a.tsv").write_text("text\tlabel\n" + "".join(f"text {number}\tx\n" for number in range(1000)))
    events = []
    with listening(events.append):
        ingest({"files": "a.tsv", "split": "stratified"})
    told = [event for event in events if isinstance(event, Progress)]
    assert told[0] == Progress("ingest", 100, None, "records located")
    assert told[-1] == Progress("ingest", 1000, 1000, "records")


def test_workers_report_what_they_do(folder):
    Path("a.tsv").write_text("text\tlabel\na\tx\nbad\n")
    config = IngestConfig(files="a.tsv", max_rejected=1, **ALL)
    sources = find_sources(config, "classification")
    status = files.resolve("status")
    made = run_stage(
        lambda work: Ingest(config, "classification", sources, work), Examples, {}, "runs", status=status
    )
    (written,) = [json.loads(files.read(entry.path)) for entry in files.entries(status)]
    assert written["warnings"] == made.summary["warnings"] != []
    assert written["progress"] == {"done": 2, "total": 2, "message": "records"}
    assert (written["attempts"], written["error"]) == (3, "")


def write_only(directory, **config):
    """Runs the writing step without a runner, for many cases in a short time."""
    config = IngestConfig(files=f"{directory}/data.tsv", **config)
    work = Work(files.resolve(directory), "ingest", "key")
    writer = transform.WriteExamples(config, {"text": "text", "label": "label"}, work)
    (source,) = find_sources(config, "classification")
    texts, lines = [], []
    for part in writer.process(source):
        if isinstance(part, parts.Part):
            texts += parquet.read_table(local_file(work.root, part.files[0]))["text"].to_pylist()
        elif isinstance(part, parts.Rejections):
            lines += [
                json.loads(line)["line"]
                for line in local_file(work.root, part.file).read_bytes().splitlines()
            ]
    return [text.encode() for text in texts], lines


LINE = st.one_of(
    st.binary(max_size=20).map(lambda line: line.replace(b"\n", b"")),
    st.text("aé日 \t\"'\r\0", max_size=12).map(str.encode),
    st.just(b"text\tlabel"),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(LINE, max_size=30))
def test_every_record_is_an_example_or_rejected(tmp_path_factory, lines):
    directory = tmp_path_factory.mktemp("data")
    (directory / "data.tsv").write_bytes(b"\n".join([b"text\tlabel", *lines]))
    texts, bad = write_only(directory, max_characters=8)
    while lines and not lines[-1].strip(b"\r\n"):
        lines.pop()
    good = [line.rstrip(b"\r\n").split(b"\t")[0] for number, line in enumerate(lines, 2) if number not in bad]
    assert sorted(texts) == sorted(good)
    assert bad == sorted(set(bad))
    assert len(bad) + len(texts) == len(lines)


def test_the_stage_composes_in_a_pipeline(folder):
    Path("a.tsv").write_text("text\tlabel\na\tx\n")
    config = IngestConfig(files="a.tsv", holdout={})
    sources = find_sources(config, "classification")
    with beam.Pipeline(FnApiRunner(), options=PipelineOptions([])) as pipeline:
        counts = (
            pipeline
            | beam.Create([{}])
            | Ingest(config, "classification", sources, Work(files.resolve("runs"), "ingest", "key"))
            | beam.Map(lambda made: made.summary["examples"])
        )
        assert_that(counts, equal_to([{"train": 1, "validation": 0, "test": 0}]))
