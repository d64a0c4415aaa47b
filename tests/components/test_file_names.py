"""File names that are not UTF-8."""

import json
import os
from pathlib import Path

import pytest
from ingest_cases import ALL, examples, ingest, rejected
from pydantic import ValidationError

from components.errors import UserError
from components.ingest.config import IngestConfig
from components.ingest.sources import find_sources
from components.text import is_utf8_path, printable
from pipeline.config import PipelineConfig
from pipeline.config.places import Places

LATIN = os.fsdecode(b"caf\xe9")
SHOWN = "caf\\xe9"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("é/日", "é/日"),
        (LATIN, SHOWN),
        ("a\\xe9", "a\\xe9"),
        ("\ud83d", "\\ud83d"),
        (os.fsdecode(b"\xffa\xc3"), "\\xffa\\xc3"),
    ],
)
def test_paths_for_people(path, shown):
    assert printable(path) == shown
    assert is_utf8_path(path) == (path == shown)


@pytest.mark.parametrize("pattern", ["*.tsv", "{folder}/caf?.tsv", "**/*.tsv"])
def test_files_of_a_glob_may_have_any_name(tmp_path, pattern):
    Path(f"{LATIN}.tsv").write_text("text\tlabel\na\tx\nbad\nb\tx\na\tx\n")
    Path("test.jsonl").write_text('{"text": "a", "label": "x"}\n')
    where = {"train": pattern.format(folder=tmp_path), "test": "test.jsonl"}
    made = ingest({"files": where, "max_rejected": 1, **ALL})
    assert examples(made) == [("a", "x"), ("b", "x"), ("a", "x")]
    name = f"{tmp_path}/{SHOWN}.tsv" if "{" in pattern else f"{SHOWN}.tsv"
    assert [row[:3] for row in rejected(made)] == [(name, 3, "1 columns instead of 2")]
    assert made.statistics()["shared_texts"][0]["places"] == [[f"{name}:2", "test.jsonl:1"]]
    json.dumps(made.summary, ensure_ascii=False).encode()
    assert not [path for path in Path("runs").rglob(".*") if path.is_file()]


@pytest.mark.parametrize("contents", ["", "text\tother\n", "text\tlabel\n\n\n\nbad\n"])
def test_what_is_wrong_with_such_a_file_can_be_told(contents):
    Path(f"{LATIN}.tsv").write_text(contents)
    with pytest.raises(UserError) as caught:
        ingest({"files": "*.tsv", **ALL})
    assert SHOWN in str(caught.value)
    str(caught.value).encode()


def test_a_folder_of_such_a_name_holds_data():
    Path(LATIN).mkdir()
    Path(LATIN, "a.tsv").write_text("text\tlabel\na\tx\n")
    (source,) = find_sources(IngestConfig(files="*/a.tsv"), "classification")
    assert source.name() == f"{SHOWN}/a.tsv"
    os.chdir(LATIN)
    with pytest.raises(UserError, match=r"no file matches 'x\.tsv'") as caught:
        find_sources(IngestConfig(files="x.tsv"), "classification")
    str(caught.value).encode()


@pytest.mark.parametrize(
    "files", [f"{LATIN}.tsv", [f"{LATIN}.tsv"], {"train": {"text": f"{LATIN}.tsv", "label": "b"}}]
)
def test_a_name_that_is_written_out_must_be_utf8(files):
    with pytest.raises(
        ValidationError, match=r"not UTF-8, expected a name that is; give a glob, such as 'caf\?\.tsv'"
    ):
        IngestConfig(files=files)


@pytest.mark.parametrize("key", ["root", "export"])
def test_what_is_written_goes_where_the_name_is_utf8(monkeypatch, key):
    Path("a.tsv").write_text("text\tlabel\na\tx\n")
    Path(LATIN).mkdir()
    elsewhere = {"root": str(Path.cwd() / "runs"), "export": {"directory": str(Path.cwd() / "serving")}}
    config = {
        "name": "a",
        "task": "classification",
        "ingest": {"files": str(Path.cwd() / "a.tsv")},
        "model": {"encoder": {"type": "gru"}},
        **{name: value for name, value in elsewhere.items() if name != key},
    }
    monkeypatch.chdir(LATIN)
    with pytest.raises(
        UserError, match=rf"{key}.*, which is .*caf\\xe9/.*expected a path in UTF-8"
    ) as caught:
        Places.of(PipelineConfig.model_validate(config))
    str(caught.value).encode()
    monkeypatch.chdir("..")
    Places.of(PipelineConfig.model_validate(config))
