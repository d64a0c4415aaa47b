import json
import os
import subprocess
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from components.errors import UserError
from components.export import push as push_module
from components.export.push import (
    Note,
    amend_note,
    latest_version,
    push,
    pushing,
    read_note,
    versions,
)

FILES = {
    "saved_model.pb": b"graph" * 1000,
    "fingerprint.pb": b"",
    "variables/variables.index": b"index",
    "variables/variables.data-00000-of-00001": bytes(range(256)) * 9000,
    "assets/words.txt": "ä\n🙂\n".encode(),
    "assets.extra/tf_serving_warmup_requests": b"warm",
}


@pytest.fixture
def model(tmp_path):
    directory = tmp_path / "model"
    for name, content in FILES.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return directory


@pytest.fixture
def base(tmp_path):
    return tmp_path / "serving" / "my model"


def content(version):
    return {
        str(path.relative_to(version)): path.read_bytes()
        for path in version.rglob("*")
        if path.is_file() and path.name != "rnnpipe.json"
    }


def test_a_push_is_the_next_version_whole(model, base):
    assert latest_version(base) is None
    assert push(model, str(base), Note("abc")) == 1
    assert push(str(model), base, Note("def")) == 2
    assert [path.name for path in base.iterdir() if path.name not in ("1", "2")] == []
    assert content(base / "1") == content(base / "2") == FILES
    assert latest_version(base) == 2
    assert (read_note(base, 1), read_note(base, 2)) == (Note("abc"), Note("def"))
    assert content(model) == FILES


def test_versions_are_counted_as_tf_serving_counts_them(model, base):
    for name in ("3", "0017", "20", "1e3", "-40", "٥٠", ".30"):
        (base / name).mkdir(parents=True)
    for name in ("3", "0017", "1e3", "-40", "٥٠", ".30"):
        (base / name / "saved_model.pb").touch()
    assert versions(base) == {3: base / "3", 17: base / "0017"}
    assert latest_version(base) == 17
    assert push(model, base, Note("k")) == 21


def test_a_version_that_push_did_not_put_there_has_no_note(base):
    (base / "4").mkdir(parents=True)
    (base / "4" / "saved_model.pb").touch()
    assert read_note(base, 4) is None
    assert read_note(base, 5) is None


def test_pushes_at_the_same_time_get_different_versions(model, base):
    with ThreadPoolExecutor(8) as threads:
        keys = map(str, range(24))
        pushed = list(threads.map(lambda key: (push(model, base, Note(key), keep=100), key), keys))
    assert sorted(version for version, _ in pushed) == list(range(1, 25))
    assert all(read_note(base, version).key == key for version, key in pushed)
    assert all(content(base / str(version)) == FILES for version, _ in pushed)


def test_a_number_that_is_taken_at_the_last_moment_is_passed_over(model, base, monkeypatch):
    rename = Path.rename

    def late(self, target):
        if Path(target).name == "1":
            Path(target).mkdir()
            (Path(target) / "saved_model.pb").touch()
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", late)
    assert push(model, base, Note("k")) == 2


KILLED = """
import os, shutil, signal, sys
from components.export import push
copy = shutil.copyfile
def copy_some(source, target):
    if source.name == {victim!r}:
        target.write_bytes(b"half")
        os.kill(os.getpid(), signal.SIGKILL)
    copy(source, target)
shutil.copyfile = copy_some
push.push(sys.argv[1], sys.argv[2], push.Note("k"))
"""


@pytest.mark.parametrize("victim", ["variables.index", "saved_model.pb"])
def test_a_push_that_is_killed_is_never_seen_and_later_removed(model, base, victim):
    script = KILLED.format(victim=victim)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    killed = subprocess.run([sys.executable, "-c", script, model, base], env=environment, check=False)
    assert killed.returncode == -9
    (left,) = base.iterdir()
    assert left.name.startswith(".")
    assert latest_version(base) is None

    assert push(model, base, Note("k")) == 1
    assert left.exists(), "it could be a push that is still going on"
    long_ago = time.time() - 3700
    for path in (left, *left.rglob("*")):
        os.utime(path, (long_ago, long_ago))
    assert push(model, base, Note("k")) == 2
    assert sorted(path.name for path in base.iterdir()) == ["1", "2"]


def test_only_what_a_push_left_and_nobody_writes_is_removed(model, base):
    long_ago = time.time() - 3700
    working, foreign = base / f".{uuid.uuid4()}", base / ".git"
    for directory in (working, foreign):
        directory.mkdir(parents=True)
        os.utime(directory, (long_ago, long_ago))
    (working / "variables").mkdir()
    (working / "variables" / "fresh").touch()
    os.utime(working, (long_ago, long_ago))
    push(model, base, Note("k"))
    assert working.exists()
    assert foreign.exists()


def test_a_copy_that_differs_is_not_published(model, base, monkeypatch):
    def flip(source, target):
        content = source.read_bytes()
        target.write_bytes(content[:-1] + b"?" if source.name == "saved_model.pb" else content)

    monkeypatch.setattr(push_module.shutil, "copyfile", flip)
    with pytest.raises(
        UserError, match=r"could not push .*model to .*: the copy of .*saved_model.pb differs"
    ):
        push(model, base, Note("k"))
    assert list(base.iterdir()) == []


def test_the_graph_is_copied_last(model, base, monkeypatch):
    copied, copy = [], push_module.shutil.copyfile
    monkeypatch.setattr(
        push_module.shutil,
        "copyfile",
        lambda source, target: (copied.append(source.name), copy(source, target)),
    )
    push(model, base, Note("k"))
    assert copied[-1] == "saved_model.pb"
    assert len(copied) == len(FILES)


def test_a_directory_that_cannot_be_written_is_named(model, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"could not push .* to .*file/name: .*set export.directory"):
        push(model, tmp_path / "file" / "name", Note("k"))


def test_what_is_not_a_saved_model_is_not_pushed(tmp_path, base):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty holds no saved_model.pb"):
        push(tmp_path / "empty", base, Note("k"))
    assert not base.exists()


def test_the_note_does_not_disturb_tf_serving(model, base):
    push(model, base, Note("k"))
    note = base / "1" / "assets.extra" / "rnnpipe.json"
    assert json.loads(note.read_text())["key"] == "k"


def test_old_versions_are_kept_by_count(model, base):
    for key in "abcd":
        push(model, base, Note(key))
    (base / "notes").mkdir()
    assert push(model, base, Note("e"), keep=2) == 5
    assert sorted(path.name for path in base.iterdir()) == ["4", "5", "notes"]
    assert content(base / "4") == FILES


def test_pushes_at_the_same_time_may_remove_the_same_versions(model, base):
    with ThreadPoolExecutor(8) as threads:
        pushed = list(threads.map(lambda key: push(model, base, Note(key), keep=2), map(str, range(24))))
    assert sorted(pushed) == list(range(1, 25))
    push(model, base, Note("last"), keep=2)
    assert sorted(versions(base)) == [24, 25]


def test_a_note_travels_with_its_version(model, base):
    note = Note("a", "m", "sqlite:///mlflow.db", bless="always", rolled_back=("b", "c"))
    push(model, base, note)
    assert read_note(base, 1) == note
    amend_note(base, 1, registered=True)
    assert read_note(base, 1) == note._replace(registered=True)
    amend_note(base, 2, registered=True)  # which is not there
    assert [path.name for path in (base / "1" / "assets.extra").iterdir() if path.name[0] == "."] == []
    assert read_note(base, None) is None


def test_a_note_that_is_none_is_told_and_one_of_a_newer_kind_is_read(model, base):
    push(model, base, Note("a"))
    path = base / "1" / "assets.extra" / "rnnpipe.json"
    path.write_text(json.dumps({"key": "a", "what is not known yet": 1}))
    assert read_note(base, 1) == Note("a")
    for broken in ("", "[]", "{}"):
        path.write_text(broken)
        with pytest.raises(UserError, match=r"rnnpipe\.json cannot be read: .* Remove the file"):
            read_note(base, 1)


def refuse(*arguments):
    raise OSError("read-only")


def test_a_place_that_takes_nothing_is_told(model, tmp_path):
    (tmp_path / "file").touch()
    place = pushing(tmp_path / "file" / "name")
    with pytest.raises(UserError, match=r"could not push to .*What is served stays as it was"), place:
        pass
    push(model, tmp_path / "serving", Note("a"))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(push_module.os, "replace", refuse)
        with pytest.raises(UserError, match=r"could not note in .*read-only.*allow this user to write there"):
            amend_note(tmp_path / "serving", 1, registered=True)
    assert not read_note(tmp_path / "serving", 1).registered
