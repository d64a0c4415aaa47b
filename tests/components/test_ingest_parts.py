import gzip
import re
from pathlib import Path

import pyarrow
import pytest
from ingest_cases import ALL, contents, examples, ingest, kept, rejected
from pyarrow import parquet
from stage_runner import run_on_nothing, run_stage

from components import files
from components.artifacts.examples import Examples
from components.errors import UserError
from components.ingest import parts, transform
from components.ingest.config import IngestConfig
from components.ingest.sources import find_sources
from components.ingest.transform import Ingest
from components.work import Work


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_pandas_opens_the_parts(folder):
    pandas = pytest.importorskip("pandas")
    Path("a.tsv").write_text("text\tlabel\tabout\neins\tx\tart\nzwölf\ty\t\n")
    made = ingest({"files": "a.tsv", "keep": {"topic": "about"}, **ALL})
    table = pandas.read_parquet(made.file("examples/train-00000.parquet"))
    assert table.to_dict("list") == {"text": ["eins", "zwölf"], "label": ["x", "y"]}
    kept = pandas.read_parquet(made.file("kept/train-00000.parquet"))
    assert kept.to_dict("list") == {"topic": ["art", ""]}


def test_what_is_kept_does_not_move_the_ends_of_parts(folder, monkeypatch):
    monkeypatch.setattr(parts, "PART_BYTES", 200)
    table = {"text": [f"text {n}" for n in range(99)], "label": ["x"] * 99, "more": ["long " * 9] * 99}
    parquet.write_table(pyarrow.table(table), "a.parquet")
    one, two = (ingest({"files": "a.parquet", "keep": keep}) for keep in ({}, {"more": "more"}))
    assert len(one.parts_of("train")) > 3
    assert {name: each for name, each in contents(two).items() if name.startswith("examples/")} == {
        name: each for name, each in contents(one).items() if name.startswith("examples/")
    }
    assert [name.removeprefix("kept/") for name in two.names("kept/")] == [
        name.removeprefix("examples/") for name in two.names("examples/")
    ]
    assert kept(two, "more") == [("long " * 9).strip()] * two.count("train")


def test_two_runs_make_the_same_bytes(folder, monkeypatch):
    monkeypatch.setattr(parts, "PART_BYTES", 2000)
    for name in "cab":
        lines = [f"text {number} of {name}\t{number % 7}\n" for number in range(300)]
        Path(f"{name}.tsv").write_text("text\tlabel\n" + "".join(lines) + "bad\n" * 3)
    one, two = ingest({"files": "*.tsv"}), ingest({"files": "*.tsv"})
    assert contents(one) == contents(two)
    assert one.manifest.digests == two.manifest.digests
    assert len(one.parts_of("train")) == 9
    read = [text for text, _ in examples(one)]
    assert read == sorted(read, key=lambda text: (text[-1], int(re.findall(r"\d+", text)[0])))
    assert [each[:2] for each in rejected(one)] == [
        (f"{name}.tsv", line) for name in "abc" for line in (302, 303, 304)
    ]


@pytest.mark.parametrize("name", ["a.tsv", "a.tsv.gz"])
def test_parts_end_after_so_many_bytes_of_the_source(folder, monkeypatch, name):
    monkeypatch.setattr(parts, "PART_BYTES", 100)
    lines = "".join(f"text {number:05d}\tx\n" if number % 3 else "bad\n" for number in range(40))
    contents = f"text\tlabel\n{lines}".encode()
    Path(name).write_bytes(gzip.compress(contents) if name.endswith(".gz") else contents)
    made = ingest({"files": name, "max_rejected": 20, "holdout": {"validation": 0.4}})
    ends, read = [], 0
    for number, line in enumerate(lines.splitlines(keepends=True)):
        if read >= 100:
            ends.append(number)
            read = 0
        read += len(line)
    for split in ("train", "validation"):
        numbers = [
            [int(text[5:]) for batch in made.batches(part, ["text"]) for text in batch["text"]]
            for part in made.parts_of(split)
        ]
        in_order = [number for part in numbers for number in part]
        assert in_order == sorted(in_order)
        places = [sum(number >= end for end in ends) for part in numbers for number in part[:1] + part[-1:]]
        assert places[::2] == places[1::2]  # no part goes across an end
        assert places[::2] == sorted(set(places))  # and between two ends there is one part of a split


def test_long_parts_have_several_row_groups(folder):
    Path("a.tsv").write_text("text\tlabel\n" + "".join(f"text {number}\tx\n" for number in range(20_000)))
    made = ingest({"files": "a.tsv", **ALL})
    metadata = parquet.ParquetFile(made.file("examples/train-00000.parquet")).metadata
    groups = [metadata.row_group(index).num_rows for index in range(metadata.num_row_groups)]
    assert groups == [8192, 8192, 3616]
    batches = [len(batch["text"]) for batch in made.batches("examples/train-00000.parquet", ["text"], 3000)]
    assert batches == [3000] * 6 + [2000]
    assert [text for text, _ in examples(made)] == [f"text {number}" for number in range(20_000)]


def test_a_worker_may_stand_in_another_folder(folder, monkeypatch):
    Path("data").mkdir()
    Path("data/a.tsv").write_text("text\tlabel\ngood\tx\nbad\n")
    config = IngestConfig(files="data/*.tsv", max_rejected=1, **ALL)
    sources = find_sources(config, "classification")
    Path("elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    made = run_stage(
        lambda work: Ingest(config, "classification", sources, work), Examples, {}, folder / "runs"
    )
    assert examples(made) == [("good", "x")]
    assert rejected(made) == [("data/a.tsv", 3, "1 columns instead of 2", "bad")]


@pytest.mark.parametrize("name", ["[v1]", "a*b", "50%20off", "?"])
def test_folders_may_hold_characters_of_globs(folder, name):
    Path(name).mkdir()
    Path(name, "a.tsv").write_text("text\tlabel\ngood\tx\n")
    for pattern in (f"{name}/*.tsv", f"{name}/a.tsv", f"{folder}/{name}/?.tsv"):
        assert examples(ingest({"files": pattern, **ALL})) == [("good", "x")]


def test_data_and_root_in_memory(folder):
    base = f"memory://{folder.name}"
    files.write(files.resolve(f"{base}/[v1]/a.tsv"), b"text\tlabel\ngood\tx\nbad\n")
    files.write(files.resolve(f"{base}/[v1]/b.tsv.gz"), gzip.compress(b"text\tlabel\nbetter\ty\n"))
    made = ingest({"files": f"{base}/[v1]/*.tsv*", "max_rejected": 1, **ALL}, root=f"{base}/runs")
    assert examples(made) == [("good", "x"), ("better", "y")]
    assert [row[1:] for row in rejected(made)] == [(3, "1 columns instead of 2", "bad")]
    assert files.exists(made.place("examples/train-00001.parquet"))
    with pytest.raises(
        UserError, match=rf"All of them are in memory://\S*{folder.name}/runs/\S+/rejected.jsonl"
    ):
        ingest({"files": f"{base}/[v1]/*.tsv*", "max_rejected": 0}, root=f"{base}/runs")


def test_a_source_that_is_read_twice_gives_the_same_under_other_names(folder):
    Path("data.tsv").write_text("text\tlabel\n" + "".join(f"text {n}\tx\n" for n in range(99)))
    config = IngestConfig(files="data.tsv")
    (source,) = find_sources(config, "classification")
    work = Work(files.resolve("runs"), "ingest", "key")
    writer = transform.WriteExamples(config, {"text": "text", "label": "label"}, work)
    once, again = (
        [part for part in writer.process(source) if isinstance(part, parts.Part)] for _ in range(2)
    )
    assert [part.files for part in once] != [part.files for part in again]
    for one, other in zip(once, again, strict=True):
        assert [(file.name, file.sha256) for file in one.files] == [
            (file.name, file.sha256) for file in other.files
        ]
        assert not {file.path for file in one.files} & {file.path for file in other.files}


def test_nothing_is_made_of_an_empty_collection(folder):
    Path("a.tsv").write_text("text\tlabel\na\tx\n")
    config = IngestConfig(files="a.tsv", **ALL)
    sources = find_sources(config, "classification")
    made = run_on_nothing(lambda work: Ingest(config, "classification", sources, work), Examples, "runs")
    assert made == []
    assert not Path("runs").exists()
