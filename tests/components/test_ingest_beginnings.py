"""Wrong columns are told from the beginnings of files, in every format."""

import pyarrow
import pytest
from pyarrow import parquet

from components.errors import UserError
from components.ingest.beginnings import check_columns
from components.ingest.config import IngestConfig
from components.ingest.sources import find_sources


def check(folder, name, columns=None, **more):
    config = IngestConfig(files=str(folder / name), columns=columns or {}, **more)
    check_columns(config, "classification", find_sources(config, "classification"))


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "a.tsv").write_text("text\tstars\na\t1\n", "utf-8")
    (tmp_path / "a.csv").write_text("text,stars\na,1\n", "utf-8")
    (tmp_path / "a.jsonl").write_text('\n{"text": "a", "stars": 1}\n', "utf-8")
    (tmp_path / "none.tsv").write_text("a\t1\nb\t2\n", "utf-8")
    (tmp_path / "odd.jsonl").write_text('{"text": "a"}\n[]\nno\n{"text": "b", "label": "1"}\n', "utf-8")
    parquet.write_table(pyarrow.table({"text": ["a"], "stars": [1]}), tmp_path / "a.parquet")
    return tmp_path


@pytest.mark.parametrize("name", ["a.tsv", "a.csv", "a.jsonl", "a.parquet"])
def test_a_column_that_is_not_there(folder, name):
    with pytest.raises(UserError, match=r"there is no column 'label'.*It has: 'text', 'stars'.*label: stars"):
        check(folder, name)
    check(folder, name, {"label": "stars"})


@pytest.mark.parametrize("name", ["a.tsv", "a.csv", "a.parquet"])
def test_a_kept_column_that_is_not_there(folder, name):
    with pytest.raises(UserError, match=r"there is no column 'ID'"):
        check(folder, name, {"label": "stars"}, keep={"id": "ID"})


def test_a_single_odd_record_is_for_the_run_to_reject(folder):
    check(folder, "odd.jsonl")


def test_positions_need_no_header(folder):
    check(folder, "none.tsv", {"text": 0, "label": 1})


def test_of_many_files_only_the_beginnings_are_read(tmp_path):
    for number in range(30):
        (tmp_path / f"{number:02}.tsv").write_text("text\tlabel\na\tb\n", "utf-8")
    (tmp_path / "29.tsv").write_text("text\tstars\na\tb\n", "utf-8")
    check(tmp_path, "*.tsv")
    (tmp_path / "03.tsv").write_text("text\tstars\na\tb\n", "utf-8")
    with pytest.raises(UserError, match=r"03\.tsv: there is no column 'label'"):
        check(tmp_path, "*.tsv")
