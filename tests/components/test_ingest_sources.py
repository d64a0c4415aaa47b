import os

import pytest
from pydantic import ValidationError
from upath import UPath

from components.errors import UserError
from components.ingest.config import IngestConfig
from components.ingest.sources import find_sources
from components.stores import StoreError


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name in ("b.tsv", "a.tsv", "c.csv", "d.jsonl.gz", "e.parquet", "f.txt", "g.txt", "[1].tsv"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def found(task="classification", **config):
    return [
        (source.split, source.format, source.name()) for source in find_sources(IngestConfig(**config), task)
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
    assert source.files == {"source": UPath(folder, "f.txt"), "target": UPath(folder, "g.txt")}
    assert [source.name(field) for field in source.files] == ["f.txt", "g.txt"]
    assert (source.format, source.name()) == ("text", "f.txt")


def test_places_do_not_depend_on_the_working_directory(folder, monkeypatch):
    (folder / "[v1]").mkdir()
    (folder / "[v1]" / "h.tsv").touch()
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.chdir(folder / "[v1]")
    for pattern, name in (
        ("../a.tsv", "../a.tsv"),
        ("./*.tsv", "h.tsv"),
        ("~/a.tsv", f"{folder}/a.tsv"),
        (f"file://{folder}/a.tsv", f"{folder}/a.tsv"),
        (f"file://{folder}/[ax].tsv", f"{folder}/a.tsv"),
        (f"{folder}/[v1]/*", f"{folder}/[v1]/h.tsv"),
    ):
        (source,) = find_sources(IngestConfig(files=pattern), "classification")
        assert source.name() == name
        assert source.place() == UPath(folder, "[v1]" if "h.tsv" in name else "", os.path.basename(name))


def test_a_folder_of_this_very_name_comes_before_the_glob(folder):
    for name in ("[v1]", "v", "[v1]/[xy]"):
        (folder / name).mkdir()
        (folder / name / "h.tsv").touch()
    assert found(files="[v1]/*.tsv") == [("train", "tsv", "[v1]/h.tsv")]
    assert found(files="[v1]/**/h.tsv") == [
        ("train", "tsv", "[v1]/[xy]/h.tsv"),
        ("train", "tsv", "[v1]/h.tsv"),
    ]
    assert found(files="[v2]/*.tsv") == [("train", "tsv", "v/h.tsv")]
    with pytest.raises(UserError, match=r"Did you mean '\[v1\]/h\.tsv'"):
        found(files="[v1]/hh.tsv")


def test_a_file_is_read_once_however_it_is_called(folder):
    assert found(files=["a.tsv", f"{folder}/a.tsv", "./a.tsv"]) == [("train", "tsv", "a.tsv")]


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
            "ingest: `files.train`: received 'ftq://a/b.tsv', expected a local path, or an address",
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
    ("error", "message"),
    [
        (StoreError("s3://b: denied. Check the address."), "s3://b: denied. Check the address."),
        (ValueError("denied"), "denied. Check the address and your access."),
    ],
)
def test_what_a_store_advises_is_said_once(monkeypatch, error, message):
    def find(pattern):
        raise error

    monkeypatch.setattr("components.ingest.sources.files.find", find)
    with pytest.raises(UserError) as caught:
        found(files="s3://b/a.tsv")
    assert str(caught.value) == f"ingest: cannot look for 's3://b/a.tsv' (`files.train`): {message}"


@pytest.mark.parametrize(
    ("config", "message"),
    [
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
