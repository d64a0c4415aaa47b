import gzip
import os
import shutil
import sys
import time
from pathlib import Path

import pytest

from components import files
from components.ingest.config import IngestConfig
from components.ingest.sources import find_sources
from pipeline.plan import fingerprint
from pipeline.plan.fingerprint import DataState, FileFingerprints, source_fingerprint


def test_a_file_is_known_by_its_content(tmp_path):
    for name, content in (("a", b"one"), ("b", b"one"), ("c", b"two")):
        (tmp_path / name).write_bytes(content)
    known = FileFingerprints(tmp_path / "cache.json")
    a, b, c = (known.of(files.resolve(tmp_path / name)) for name in "abc")
    assert a == b != c


def test_a_big_unchanged_file_is_not_read_again(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_SMALL", -1)
    path = files.resolve(tmp_path / "data")
    files.write(path, b"one")
    known = FileFingerprints(tmp_path / "folder" / "cache.json")
    before = known.of(path)
    known.save()
    monkeypatch.setattr(files, "sha256", lambda path: "read")
    again = FileFingerprints(tmp_path / "folder" / "cache.json")
    assert again.of(path) == before
    os.utime(tmp_path / "data", ns=(1, 1))
    assert again.of(path) == "read"


@pytest.mark.parametrize("small", [True, False])
def test_an_edit_that_keeps_size_and_time_is_noticed(tmp_path, monkeypatch, small):
    if not small:
        monkeypatch.setattr(files, "_SMALL", -1)
    path = files.resolve(tmp_path / "data")
    files.write(path, b"one")
    known = FileFingerprints(tmp_path / "cache.json")
    before, stat = known.of(path), (tmp_path / "data").stat()
    time.sleep(0.02)  # what the clock of the file system needs to move on
    (tmp_path / "data").write_bytes(b"two")
    os.utime(tmp_path / "data", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert known.of(path) != before


def test_another_file_in_its_place_of_the_same_size_and_time_is_noticed(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_SMALL", -1)
    for name, content in (("data", b"one"), ("other", b"two")):
        (tmp_path / name).write_bytes(content)
        os.utime(tmp_path / name, ns=(1, 1))
    known = FileFingerprints(tmp_path / "cache.json")
    before = known.of(files.resolve(tmp_path / "data"))
    shutil.copy2(tmp_path / "other", tmp_path / "data.new")  # as `cp -p` and `tar` do
    os.replace(tmp_path / "data.new", tmp_path / "data")
    assert (tmp_path / "data").stat().st_mtime_ns == 1
    assert known.of(files.resolve(tmp_path / "data")) != before


def test_a_small_file_is_known_by_its_content_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "signature", lambda path: "3|1|1|1")  # as on disks without such times
    known = FileFingerprints(tmp_path / "cache.json")
    (tmp_path / "data").write_bytes(b"one")
    before = known.of(files.resolve(tmp_path / "data"))
    (tmp_path / "data").write_bytes(b"two")
    assert known.of(files.resolve(tmp_path / "data")) != before


@pytest.mark.parametrize("content", ["{", "[]", "null", '{"a": 1}', '"text"'])
def test_a_broken_cache_is_no_trouble(tmp_path, content):
    (tmp_path / "cache.json").write_text(content.replace('"a"', f'"{tmp_path}/data"'), encoding="utf-8")
    (tmp_path / "data").write_bytes(b"one")
    assert len(FileFingerprints(tmp_path / "cache.json").of(files.resolve(tmp_path / "data"))) == 64


def test_a_cache_that_cannot_be_written_is_no_trouble(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "data").write_bytes(b"one")
    known = FileFingerprints(tmp_path / "file" / "cache.json")
    known.of(files.resolve(tmp_path / "data"))
    known.save()


def test_remote_files_are_known_by_what_their_store_says(monkeypatch, tmp_path):
    path = files.resolve("memory://fingerprints/data")
    files.write(path, b"one")
    monkeypatch.setattr(files, "sha256", lambda path: pytest.fail("it was read"))
    known = FileFingerprints(tmp_path / "cache.json")
    before = known.of(path)
    assert known.of(path) == before
    files.write(path, b"two")
    assert known.of(path) != before


def state(folder, **splits):
    sources = find_sources(IngestConfig(files=splits), "classification")
    return DataState.of(sources, FileFingerprints(folder / "cache.json")), sources


def test_data_are_known_split_by_split_by_content_format_and_compression(tmp_path):
    for name in ("a.tsv", "b.tsv", "a.csv"):
        (tmp_path / name).write_bytes(b"text\tlabel\n")
    with gzip.open(tmp_path / "a.tsv.gz", "wb") as file:
        file.write(b"text\tlabel\n")
    (tmp_path / "c.tsv.gz").write_bytes(b"text\tlabel\n")
    prints = {}
    for name in ("a.tsv", "b.tsv", "a.csv", "a.tsv.gz", "c.tsv.gz"):
        found, _ = state(tmp_path, train=str(tmp_path / name), test=str(tmp_path / "a.tsv"))
        assert set(found.fingerprints) == {"train", "test"}
        assert found.fingerprints["test"] == prints.get("a.tsv", found.fingerprints["test"])
        prints[name] = found.fingerprints["train"]
    assert prints.pop("a.tsv") == prints["b.tsv"]
    assert len(set(prints.values())) == 4


def test_data_that_change_meanwhile_are_noticed(tmp_path, monkeypatch):
    (tmp_path / "a.tsv").write_bytes(b"text\tlabel\n")
    found, sources = state(tmp_path, train=str(tmp_path / "a.tsv"))
    assert found.unchanged(sources)
    (tmp_path / "a.tsv").touch()
    with monkeypatch.context() as patch:
        patch.setattr(files, "write", lambda *arguments: pytest.fail("looking wrote something"))
        assert found.unchanged(sources)
    (tmp_path / "a.tsv").write_bytes(b"text\tlabel\na\tb\n")
    assert not found.unchanged(sources)
    (tmp_path / "a.tsv").unlink()
    assert not found.unchanged(sources)


def test_source_is_followed_through_imports_of_the_packages_alone(tmp_path, monkeypatch):
    sources = {
        "components/__init__.py": "",
        "components/a.py": "import numpy\ndef f():\n    from components.b import thing\n",
        "components/b.py": "from . import c\n",
        "components/c.py": "x = 1\n",
        "components/d.py": "y = 1\n",
        "pipeline/plan/fingerprint.py": "",
    }

    def write(name, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    for name, text in sources.items():
        write(name, text)
    monkeypatch.setattr(fingerprint, "__file__", str(tmp_path / "pipeline" / "plan" / "fingerprint.py"))
    before = source_fingerprint("components.a")
    write("components/d.py", "y = 2\n")
    assert source_fingerprint("components.a") == before
    write("components/c.py", "x = 2\n")
    assert source_fingerprint("components.a") != before


def test_source_from_outside_is_followed_through_its_own_package_and_these(tmp_path, monkeypatch):
    package = tmp_path / "outside_of_here"
    package.mkdir()
    for name, text in (
        ("__init__", ""),
        ("stage", "import numpy\nfrom . import counting\nfrom components.errors import UserError\n"),
        ("counting", "x = 1\n"),
        ("other", "y = 1\n"),
    ):
        (package / f"{name}.py").write_text(text, encoding="utf-8")
    (tmp_path / "single_outside.py").write_text("z = 1\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    module = "outside_of_here.stage"
    before, single = source_fingerprint(module), source_fingerprint("single_outside")
    (package / "other.py").write_text("y = 2\n", encoding="utf-8")
    assert source_fingerprint(module) == before
    (package / "counting.py").write_text("x = 2\n", encoding="utf-8")
    assert source_fingerprint(module) != before
    (tmp_path / "single_outside.py").write_text("z = 2\n", encoding="utf-8")
    assert source_fingerprint("single_outside") != single
    read_bytes, after = Path.read_bytes, source_fingerprint(module)
    monkeypatch.setattr(
        Path, "read_bytes", lambda path: read_bytes(path) + (b"#" if path.name == "errors.py" else b"")
    )
    assert source_fingerprint(module) != after


@pytest.mark.parametrize("module", ["__main__", "nowhere_to_be_found"])
def test_source_that_is_in_no_file_counts_as_none(module, monkeypatch):
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", None)
    assert len(source_fingerprint(module)) == 16


def test_the_stages_sources_are_found():
    from pipeline.stages import STAGES

    prints = [source_fingerprint(stage.module) for stage in STAGES]
    assert len(set(prints)) == len(STAGES)


def test_a_script_that_is_run_by_its_path_counts_as_well(monkeypatch):
    module = "components.export.transform"
    before, read_bytes = source_fingerprint(module), Path.read_bytes

    def read(path):
        return read_bytes(path) + (b"#" if path.name == "session.py" else b"")

    monkeypatch.setattr(Path, "read_bytes", read)
    assert source_fingerprint(module) != before
