"""Artifacts read from a remote root: copied to this machine once, and checked."""

import shutil

import pytest
from stage_runner import commit

from components import files
from components.artifacts import artifact as module
from components.artifacts.exported_model import ExportedModel
from components.errors import UserError
from components.work import Made, Work
from pipeline.store.store import Store


@pytest.fixture
def exported(tmp_path, monkeypatch):
    monkeypatch.setenv("RNNPIPE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(module, "_checked", set())
    work = Work(files.resolve(f"memory://artifact/{tmp_path.name}"), "export", "key")
    with work.attempt() as attempt:
        made = [
            attempt.put("model/saved_model.pb", b"graph"),
            attempt.put("model/variables/data", b"weights"),
        ]
    return commit(ExportedModel, work, Made(tuple(made), {}))


def test_what_is_damaged_in_the_store_is_told_and_planned_to_be_rebuilt(exported):
    store = Store(exported.root)
    assert store.damage(exported) == ""
    files.write(exported.place("model/saved_model.pb"), b"GRAPH")  # of the same size
    assert store.damage(exported) == ""  # nobody has read it yet
    with pytest.raises(UserError, match="is not what was written"):
        exported.file("model/saved_model.pb")
    assert store.damage(exported) == "model/saved_model.pb is not what was written"


@pytest.mark.parametrize("harm", ["cut", "gone"])
def test_a_copy_that_was_damaged_is_fetched_again(exported, harm, monkeypatch):
    copy = exported.file("model/saved_model.pb")
    assert copy.read_bytes() == b"graph"
    if harm == "cut":
        copy.write_bytes(b"")
    else:
        copy.unlink()
    assert exported.file("model/saved_model.pb").read_bytes() == b"graph"
    copy.write_bytes(b"GRAPH")
    monkeypatch.setattr(module, "_checked", set())  # as in another process
    assert exported.file("model/saved_model.pb").read_bytes() == b"graph"


def test_a_folder_of_copies_that_was_cleaned_is_put_together_again(exported):
    folder = exported.folder("model")
    (folder / "variables" / "data").unlink()
    assert (exported.folder("model") / "variables" / "data").read_bytes() == b"weights"
    shutil.rmtree(folder)
    assert (exported.folder("model") / "saved_model.pb").read_bytes() == b"graph"
