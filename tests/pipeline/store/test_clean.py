import json
import os
import time
import uuid
from types import SimpleNamespace

import pytest

from components import files
from components.artifacts.artifact import Manifest, inputs_hash, manifest_path
from components.artifacts.trained_model import checkpoint_name
from components.carried import carry
from components.errors import UserError
from components.heartbeat import Heartbeat
from components.work import Work
from pipeline.run.folder import RunFolder
from pipeline.store.clean import DAY, Cleaned, clean, clean_cheaply


@pytest.fixture(params=["disk", "memory"])
def root(request, tmp_path):
    return files.resolve(tmp_path / "runs" if request.param == "disk" else f"memory://{uuid.uuid4().hex}")


@pytest.fixture
def aged(monkeypatch):
    """Sets how many days ago a file was written."""
    entries, ages = files.entries, {}
    monkeypatch.setattr(
        files,
        "entries",
        lambda folder: [
            entry._replace(modified=entry.modified - ages.get(str(entry.path), 0.0) * DAY)
            for entry in entries(folder)
        ],
    )

    def age(days, *places):
        for place in places:
            below = entries(place) or [SimpleNamespace(path=place)]
            ages.update({str(entry.path): days for entry in below})

    return age


def attempt(root, key="key", stage="train", names=("model.keras",), content=b"12345"):
    with Work(root, stage, key).attempt() as attempt:
        return [attempt.put(name, content) for name in names]


def manifest(root, made, key="key", number=1, stage="train", read=None):
    inputs = inputs_hash(read or {})
    listed = Manifest(
        stage,
        key,
        inputs,
        number,
        "a",
        "run",
        "",
        1.0,
        {},
        {},
        read or {},
        {},
        {each.name: each for each in made},
    )
    place = manifest_path(root, stage, key, inputs, number)
    files.create(place, listed.as_bytes())
    return place


def checkpoint(root, epoch, attempt="a", lineage="lineage", inputs="x-1"):
    place = root / "artifacts" / "train" / "checkpoints" / lineage / inputs / f"{epoch:05d}-{attempt}.ckpt"
    files.write(place, b"state")
    return place


def run(root, *nodes, ended=False):
    folder = RunFolder(root, uuid.uuid4().hex)
    plans = [{"stage": stage, "key": key, "number": 1, "reused": None} for stage, key in nodes]
    files.create(folder.place / "start.json", json.dumps({"nodes": plans}).encode())
    if ended:
        folder.end("finished", "", {}, "")
    return folder


def left(root):
    return [entry.path.name for entry in files.entries(root / "artifacts")]


def keys(root, stage="train"):
    """Of which there is a file; in memory, empty folders stay."""
    base = root / "artifacts" / stage
    return sorted({entry.path.relative_to(base).parts[0] for entry in files.entries(base)})


def place(root, reference):
    return root / reference.path


def test_an_attempt_without_a_manifest_goes_after_a_day(root, aged):
    made = attempt(root, names=("model.keras", "plots/curve.png"))
    assert clean(root, None) == Cleaned(0, 0, 0)
    aged(0.9, root)
    assert clean(root, None) == Cleaned(0, 0, 0)
    aged(1.1, root)
    assert clean(root, None) == Cleaned(0, 2, 10)
    assert not any(files.exists(place(root, each)) for each in made)
    if files.is_local(root):
        assert not (files.local(root) / "artifacts" / "train" / "key").exists()
        assert (files.local(root) / "artifacts" / "train").is_dir()


def test_an_attempt_that_has_written_lately_keeps_what_it_wrote_before(root, aged):
    old, new = attempt(root, names=("a", "b"))
    aged(3, place(root, old))
    aged(0.5, place(root, new))
    assert clean(root, None) == Cleaned(0, 0, 0)
    assert left(root) == ["a", "b"]


def test_what_a_manifest_lists_stays_and_what_it_leaves_out_goes(root, aged):
    used, beside = attempt(root, names=("a",)), attempt(root, names=("part",))
    manifest(root, used)
    aged(100, root)
    assert clean(root, None) == Cleaned(0, 1, 5)
    assert files.exists(place(root, used[0]))
    assert not files.exists(place(root, beside[0]))


def test_a_rebuilt_artifact_goes_a_day_after_its_successor_came(root, aged):
    old, new = attempt(root), attempt(root)
    first, second = manifest(root, old), manifest(root, new, number=2)
    other = manifest(root, attempt(root), read={"a part": "of something else"})
    aged(9, root)
    aged(0.5, second)
    assert clean(root, None) == Cleaned(0, 0, 0)
    aged(1.5, second)
    size = [entry.size for entry in files.entries(root) if entry.path.name == first.name]
    assert clean(root, None) == Cleaned(1, 1, size[0] + 5)
    assert not files.exists(first)
    assert not files.exists(place(root, old[0]))
    assert files.exists(second)
    assert files.exists(place(root, new[0]))
    assert files.exists(other)


def test_manifests_go_before_the_files_that_they_list(root, aged, monkeypatch):
    manifest(root, attempt(root))
    manifest(root, attempt(root), number=2)
    aged(9, root)
    delete, gone = files.delete, []

    def note(paths):
        paths = list(paths)
        gone.extend(path.name for path in paths)
        delete(paths)

    monkeypatch.setattr(files, "delete", note)
    clean(root, None, now=time.time())
    assert gone == [f"{inputs_hash({})}-1.json", "model.keras"]


def test_keep_keeps_the_newest_keys_of_each_stage(root, aged):
    for age, key in ((9, "old"), (5, "middle"), (2, "new")):
        for stage in ("train", "evaluate"):
            manifest(root, attempt(root, key, stage), key, stage=stage)
            aged(age, root / "artifacts" / stage / key)
    manifest(root, attempt(root, "fresh"), "fresh")
    assert clean(root, 3) == Cleaned(1, 1, pytest.approx(500, abs=499))
    assert keys(root, "evaluate") == ["middle", "new", "old"]
    assert clean(root, 1).artifacts == 4
    assert keys(root) == ["fresh"]
    assert keys(root, "evaluate") == ["new"]


def test_keep_spares_what_is_younger_than_a_day(root, aged):
    for key in ("a", "b"):
        manifest(root, attempt(root, key), key)
    assert clean(root, 1) == Cleaned(0, 0, 0)


@pytest.mark.parametrize(
    ("ended", "silent", "stays"),
    [(False, 1, True), (False, 6.9, True), (False, 7.1, False), (True, 1, False)],
)
def test_what_a_run_works_with_stays_until_it_ends_or_is_silent(root, aged, ended, silent, stays):
    attempt(root)
    manifest(root, attempt(root, "other"), "other")
    manifest(root, attempt(root, "other"), "other", number=2)
    manifest(root, attempt(root, "newest"), "newest")
    folder = run(root, ("train", "key"), ("train", "other"), ended=ended)
    status = folder.status("train") / "process.json"
    files.write(status, b"{}")
    aged(30, root)
    aged(silent, status)
    before = left(root)
    cleaned = clean(root, 1)
    assert (left(root) == before) == stays
    assert (cleaned == Cleaned(0, 0, 0)) == stays
    if not stays:
        assert keys(root) == ["newest"]


def test_a_run_that_cannot_be_read_stops_the_cleaning_while_it_shows_signs_of_life(root, aged, caplog):
    attempt(root)
    aged(30, root)
    folder = RunFolder(root, "broken")
    files.write(folder.place / "start.json", b"{")
    with pytest.raises(UserError, match=r"start\.json cannot be read.*Nothing was deleted"):
        clean(root, None)
    assert left(root) == ["model.keras"]
    aged(0.1, folder.place)
    with Heartbeat(folder.heartbeat), pytest.raises(UserError, match="Nothing was deleted"):
        clean(root, None)
    assert clean(root, None).files == 1
    assert f"passed over a damaged file: {folder.place / 'start.json'}: Invalid JSON" in caplog.text


def test_the_newest_checkpoint_may_be_one_within_an_epoch(root, aged):
    folder = checkpoint(root, 1).parent
    for steps in (90, 200):
        files.write(folder / checkpoint_name(1, "a", steps), b"state")
    aged(40, root)
    assert clean(root, None).files == 2
    assert left(root) == ["00001.0000200-a.ckpt"]


def test_the_newest_checkpoint_of_an_unfinished_training_stays(root, aged):
    for epoch, name in ((9, "b"), (10, "a"), (10, "b"), (100000, "c")):
        checkpoint(root, epoch, name)
    checkpoint(root, 3, lineage="other")
    files.write(root / "artifacts/train/checkpoints/lineage/x-1/heartbeat", b"{}")
    assert clean(root, None) == Cleaned(0, 0, 0)
    aged(40, root)
    assert clean(root, None) == Cleaned(0, 4, 3 * 5 + 2)
    assert left(root) == ["100000-c.ckpt", "00003-a.ckpt"]
    assert clean(root, 0) == Cleaned(0, 0, 0)


def listed_checkpoint(root, at):
    """An artifact whose last file is a checkpoint."""
    (model,) = attempt(root)
    state = model.__class__("checkpoint", str(at.relative_to(root)), 5, "x")
    return manifest(root, [model, state])


def test_a_checkpoint_stays_as_long_as_the_manifest_that_lists_it(root, aged):
    checkpoint(root, 9)
    last = checkpoint(root, 10)
    listed = listed_checkpoint(root, last)
    checkpoint(root, 10, "straggler")
    aged(40, root)
    assert clean(root, None) == Cleaned(0, 2, 10)
    assert files.exists(last)
    manifest(root, attempt(root), number=2)
    aged(40, root)
    assert clean(root, None).artifacts == 1
    assert not files.exists(listed)
    assert not files.exists(last)


def test_a_training_that_goes_on_after_a_finished_one_keeps_its_own_checkpoint(root, aged):
    last = checkpoint(root, 10)
    listed_checkpoint(root, last)
    further = checkpoint(root, 15, "b")
    checkpoint(root, 14, "b")
    aged(40, root)
    assert clean(root, None) == Cleaned(0, 1, 5)
    assert files.exists(last)
    assert files.exists(further)


def test_a_training_that_was_cut_short_within_its_next_epoch_keeps_its_checkpoint(root, aged):
    last = checkpoint(root, 10)
    listed_checkpoint(root, last)
    further = last.parent / checkpoint_name(10, "b", steps=7)
    files.write(further, b"state")
    aged(40, root)
    assert clean(root, None).files == 0
    assert files.exists(further)


def test_what_an_unreadable_manifest_may_list_stays(root, aged):
    attempt(root)
    attempt(root, "other")
    checkpoint(root, 1)
    checkpoint(root, 2)
    broken = manifest(root, [])
    files.write(broken, b"{")
    aged(40, root)
    assert clean(root, None) == Cleaned(0, 1, 5)  # that of the other key
    manifest(root, attempt(root), number=2)
    aged(40, root)
    assert clean(root, None).artifacts == 1
    assert not files.exists(broken)
    assert "00001-a.ckpt" not in left(root)


def test_a_manifest_that_comes_while_cleaning_keeps_its_files(root, aged, monkeypatch):
    made = attempt(root)
    aged(40, root)
    clock = files.clock

    def late(folder):
        manifest(root, made)
        return clock(folder)

    monkeypatch.setattr(files, "clock", late)
    assert clean(root, None) == Cleaned(0, 0, 0)
    assert files.exists(place(root, made[0]))


def test_a_store_that_cannot_be_read_is_not_cleaned(root, aged, monkeypatch):
    manifest(root, attempt(root))
    attempt(root)
    aged(40, root)

    def unreachable(path):
        raise OSError("unreachable")

    with monkeypatch.context() as patch:
        patch.setattr(files, "read", unreachable)
        with pytest.raises(OSError, match="unreachable"):
            clean(root, None)
    assert len(left(root)) == 3


def test_what_is_known_of_parts_stays(root, aged):
    files.create(root / "artifacts" / "train" / "digests" / "key" / "digest", b"")
    aged(400, root)
    assert clean(root, 0) == Cleaned(0, 0, 0)


def test_the_clock_is_that_of_the_store(root, monkeypatch):
    attempt(root)
    monkeypatch.setattr(files, "clock", lambda folder: time.time() + 2 * DAY)
    assert clean(root, None).files == 1


def test_nothing_is_there(root):
    assert clean(root, 3) == Cleaned(0, 0, 0)
    assert files.entries(root) == []


def test_people_read_what_was_deleted():
    assert str(Cleaned()) == "nothing to delete"
    assert str(Cleaned(2, 31, 5_400_000)) == "deleted 2 artifacts and 31 files, 5.4 MB"


def test_what_killed_writers_left_half_written_goes(tmp_path):
    root = files.resolve(tmp_path)
    manifest(root, attempt(root))
    for folder in ("artifacts/train/key", "runs/run/work/train"):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        for name in (f".{uuid.uuid4().hex}", ".mine"):
            (tmp_path / folder / name).write_bytes(b"123")
    assert clean(root, None) == Cleaned(0, 0, 0)
    for path in tmp_path.rglob(".*"):
        os.utime(path, (1, 1))
    assert clean(root, None) == Cleaned(0, 2, 6)
    assert sorted(path.name for path in tmp_path.rglob(".*")) == [".mine", ".mine"]


def test_the_cheap_part_deletes_attempts_of_keys_without_any_manifest(tmp_path, aged):
    root = files.resolve(tmp_path / "runs")
    clean_cheaply(root)
    assert not (tmp_path / "runs").exists()
    attempt(root, "killed")
    attempt(root, "at work")
    attempt(root, "finished")
    manifest(root, attempt(root, "finished"), "finished")
    manifest(root, attempt(root, "finished"), "finished", number=2)
    checkpoint(root, 1)
    checkpoint(root, 2)
    run(root, ("train", "at work"))
    aged(3, root)
    attempt(root, "new")
    clean_cheaply(root)
    assert keys(root) == ["at work", "checkpoints", "finished", "new"]
    assert len(left(root)) == 1 + 2 + 5 + 1
    # Once a day.
    attempt(root, "killed")
    aged(3, root / "artifacts" / "train" / "killed")
    clean_cheaply(root)
    assert "killed" in keys(root)
    os.utime(tmp_path / "runs" / "artifacts" / ".cleaned", (1, 1))
    clean_cheaply(root)
    assert "killed" not in keys(root)


def test_the_cheap_part_never_fails_and_leaves_other_stores_alone(tmp_path, aged, monkeypatch):
    remote = files.resolve(f"memory://{uuid.uuid4().hex}")
    attempt(remote)
    aged(30, remote)
    clean_cheaply(remote)
    assert len(left(remote)) == 1
    root = files.resolve(tmp_path)
    attempt(root)

    def full(*arguments):
        raise OSError("No space left on device")

    monkeypatch.setattr(files, "write", full)
    clean_cheaply(root)
    monkeypatch.undo()
    files.write(root / "runs" / "broken" / "start.json", b"{")
    clean_cheaply(root)
    assert len(left(root)) == 1


def test_what_was_carried_to_workers_goes_after_a_week_as_a_whole(root, aged, tmp_path, monkeypatch):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "saved_model.pb").write_bytes(b"graph")
    place = files.resolve(carry(tmp_path / "model", root))
    aged(8, place / "saved_model.pb")
    assert str(clean(root, keep=None)) == "nothing to delete"
    aged(8, place)
    deleted = []
    delete = files.delete
    monkeypatch.setattr(
        files, "delete", lambda paths: delete([deleted.append(path) or path for path in paths])
    )
    assert clean(root, keep=None).files == 2
    assert [path.name for path in deleted if path.parent == place] == ["files.json", "saved_model.pb"]
    assert files.entries(place) == []


def test_uploads_that_nobody_finished_are_ended_after_a_day(s3):
    root = files.resolve(f"{s3}/runs")
    files.write(root / "artifacts" / "train" / "key" / "attempt" / "file", b"")
    root.fs.call_s3("create_multipart_upload", Bucket=root.drive, Key="runs/artifacts/train/key/attempt/long")
    assert clean(root, None) == Cleaned(0, 0, 0)
    later = files.clock(root) + 2 * DAY
    assert clean(root, None, later).files == 2  # the file of the attempt, too
    assert clean(root, None, later) == Cleaned(0, 0, 0)
