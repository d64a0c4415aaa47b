import os
from pathlib import Path

from pipeline.plan import fingerprint
from pipeline.plan.fingerprint import FileFingerprints, source_fingerprint


def test_a_file_is_known_by_its_content(tmp_path):
    for name, content in (("a", b"one"), ("b", b"one"), ("c", b"two")):
        (tmp_path / name).write_bytes(content)
    files = FileFingerprints(tmp_path / "cache.json")
    a, b, c = (files.of(str(tmp_path / name)) for name in "abc")
    assert a == b != c


def test_an_unchanged_file_is_not_read_again(tmp_path, monkeypatch):
    path = tmp_path / "data"
    path.write_bytes(b"one")
    files = FileFingerprints(tmp_path / "folder" / "cache.json")
    before = files.of(str(path))
    files.save()
    monkeypatch.setattr(fingerprint, "sha256", lambda path: "read")
    again = FileFingerprints(tmp_path / "folder" / "cache.json")
    assert again.of(str(path)) == before
    os.utime(path, ns=(1, 1))
    assert again.of(str(path)) == "read"


def test_a_broken_cache_is_no_trouble(tmp_path):
    (tmp_path / "cache.json").write_text("{", encoding="utf-8")
    (tmp_path / "data").write_bytes(b"one")
    assert len(FileFingerprints(tmp_path / "cache.json").of(str(tmp_path / "data"))) == 64


def test_source_is_followed_through_imports_of_the_packages_alone(tmp_path, monkeypatch):
    files = {
        "components/__init__.py": "",
        "components/a.py": "import numpy\ndef f():\n    from components.b import thing\n",
        "components/b.py": "from . import c\n",
        "components/c.py": "x = 1\n",
        "components/d.py": "y = 1\n",
        "pipeline/fingerprint.py": "",
    }

    def write(name, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    for name, text in files.items():
        write(name, text)
    monkeypatch.setattr(fingerprint, "__file__", str(tmp_path / "pipeline" / "plan" / "fingerprint.py"))
    before = source_fingerprint("components.a")
    write("components/d.py", "y = 2\n")
    assert source_fingerprint("components.a") == before
    write("components/c.py", "x = 2\n")
    assert source_fingerprint("components.a") != before


def test_the_stages_sources_are_found():
    from pipeline.plan.stages import STAGES

    prints = [source_fingerprint(stage.module) for stage in STAGES]
    assert len(set(prints)) == len(STAGES)


def test_a_script_that_is_run_by_its_path_counts_as_well(monkeypatch):
    module = "components.export.transform"
    before, read_bytes = source_fingerprint(module), Path.read_bytes

    def read(path):
        return read_bytes(path) + (b"#" if path.name == "session.py" else b"")

    monkeypatch.setattr(Path, "read_bytes", read)
    assert source_fingerprint(module) != before
