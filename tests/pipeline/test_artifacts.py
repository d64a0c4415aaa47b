import dataclasses
import json
import os
import subprocess
import sys
import threading
import time

import pytest
from filelock import FileLock

from pipeline.store import store as artifacts
from pipeline.store.store import MANIFEST, Store


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "runs")


def commit(store, key="k" * 64, content="hello", **arguments):
    staging = store.staging("ingest")
    (staging / "folder").mkdir()
    (staging / "folder" / "file.txt").write_text(content, encoding="utf-8")
    return store.commit(staging, "ingest", key, {"config a": "1"}, {"rows": 3}, 1.5, **arguments)


def test_commit_makes_an_artifact_that_is_found_again(store):
    made = commit(store)
    found = store.find("ingest", "k" * 64)
    assert found == made
    assert found.summary == {"rows": 3}
    assert found.ingredients == {"config a": "1"}
    assert found.files["folder/file.txt"]["size"] == 5
    assert (found.directory / "folder" / "file.txt").read_text(encoding="utf-8") == "hello"
    assert not any((store.root / "staging").iterdir())


def test_without_a_manifest_there_is_no_artifact(store):
    made = commit(store)
    (made.directory / MANIFEST).unlink()
    assert store.find("ingest", "k" * 64) is None
    assert store.newest("ingest") is None


def test_staging_is_not_visible_before_the_commit(store):
    staging = store.staging("ingest")
    (staging / "file.txt").write_text("half", encoding="utf-8")
    assert store.newest("ingest") is None


def test_newest_is_the_last_made(store):
    commit(store, "a" * 64)
    time.sleep(0.01)
    second = commit(store, "b" * 64)
    assert store.newest("ingest") == second
    assert store.newest("train") is None


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda path: path.unlink(), "folder/file.txt is missing"),
        (lambda path: path.write_text("hell", encoding="utf-8"), "folder/file.txt has 4 bytes instead of 5"),
        (
            lambda path: path.write_text("hallo", encoding="utf-8"),
            "folder/file.txt was changed after it was made",
        ),
    ],
)
def test_damage_is_named(store, harm, said):
    made = commit(store)
    assert made.damage() is None
    harm(made.directory / "folder" / "file.txt")
    assert store.find("ingest", "k" * 64).damage() == said


def test_all_files_are_read_on_demand_only(store, monkeypatch):
    made = dataclasses.replace(commit(store), written=time.time_ns() + 10**9)
    read = []
    monkeypatch.setattr(artifacts, "sha256", lambda path: read.append(path) or "other")
    assert made.damage() is None
    assert read == []
    assert made.damage(thorough=True) == "folder/file.txt was changed after it was made"


def test_a_second_commit_of_a_key_leaves_the_first_in_place(store):
    first = commit(store, content="first")
    second = commit(store, content="second")
    assert second == first
    assert not any((store.root / "staging").iterdir())


def test_a_replacing_commit_takes_the_place(store):
    first = commit(store, content="first")
    second = commit(store, content="second", replaces=first)
    assert (second.directory / "folder" / "file.txt").read_text(encoding="utf-8") == "second"
    assert not any((store.root / "staging").iterdir())


def test_what_another_run_has_replaced_meanwhile_stays(store):
    first = commit(store, content="first")
    time.sleep(0.01)
    second = commit(store, content="second", replaces=first)
    assert commit(store, content="third", replaces=first) == second


def test_a_damaged_artifact_gives_way(store):
    first = commit(store, content="first")
    (first.directory / "folder" / "file.txt").unlink()
    assert commit(store, content="second").damage() is None


def test_many_commits_of_one_key_at_once_leave_one_whole_artifact(store):
    first = commit(store)
    barrier = threading.Barrier(8)
    made = []

    def work(number):
        barrier.wait()
        made.append(commit(store, content=f"content {number}", replaces=first))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 8
    assert store.find("ingest", "k" * 64).damage() is None
    manifest = json.loads((made[0].directory / MANIFEST).read_text(encoding="utf-8"))
    assert list(manifest["files"]) == ["folder/file.txt"]


def test_sweep_removes_only_what_is_nobodys(store):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    mine, fresh = store.staging("ingest"), store.root / "staging" / f"train-{gone.pid}-abc"
    left_behind = store.root / "staging" / f"train-{gone.pid}-def"
    fresh.mkdir()
    left_behind.mkdir()
    for directory in (mine, left_behind):
        os.utime(directory, (0, 0))
    done, held, unfinished, anew = (store.scratch("ingest", letter * 64) for letter in "abcd")
    for scratch in (done, held, unfinished, anew):
        scratch.mkdir(parents=True)
    for letter in "abd":
        commit(store, letter * 64)
    os.utime(done, (0, 0))
    with FileLock(str(held / "lock")):
        os.utime(held, (0, 0))
        os.utime(anew, (2e9, 2e9))
        store.sweep()
    assert mine.exists()
    assert fresh.exists()
    assert not left_behind.exists()
    assert not done.exists()
    assert held.exists()
    assert unfinished.exists()
    assert anew.exists()
