import hashlib
import json
import os
import threading
import time
import uuid
from datetime import datetime, timezone
from typing import ClassVar

import pytest

from components import files
from components.artifacts.artifact import Artifact, Manifest, Reference, inputs_hash, part_digests
from components.errors import UserError
from components.work import Work
from pipeline.store.store import Made, Store


class Thing(Artifact):
    stage = "thing"
    parts: ClassVar = {"folder": ("folder/",), "rest": ("rest",)}


@pytest.fixture(params=["disk", "memory"])
def store(request, tmp_path, monkeypatch):
    monkeypatch.setenv("RNNPIPE_CACHE", str(tmp_path / "cache"))
    return Store(
        files.resolve(tmp_path / "runs" if request.param == "disk" else f"memory://{uuid.uuid4().hex}")
    )


def attempted(store, key="key", content="hello", number=1, read=None):
    """What an attempt has written, as its manifest would say."""
    with Work(store.root, "thing", key).attempt() as attempt:
        made = [attempt.put("folder/file.txt", content.encode()), attempt.put("rest", b"rest")]
    return Manifest(
        stage="thing",
        key=key,
        inputs=inputs_hash(read or {}),
        number=number,
        attempt=attempt.id,
        run="run",
        made=datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
        seconds=1.5,
        summary={"rows": 3},
        ingredients={"settings": {"a": "1"}},
        read=read or {},
        digests=part_digests(Thing, made),
        files={each.name: each for each in made},
    )


def commit(store, *arguments, **options):
    return store.commit(Thing, attempted(store, *arguments, **options), {})


def find(store, number=1):
    return store.find(Thing, "key", inputs_hash({}), number)


def test_what_is_committed_is_found_again(store):
    made, found = commit(store), find(store)
    assert found.manifest == made.manifest
    assert found.reference == made.reference
    assert found.summary == {"rows": 3}
    assert found.manifest.files["folder/file.txt"].size == 5
    assert found.read("folder/file.txt") == b"hello"
    assert store.made("thing", "key") == [Made(inputs_hash({}), 1)]
    assert store.damage(found) == store.damage(found, thorough=True) == ""


def test_without_a_manifest_there_is_no_artifact(store):
    manifest = attempted(store)
    assert find(store) is None
    assert store.made("thing", "key") == []
    assert store.recent(Thing) == []
    store.commit(Thing, manifest, {})
    assert find(store) is not None


def test_the_newest_comes_first(store):
    for key in "abc":
        commit(store, key)
        time.sleep(0.01)
    assert [artifact.manifest.key for artifact in store.recent(Thing)] == ["c", "b", "a"]


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda path: files.delete([path]), "folder/file.txt is missing"),
        (lambda path: files.write(path, b"hell"), "folder/file.txt has 4 bytes instead of 5"),
    ],
)
def test_damage_is_named(store, harm, said):
    made = commit(store)
    harm(made.place("folder/file.txt"))
    assert store.damage(find(store)) == said
    with pytest.raises(UserError, match="Run again: what is damaged is rebuilt"):
        find(store).file("folder/file.txt")


def test_other_content_of_the_same_size_is_noticed(store):
    made = commit(store)
    files.write(made.place("folder/file.txt"), b"hallo")
    if files.is_local(store.root):  # when planning
        assert store.damage(find(store)) == "folder/file.txt was changed after it was made"
    else:  # when it is opened for the first time
        assert store.damage(find(store)) == ""
        with pytest.raises(UserError, match="is not what was written"):
            find(store).file("folder/file.txt")


def test_an_edit_that_keeps_size_and_time_is_noticed(tmp_path):
    store = Store(files.resolve(tmp_path))
    path = files.local(commit(store).place("folder/file.txt"))
    before = path.stat()
    time.sleep(0.02)  # what the clock of the file system needs to move on
    path.write_bytes(b"hallo")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert store.damage(find(store)) == "folder/file.txt was changed after it was made"


def test_small_files_are_known_by_their_content_alone(tmp_path, monkeypatch):
    store = Store(files.resolve(tmp_path))
    path = files.local(commit(store).place("folder/file.txt"))
    (listed,) = (file for file in find(store).manifest.files.values() if file.name == "folder/file.txt")
    monkeypatch.setattr(files, "signature", lambda place: listed.signature)  # as on disks without such times
    path.write_bytes(b"hallo")
    assert store.damage(find(store)) == "folder/file.txt was changed after it was made"


def test_big_unchanged_files_are_read_on_demand_only(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_SMALL", -1)
    store = Store(files.resolve(tmp_path))
    made, read = commit(store), []
    monkeypatch.setattr(files, "sha256", lambda path: read.append(path) or "other")
    assert store.damage(made) == ""
    assert read == []
    assert store.damage(made, thorough=True) == "folder/file.txt was changed after it was made"


def test_a_copied_root_is_read_once(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_SMALL", -1)
    commit(Store(files.resolve(tmp_path / "old")))
    (tmp_path / "old").rename(tmp_path / "new")
    path = files.local(find(Store(files.resolve(tmp_path / "new"))).place("rest"))
    path.touch()
    read, sha256 = [], files.sha256
    monkeypatch.setattr(files, "sha256", lambda path: read.append(path.name) or sha256(path))
    for _ in range(2):
        store = Store(files.resolve(tmp_path / "new"))
        assert store.damage(find(store)) == ""
    assert read.count("rest") == 1


def test_the_first_commit_stays(store):
    first = commit(store, content="first")
    second = commit(store, content="second")
    assert second.manifest == first.manifest
    assert second.read("folder/file.txt") == b"first"
    assert store.damage(first) == ""


def test_equal_names_need_equal_inputs_and_numbers(store):
    one = commit(store, content="one", read={"other part": "a"})
    two = commit(store, content="two", read={"other part": "b"})
    rebuilt = commit(store, content="three", read={"other part": "b"}, number=2)
    assert [artifact.read("folder/file.txt") for artifact in (one, two, rebuilt)] == [
        b"one",
        b"two",
        b"three",
    ]
    assert sorted(each.number for each in store.made("thing", "key")) == [1, 1, 2]


def test_of_many_commits_at_once_one_is_handed_to_all(store):
    barrier, made = threading.Barrier(8), []

    def work(number):
        manifest = attempted(store, content=f"content {number}")
        barrier.wait()
        made.append(store.commit(Thing, manifest, {}))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 8
    assert len({artifact.manifest.attempt for artifact in made}) == 1
    assert store.damage(find(store), thorough=True) == ""


@pytest.mark.parametrize("lost", [True, False])
def test_a_lost_answer_is_no_failure_but_a_lost_manifest_is(store, monkeypatch, lost):
    create = files.create

    def fail(path, data):
        if lost:
            create(path, data)
        raise OSError("unreachable")

    manifest = attempted(store)
    with monkeypatch.context() as patch:
        patch.setattr(files, "create", fail)
        if lost:
            assert store.commit(Thing, manifest, {}).manifest == manifest
        else:
            with pytest.raises(OSError, match="unreachable"):
                store.commit(Thing, manifest, {})
    assert store.commit(Thing, manifest, {}).manifest == manifest


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"{}", b'{"files": {"a": {"x": 1}}}', b"\xff\xfe", b"null", b'"text"']
)
def test_an_unreadable_manifest_is_no_traceback(store, content):
    made = commit(store)
    files.write(made.reference.manifest, content)
    with pytest.raises(ValueError):  # noqa: PT011  (json says what it found)
        find(store)
    with pytest.raises(UserError, match="cannot be read"):
        Thing.load(made.reference)
    assert store.recent(Thing) == []
    assert store.made("thing", "key") == [Made(inputs_hash({}), 1)]


def test_a_reference_is_never_answered_with_something_else(store):
    made = commit(store)
    files.delete([made.reference.manifest])
    with pytest.raises(UserError, match="was removed while the run went on"):
        Thing.load(made.reference)
    commit(store, content="other")
    with pytest.raises(UserError, match="was rebuilt with other files"):
        Thing.load(made.reference)
    unknown = Reference(store.root, "thing", "key", inputs_hash({}), 1, digests={})
    assert Thing.load(unknown).read("folder/file.txt") == b"other"


def test_a_part_is_known_by_its_key_as_long_as_it_always_came_out_the_same(store):
    keys = {"folder": "of the folder", "rest": "of the rest"}
    made = store.commit(Thing, attempted(store), keys)
    other = store.commit(Thing, attempted(store, key="other"), keys)
    assert made.manifest.digests == other.manifest.digests
    assert store.known_digest("thing", "of the folder") == made.manifest.digests["folder"]
    store.commit(Thing, attempted(store, key="third", content="else"), keys)
    assert store.known_digest("thing", "of the folder") is None
    assert store.known_digest("thing", "of the rest") == made.manifest.digests["rest"]
    assert store.known_digest("thing", "never made") is None


def test_other_files_in_the_folder_of_a_key_are_no_artifacts(store):
    commit(store)
    for name in ("notes.json", "clock-1", "a-b.json", "a-1.txt", "-1.json"):
        files.write(store.root / "artifacts" / "thing" / "key" / name, b"")
    assert store.made("thing", "key") == [Made(inputs_hash({}), 1)]


def test_manifests_say_where_files_are_below_the_root(store):
    manifest = json.loads(files.read(commit(store).reference.manifest))
    (listed,) = (each for name, each in manifest["files"].items() if name == "folder/file.txt")
    assert listed["path"] == f"artifacts/thing/key/{listed['path'].split('/')[3]}/folder/file.txt"
    assert listed["sha256"] == hashlib.sha256(b"hello").hexdigest()
