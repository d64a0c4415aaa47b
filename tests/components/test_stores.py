"""Files in stores that are slow, refuse, are busy or full, lose answers and cut what they send."""

import errno
import os
import threading
import time
from types import SimpleNamespace

import pytest

from components import files, store_faults, stores
from components.stores import StoreError


@pytest.fixture(params=["s3", "gcs"])
def faulty(request):
    """A proxy, and a place in the store behind it."""
    proxy, bucket = request.getfixturevalue(f"faulty_{request.param}")
    return proxy, files.resolve(f"{bucket}/place")


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(stores, "_LONGEST_PAUSE", 0.2)


@pytest.fixture
def short(monkeypatch):
    monkeypatch.setattr(stores, "PATIENCE", 1.0)


@pytest.fixture
def waited(monkeypatch):
    """The pauses, in seconds; nobody waits for them."""
    pauses = []
    monkeypatch.setattr(stores, "time", SimpleNamespace(monotonic=time.monotonic, sleep=pauses.append))
    return pauses


def anew(bucket):
    """A place in a bucket, asked by what is in the environment now."""
    type(files.resolve(bucket).fs).clear_instance_cache()
    return files.resolve(f"{bucket}/place")


def every_way(place, folder):
    """All that files.py does with a store; returns what it gives."""
    (folder / "source").write_bytes(b"u" * 3000)
    files.write(place / "a" / "written", b"w" * 3000)
    files.create(place / "a" / "created", b"c" * 3000)
    files.upload(folder / "source", place / "a" / "uploaded")
    files.download(place / "a" / "uploaded", folder / "copy")
    with files.open_to_read(place / "a" / "written") as opened:
        opened.seek(1000)
        piece = opened.read(1500)
    listed = [(entry.path.name, entry.size) for entry in files.entries(place / "a")]
    given = (
        files.read(place / "a" / "created"),
        (folder / "copy").read_bytes(),
        piece,
        listed,
        files.names(place / "a"),
        [path.name for path in files.find(f"{place}/a/*e*")],
        files.exists(place / "a" / "nothing"),
        files.signature(place / "a" / "written").partition("|")[0],
    )
    files.delete([place / "a" / name for name in ("written", "created", "uploaded", "nothing")])
    return *given, files.names(place / "a")


EXPECTED = (
    b"c" * 3000,
    b"u" * 3000,
    b"w" * 1500,
    [("created", 3000), ("uploaded", 3000), ("written", 3000)],
    ["created", "uploaded", "written"],
    ["created", "uploaded", "written"],
    False,
    "3000",
    [],
)


def test_all_goes_through_a_healthy_proxy(faulty, tmp_path):
    proxy, place = faulty
    assert every_way(place, tmp_path) == EXPECTED
    assert proxy.requests["GET"] > 0
    assert proxy.received["PUT"] + proxy.received["POST"] >= 9000
    assert proxy.sent["GET"] >= 7500


@pytest.mark.parametrize("fault", ["slow", "busy", "refuse", "lose", "cut_reads", "cut_writes"])
def test_what_passes_is_asked_again(faulty, tmp_path, fault):
    proxy, place = faulty
    if fault == "slow":
        proxy.slow(0.05)
    elif fault == "busy":
        proxy.busy(1.0)
    elif fault == "refuse":
        proxy.refuse()
        threading.Timer(1.0, proxy.heal).start()
    else:
        getattr(proxy, fault)(2)
    assert every_way(place, tmp_path) == EXPECTED


def test_whatever_a_busy_store_answers_is_no_last_word(faulty):
    proxy, place = faulty
    for status in (408, 429, 500, 502, 504):
        proxy.busy(0.2, status)
        files.write(place / "file", b"")


def test_every_answer_to_a_write_is_lost_once(faulty, tmp_path):
    proxy, place = faulty
    for name in ("written", "created", "uploaded"):
        proxy.when(rf"(PUT|POST) .*({name}|uploadType)", proxy.lose)
    assert every_way(place, tmp_path) == EXPECTED


def test_what_was_created_before_an_answer_was_lost_is_ones_own(faulty):
    proxy, place = faulty
    proxy.lose()
    files.create(place / "mine", b"mine")
    assert files.read(place / "mine") == b"mine"
    proxy.lose()
    with pytest.raises(FileExistsError):
        files.create(place / "mine", b"other")
    with pytest.raises(FileExistsError):  # no answer was lost: the second of two equal ones is not the first
        files.create(place / "mine", b"mine")


def test_of_many_who_lose_answers_one_succeeds(faulty):
    proxy, place = faulty
    won = []

    def create(number):
        try:
            files.create(place / "file", f"writer {number}".encode())
        except FileExistsError:
            return
        won.append(number)

    proxy.lose(6)
    threads = [threading.Thread(target=create, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [f"writer {number}".encode() for number in won] == [files.read(place / "file")]


def test_of_equal_files_one_is_the_first(faulty):
    proxy, place = faulty
    won = []

    def create():
        try:
            files.create(place / "file", b"equal")
        except FileExistsError:
            return
        won.append(1)

    proxy.lose(3)
    threads = [threading.Thread(target=create) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert won == [1]


def test_patience_ends_and_says_what_to_do(faulty, short):
    proxy, place = faulty
    files.write(place / "file", b"")
    proxy.busy(1000)
    before = time.monotonic()
    for call in (
        lambda: files.read(place / "file"),
        lambda: files.write(place / "file", b""),
        lambda: files.create(place / "other", b""),
        lambda: files.names(place),
        lambda: files.exists(place / "file"),
    ):
        with pytest.raises(StoreError, match=f"{place}.* has failed for .*503.*run again"):
            call()
    # The others were asked once: the store, not the call, has its minute.
    assert time.monotonic() - before < 4
    proxy.heal()
    assert files.read(place / "file") == b""
    proxy.busy(0.3)
    assert files.read(place / "file") == b""


def test_a_store_that_refuses_is_named(faulty, short):
    proxy, place = faulty
    proxy.refuse()
    with pytest.raises(StoreError, match=f"{place}/file: {place.protocol}://{place.drive} has failed for 1"):
        files.read(place / "file")


def test_a_full_store_is_told_at_once(faulty, waited):
    proxy, place = faulty
    proxy.fill()
    for put in (files.write, files.create):
        with pytest.raises(
            StoreError, match=f"{place}/file: the store is full .*No space left on device.*Make room"
        ):
            put(place / "file", b"content")
    assert waited == []


def test_a_bucket_that_is_not_there_is_told_at_once(faulty, tmp_path, waited):
    _, place = faulty
    other = files.resolve(f"{place.protocol}://{place.drive}-missing/place")
    (tmp_path / "source").touch()
    for put in (
        lambda: files.write(other / "file", b""),
        lambda: files.create(other / "file", b""),
        lambda: files.upload(tmp_path / "source", other / "file"),
    ):
        with pytest.raises(StoreError, match=f"{other}/file: there is no such bucket"):
            put()
    with pytest.raises(FileNotFoundError, match="nothing"):
        files.upload(tmp_path / "nothing", place / "file")
    assert waited == []


def test_wrong_credentials_are_told_at_once(faulty_s3, monkeypatch, waited):
    _, bucket = faulty_s3
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    place = anew(bucket)
    with pytest.raises(StoreError, match=f"{place}/file: .*Check the address, your access"):
        files.read(place / "file")
    assert waited == []


def test_an_address_that_nobody_knows_is_told_at_once(faulty_s3, monkeypatch, waited):
    _, bucket = faulty_s3
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://nobody.invalid:7070")
    place = anew(bucket)
    with pytest.raises(StoreError, match="Check the address"):
        files.read(place / "file")
    assert waited == []


def test_nobody_listening_is_asked_again(faulty_s3, monkeypatch, short):
    _, bucket = faulty_s3
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    place = anew(bucket)
    with pytest.raises(StoreError, match="has failed for 1 seconds"):
        files.read(place / "file")


def test_the_pauses_grow_and_end(faulty_s3, monkeypatch):
    monkeypatch.setattr(stores, "_LONGEST_PAUSE", 8.0)
    proxy, bucket = faulty_s3
    place = files.resolve(f"{bucket}/place")
    now, pauses = [0.0], []

    def sleep(seconds):
        pauses.append(seconds)
        now[0] += seconds

    monkeypatch.setattr(stores, "time", SimpleNamespace(monotonic=lambda: now[0], sleep=sleep))
    monkeypatch.setattr(proxy, "fault", lambda method: (503, b""))
    before = proxy.requests["GET"]
    with pytest.raises(StoreError, match="has failed for 60 seconds"):
        files.read(place / "file")
    assert sum(pauses) == pytest.approx(60)
    assert max(pauses) <= 8
    assert pauses[0] <= 0.2
    # Neither library asks again by itself.
    assert proxy.requests["GET"] - before == len(pauses) + 1


def test_who_is_in_a_hurry_does_not_wait(faulty):
    proxy, place = faulty
    files.write(place / "file", b"")
    proxy.busy(1000)
    before = time.monotonic()
    with stores.patience(0.3), pytest.raises(StoreError):
        files.read(place / "file")
    proxy.heal()
    proxy.slow(20)
    with stores.patience(0.5), pytest.raises(StoreError):
        files.read(place / "file")
    assert time.monotonic() - before < 5


def test_a_long_file_is_read_and_written_in_pieces_that_are_cut(faulty, tmp_path):
    proxy, place = faulty
    content = os.urandom(12 << 20)
    (tmp_path / "source").write_bytes(content)
    proxy.cut_writes(1)
    files.upload(tmp_path / "source", place / "long")
    proxy.lose(1)
    files.upload(tmp_path / "source", place / "again")
    for name in ("long", "again"):
        proxy.cut_reads(1)
        files.download(place / name, tmp_path / "copy")
        assert (tmp_path / "copy").read_bytes() == content
    proxy.cut_reads(3)
    with files.open_to_read(place / "long") as opened:
        opened.seek(1000)
        assert opened.read(5000) == content[1000:6000]
        assert opened.read() == content[6000:]


def test_an_interrupt_ends_the_waiting(faulty, monkeypatch):
    proxy, place = faulty
    proxy.busy(1000)

    def interrupt(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr(stores, "time", SimpleNamespace(monotonic=time.monotonic, sleep=interrupt))
    with pytest.raises(KeyboardInterrupt):
        files.read(place / "file")


def test_an_error_of_the_machine_is_no_fault_of_a_store():
    assert not store_faults.is_transient(OSError(errno.ENOSPC, "No space left on device"))
    assert not store_faults.is_transient(ValueError("a mistake"))
    assert store_faults.is_transient(ConnectionResetError())


def test_what_a_listing_says_of_files_is_what_each_of_them_says(faulty):
    proxy, place = faulty
    paths = [place / "folder" / f"file {number}" for number in range(12)]
    for number, path in enumerate(paths):
        files.write(path, bytes(number))
    one_by_one = {str(path): files.signature(path) for path in paths}
    before = proxy.requests.total()
    assert files.signatures(paths) == one_by_one
    assert proxy.requests.total() - before <= 3
    assert files.signatures(paths[:2]) == {str(path): one_by_one[str(path)] for path in paths[:2]}
    with pytest.raises(FileNotFoundError):
        files.signatures([*paths, place / "folder" / "nothing"])
    before = {entry.path.name: entry for entry in files.entries(place / "folder")}
    files.write(paths[3], b"abc")
    after = {entry.path.name: entry for entry in files.entries(place / "folder")}
    assert {name for name in after if after[name] != before[name]} == {"file 3"}


def test_uploads_that_nobody_finishes_are_ended(faulty_s3):
    _, bucket = faulty_s3
    place = files.resolve(f"{bucket}/place")
    call = stores.prepared(place).call_s3
    for key in ("place/artifacts/a", "place/b", "places/c"):
        call("create_multipart_upload", Bucket=place.drive, Key=key)
    now = files.clock(place)
    assert files.end_uploads(place, now - 3600) == 0
    assert files.end_uploads(place, now + 3600) == 2
    (left,) = call("list_multipart_uploads", Bucket=place.drive)["Uploads"]
    assert left["Key"] == "places/c"
