import os

import pytest
from pydantic import ValidationError

from components.errors import UserError
from components.ingest.config import IngestConfig
from components.ingest.sources import find_sources


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name in ("b.tsv", "a.tsv", "c.csv", "d.jsonl.gz", "e.parquet", "f.txt", "g.txt", "[1].tsv"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def found(task="classification", **config):
    return [
        (source.split, source.format, source.file) for source in find_sources(IngestConfig(**config), task)
    ]


def test_globs_and_lists_are_sorted_and_without_repetition(folder):
    assert found(files="?.tsv") == [("train", "tsv", "a.tsv"), ("train", "tsv", "b.tsv")]
    assert found(files=["b.tsv", "c.csv", "*.tsv"]) == [
        ("train", "tsv", "[1].tsv"),
        ("train", "tsv", "a.tsv"),
        ("train", "tsv", "b.tsv"),
        ("train", "csv", "c.csv"),
    ]
    assert found(files="[1].tsv") == [("train", "tsv", "[1].tsv")]


def test_splits_keep_their_order_and_formats_follow_names(folder):
    files = {"test": "e.parquet", "train": ["d.jsonl.gz"], "validation": f"{folder}/c.csv"}
    assert found(files=files) == [
        ("train", "jsonl", "d.jsonl.gz"),
        ("validation", "csv", f"{folder}/c.csv"),
        ("test", "parquet", "e.parquet"),
    ]
    assert found(files="f.txt", format="tsv") == [("train", "tsv", "f.txt")]


def test_aligned_files(folder):
    config = IngestConfig(files={"train": {"target": "g.txt", "source": "f.txt"}}, format="text")
    (source,) = find_sources(config, "seq2seq")
    assert list(source.files.items()) == [("source", "f.txt"), ("target", "g.txt")]
    assert (source.format, source.file) == ("text", "f.txt")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {"files": "aa.tsv"},
            "ingest: no file matches 'aa.tsv' (`files.train`; relative paths start in {cwd}). "
            "Did you mean 'a.tsv'? Give the path or glob of at least one file.",
        ),
        (
            {"files": {"train": "a.tsv", "test": "{cwd}/bb.tsv"}},
            "(`files.test`; relative paths start in {cwd}). Did you mean '{cwd}/b.tsv'?",
        ),
        ({"files": "*.xml"}, "no file matches '*.xml'"),
        ({"files": "nowhere/a.tsv"}, "no file matches 'nowhere/a.tsv'"),
        (
            {"files": "ftq://a/b.tsv"},
            "cannot look for 'ftq://a/b.tsv' (`files.train`): Unable to get filesystem",
        ),
        (
            {"files": "f.txt"},
            "cannot tell the format of f.txt from its name, expected one of .tsv, .csv, .jsonl, .parquet",
        ),
        (
            {"files": "f.txt", "format": "text"},
            "`format: text` received one file, f.txt, expected one for each field",
        ),
        (
            {"files": "e.parquet", "columns": {"text": 0, "label": 1}},
            "received positions, but e.parquet is parquet",
        ),
        (
            {"files": {"train": {"text": "f.txt"}}},
            "received files for text, expected one for each of text, label",
        ),
        (
            {"files": {"train": {"text": "?.txt", "label": "f.txt"}}},
            "received 2 for text, 1 for label, expected as many",
        ),
        (
            {"files": {"train": {"text": "f.txt", "label": "f.txt"}}, "format": "csv"},
            "`files.train` received a mapping, which is for `format: text`, not csv",
        ),
    ],
)
def test_what_cannot_be_found_is_explained(folder, config, message):
    cwd = os.getcwd()
    if isinstance(config["files"], dict):
        config = config | {
            "files": {
                split: file.replace("{cwd}", cwd) if isinstance(file, str) else file
                for split, file in config["files"].items()
            }
        }
    with pytest.raises(UserError) as caught:
        found(**config)
    assert message.replace("{cwd}", cwd) in str(caught.value)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"files": {"test": "a.tsv"}}, "files names no file to train on"),
        ({"files": []}, "files names no file to train on"),
        (
            {"files": "a.tsv", "columns": {"txt": "a"}},
            "columns has txt, expected some of text, label, source, target",
        ),
        ({"files": "a.tsv", "columns": {"text": "a", "label": 1}}, "columns mixes names and positions"),
        ({"files": "a.tsv", "columns": {"text": -1, "label": 1}}, "columns has a negative position"),
        ({"files": "a.tsv", "holdout": {"test": 0.5, "validation": 0.5}}, "holdout takes everything"),
    ],
)
def test_configurations_that_cannot_work_are_refused(config, message):
    with pytest.raises(ValidationError, match=message):
        IngestConfig(**config)
