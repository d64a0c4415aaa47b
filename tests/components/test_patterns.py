import os
from pathlib import Path

import pytest
from ingest_cases import ALL, examples, ingest

from components import files
from components.errors import UserError
from components.ingest.config import IngestConfig
from components.patterns import why_unmatched
from pipeline.config.paths import missing_files

ODD = ["[v1]", "[ ]", "x*y", "what?", "a%2Fb", "100%", "a#b", "[!a]*?"]
TABLE = "text\tlabel\na\tx\n"


@pytest.fixture(params=ODD)
def odd(request, tmp_path, monkeypatch):
    """The name of a folder, which is the working directory, too, and beside it one that its name matches."""
    here = tmp_path / request.param
    (here / request.param).mkdir(parents=True)
    (here / "v").mkdir()
    monkeypatch.chdir(here)
    return request.param


@pytest.mark.parametrize("pattern", ["{}/a.tsv", "{}/*.tsv", "{}/?.tsv", "./{}/[a].tsv", "**/a.tsv"])
def test_data_in_a_folder_of_any_name(odd, pattern):
    Path(odd, "a.tsv").write_text(TABLE)
    config = {"files": pattern.format(odd), **ALL}
    assert list(missing_files(IngestConfig(**config))) == []
    assert examples(ingest(config, root=f"{odd}/runs")) == [("a", "x")]
    assert files.names(files.resolve(f"{odd}/runs")) == ["artifacts"]


@pytest.mark.parametrize("pattern", ["{}/a[1]*.tsv", "{}/a[1]*"])
def test_a_file_of_a_pattern_s_name(odd, pattern):
    Path(odd, "a[1]*.tsv").write_text(TABLE)
    found = files.find(f"{odd}/a[1]*.tsv")
    assert [os.path.relpath(path) for path in found] == [f"{odd}/a[1]*.tsv"]


def test_deleting_one_name_deletes_no_other(tmp_path, odd):
    for name in (odd, "v", "xxy"):
        files.write(files.resolve(tmp_path) / name / "a*", b"")
        files.write(files.resolve(tmp_path) / name / "ab", b"")
    files.delete([files.resolve(tmp_path) / odd / "a*"])
    left = [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("a*") if path.is_file()]
    assert sorted(left) == sorted([f"{odd}/ab", "v/a*", "v/ab", "xxy/a*", "xxy/ab"])


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("[v1]/*.csv", "; '[v1]' was read as the name of the folder, which holds 'a.tsv', but no '*.csv'"),
        (
            "[v1]/*/a.tsv",
            "; '[v1]' was read as the name of the folder, which holds 'a.tsv', but no '*/a.tsv'",
        ),
        ("[ ]/*", "; '[ ]' was read as the name of the folder, which holds nothing, but no '*'"),
        (
            "[v2]/*.tsv",
            "; nothing matches '[v2]', in which [...] stands for one of the characters inside, and [[] for a "
            "bracket",
        ),
        ("none/*/a.tsv", "; nothing matches 'none'"),
        ("data/*.csv", ""),
        ("data/a.csv", ""),
        ("memory://[v1]/*", ""),
    ],
)
def test_a_glob_without_a_file_says_why(tmp_path, monkeypatch, pattern, why):
    monkeypatch.chdir(tmp_path)
    for folder in ("[v1]", "data", "[ ]"):
        Path(folder).mkdir()
    Path("[v1]/a.tsv").write_text(TABLE)
    Path("data/a.tsv").write_text(TABLE)
    assert why_unmatched(pattern) == why
    if why:
        with pytest.raises(UserError) as caught:
            ingest({"files": pattern})
        assert f"start in {tmp_path}{why})" in str(caught.value)
        (problem,) = missing_files(IngestConfig(files=pattern))
        assert problem.message == f"'{pattern}' matches no file in {tmp_path}{why}"
