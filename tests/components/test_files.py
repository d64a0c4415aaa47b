import errno
import importlib.util
import os
import threading
import time
import uuid
from pathlib import Path

import pytest

from components import files
from components.errors import UserError

ODD = ["a b", "[v1]", "x*y", "100%", "a#b", "q?x", "größe-数", "a%20b", "{n}", "a+b&c=d", "a;b,c"]


@pytest.fixture(params=["disk", "memory", "s3", "gcs"])
def address(request, tmp_path):
    """The address of an empty folder."""
    if request.param == "disk":
        return str(tmp_path / "place")
    if request.param == "memory":
        return f"memory://{uuid.uuid4().hex}"
    return request.getfixturevalue(request.param)


@pytest.fixture
def place(address):
    return files.resolve(address)


def strings(paths):
    return [str(path) for path in paths]


def all_below(folder):
    """Hidden files, too."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_what_is_created_is_there_and_stays(place):
    path = place / "folder" / "file"
    assert not files.exists(path)
    files.create(path, b"first")
    assert files.exists(path)
    with pytest.raises(FileExistsError):
        files.create(path, b"second")
    assert files.read(path) == b"first"
    with files.open_to_read(path) as file:
        assert file.read(2) == b"fi"


def test_a_folder_is_no_file(place):
    files.create(place / "folder" / "file", b"")
    assert not files.exists(place / "folder")
    assert files.entries(place / "fold") == []
    assert files.names(place / "fold") == []


def test_of_many_writers_of_a_name_one_succeeds(place):
    for turn in range(5):
        path = place / f"folder {turn}" / "file"
        barrier, done, refused = threading.Barrier(16), [], []

        def work(number, path=path, barrier=barrier, done=done, refused=refused):
            barrier.wait()
            try:
                files.create(path, f"{number}".encode() * 1000)
                done.append(number)
            except FileExistsError:
                refused.append(number)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(done) == 1
        assert len(refused) == 15
        assert files.read(path) == f"{done[0]}".encode() * 1000


def test_write_puts_a_file_in_place_of_another(place):
    path = place / "file"
    files.write(path, b"first")
    before = files.signature(path)
    files.write(path, b"other")
    assert files.read(path) == b"other"
    assert files.signature(path) != before
    assert files.signature(path) == files.signature(path)
    assert files.names(place) == ["file"]


def test_what_is_not_there_says_so(place):
    for look in (files.read, files.signature, files.sha256):
        with pytest.raises(FileNotFoundError):
            look(place / "nothing")
    assert files.entries(place / "nothing") == []
    assert files.names(place / "nothing") == []


@pytest.mark.parametrize("name", ODD)
def test_any_name_is_a_name(address, tmp_path, name):
    place = files.resolve(address)
    path = place / name / f"{name}.txt"
    files.create(path, name.encode())
    assert files.read(path) == name.encode()
    assert [(str(entry.path), entry.size) for entry in files.entries(place / name)] == [
        (str(path), len(name.encode()))
    ]
    assert files.names(place / name) == [f"{name}.txt"]
    assert files.names(place) == [name]
    assert strings(files.find(f"{address}/{name}/*.txt")) == [str(path)]
    assert strings(files.find(f"{address}/{name}/{name}.txt")) == [str(path)]
    files.download(path, tmp_path / "down" / name)
    files.upload(tmp_path / "down" / name, place / name / "up" / name)
    assert files.read(place / name / "up" / name) == name.encode()
    assert strings([files.resolve(str(path))]) == [str(path)]
    files.delete([path])
    assert not files.exists(path)
    assert files.exists(place / name / "up" / name)


def test_entries_are_all_files_below_and_names_what_is_directly_there(place):
    for name in ("b/2", "b/1", "a", "b/c/d", "bb/1"):
        files.write(place / name, b"12")
    assert strings(entry.path for entry in files.entries(place / "b")) == strings(
        place / name for name in ("b/1", "b/2", "b/c/d")
    )
    assert files.names(place) == ["a", "b", "bb"]
    assert files.names(place / "b") == ["1", "2", "c"]
    assert {entry.size for entry in files.entries(place)} == {2}


def test_listings_are_never_old(place):
    assert files.names(place / "folder") == []
    files.create(place / "folder" / "a", b"")
    assert files.names(place / "folder") == ["a"]
    files.create(place / "folder" / "b", b"")
    assert files.names(place / "folder") == ["a", "b"]
    files.delete([place / "folder" / "a"])
    assert [entry.path.name for entry in files.entries(place / "folder")] == ["b"]


def test_globs_find_files_sorted(address):
    place = files.resolve(address)
    for name in ("x/b.tsv", "x/a.tsv", "x/a.csv", "y/a.tsv", "x/deep/c.tsv"):
        files.write(place / name, b"")
    assert strings(files.find(f"{address}/x/*.tsv")) == strings([place / "x/a.tsv", place / "x/b.tsv"])
    assert strings(files.find(f"{address}/?/a.tsv")) == strings([place / "x/a.tsv", place / "y/a.tsv"])
    assert len(files.find(f"{address}/**/*.tsv")) == 4
    assert files.find(f"{address}/x") == []
    assert files.find(f"{address}/z*") == []


def test_a_folder_of_exactly_this_name_comes_before_a_glob(address):
    place = files.resolve(address)
    for name in ("[ab]/1.tsv", "a/1.tsv", "[ab]/[cd]/2.tsv", "[ab]/c/2.tsv"):
        files.write(place / name, b"")
    assert strings(files.find(f"{address}/[ab]/*.tsv")) == [str(place / "[ab]/1.tsv")]
    assert strings(files.find(f"{address}/[ab]/[cd]/*")) == [str(place / "[ab]/[cd]/2.tsv")]
    assert strings(files.find(f"{address}/[a]/*.tsv")) == [str(place / "a/1.tsv")]


def test_deleting_twice_is_no_error(place):
    files.write(place / "a", b"")
    files.delete([place / "a", place / "a", place / "never"])
    assert files.names(place) == []


def test_the_clock_is_that_of_the_files(place):
    files.write(place / "a", b"")
    (entry,) = files.entries(place)
    assert abs(files.clock(place) - entry.modified) < 5
    assert abs(entry.modified - time.time()) < 60
    assert files.names(place) == ["a"]


def test_copies_go_up_and_down(place, tmp_path):
    content = os.urandom(3_000_000)
    (tmp_path / "source").write_bytes(content)
    files.upload(tmp_path / "source", place / "folder" / "copy")
    assert files.sha256(place / "folder" / "copy") == files.sha256(tmp_path / "source")
    files.download(place / "folder" / "copy", tmp_path / "down" / "copy")
    assert (tmp_path / "down" / "copy").read_bytes() == content
    with pytest.raises(FileNotFoundError):
        files.download(place / "nothing", tmp_path / "down" / "nothing")
    assert all_below(tmp_path / "down") == ["copy"]


def test_a_conflict_is_tried_again(monkeypatch):
    place = files.resolve(f"memory://{uuid.uuid4().hex}")
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    pipe_file, left = place.fs.pipe_file, [OSError("ConditionalRequestConflict"), OSError(errno.EBUSY, "")]

    def refuse(*arguments, **options):
        if left:
            raise left.pop()
        return pipe_file(*arguments, **options)

    monkeypatch.setattr(place.fs, "pipe_file", refuse)
    files.create(place / "file", b"content")
    assert left == []
    assert files.read(place / "file") == b"content"
    with pytest.raises(FileExistsError):
        files.create(place / "file", b"")


def test_what_cannot_be_looked_at_is_not_taken_for_missing(monkeypatch):
    place = files.resolve(f"memory://{uuid.uuid4().hex}")

    def unreachable(*arguments, **options):
        raise OSError("unreachable")

    monkeypatch.setattr(place.fs, "info", unreachable)
    with pytest.raises(OSError, match="unreachable"):
        files.exists(place / "file")


def test_an_edit_that_keeps_size_and_time_is_noticed(tmp_path):
    path = files.resolve(tmp_path / "file")
    files.write(path, b"one")
    before, stat = files.signature(path), (tmp_path / "file").stat()
    time.sleep(0.02)  # what the clock of the file system needs to move on
    (tmp_path / "file").write_bytes(b"two")
    os.utime(tmp_path / "file", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert (tmp_path / "file").stat().st_mtime_ns == stat.st_mtime_ns
    assert files.signature(path) != before


@pytest.mark.parametrize(
    ("put", "broken"),
    [(files.create, "fsync"), (files.create, "link"), (files.write, "fsync"), (files.write, "replace")],
)
def test_a_full_disk_leaves_nothing_behind(tmp_path, monkeypatch, put, broken):
    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    files.write(files.resolve(tmp_path / "folder" / "other"), b"stays")
    monkeypatch.setattr(os, broken, full)
    with pytest.raises(OSError, match="No space left"):
        put(files.resolve(tmp_path / "folder" / "file"), b"content")
    assert all_below(tmp_path) == ["folder/other"]


def test_a_disk_that_fills_up_while_writing_leaves_nothing_behind(tmp_path):
    path = files.resolve(tmp_path / "folder" / "file")
    opened = Path.open

    def full(self, mode="r", **options):
        file = opened(self, mode, **options)
        if mode == "xb":  # a device that takes no byte
            os.dup2(os.open("/dev/full", os.O_WRONLY), file.fileno())
        return file

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "open", full)
        for put in (files.create, files.write):
            with pytest.raises(OSError, match="No space left"):
                put(path, b"content" * 100_000)
    assert all_below(tmp_path) == []


def test_a_writer_that_was_killed_leaves_what_only_cleaning_sees(tmp_path, monkeypatch):
    class Killed(BaseException):
        pass

    def kill(*arguments):
        raise Killed

    place = files.resolve(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "link", kill)
        patch.setattr(Path, "unlink", lambda self, missing_ok=False: None)
        with pytest.raises(Killed):
            files.create(place / "folder" / "file", b"content")
    assert files.entries(place) == []
    assert files.names(place / "folder") == []
    (left,) = files.left_aside(place)
    assert left.size == 7
    assert abs(left.modified - time.time()) < 60
    (tmp_path / ".mine").write_text("the user's")
    assert files.left_aside(place) == [left]


def test_empty_folders_go_and_others_stay(tmp_path):
    (tmp_path / "a" / "b" / "c").mkdir(parents=True)
    (tmp_path / "a" / "d").mkdir()
    (tmp_path / "a" / "d" / "file").touch()
    files.delete_empty_folders(files.resolve(tmp_path / "a"))
    assert not (tmp_path / "a" / "b").exists()
    assert (tmp_path / "a" / "d" / "file").exists()
    files.delete([files.resolve(tmp_path / "a" / "d" / "file")])
    files.delete_empty_folders(files.resolve(tmp_path / "a"))
    assert not (tmp_path / "a").exists()


def test_places_are_resolved_where_the_command_is_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    there = files.resolve("data/../x")
    monkeypatch.chdir("/")
    assert str(there) == str(tmp_path / "x")
    assert str(files.resolve("~/runs")) == str(tmp_path / "home" / "runs")
    assert str(files.resolve("file:///tmp/a%20b%5B1%5D")) == "/tmp/a b[1]"
    assert str(files.resolve("file://localhost/tmp/x#1?")) == "/tmp/x#1?"
    assert files.is_local(files.resolve("file:///tmp"))
    assert str(files.resolve(Path("/tmp/x"))) == "/tmp/x"
    remote = files.resolve("memory://bucket/x")
    assert files.resolve(remote) is remote


def test_relative_patterns_start_in_the_working_directory(tmp_path, monkeypatch):
    (tmp_path / "[v1]").mkdir()
    (tmp_path / "v").mkdir()
    for folder in ("[v1]", "v"):
        (tmp_path / folder / "a.tsv").touch()
    monkeypatch.chdir(tmp_path / "[v1]")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert strings(files.find("*.tsv")) == [str(tmp_path / "[v1]" / "a.tsv")]
    assert strings(files.find("~/v/*.tsv")) == [str(tmp_path / "v" / "a.tsv")]
    assert strings(files.find("../v/a.tsv")) == [str(tmp_path / "v" / "a.tsv")]
    assert strings(files.find(f"file://{tmp_path}/v/*.tsv")) == [str(tmp_path / "v" / "a.tsv")]


def test_people_read_places_as_they_write_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert files.relative(files.resolve("runs/x")) == "runs/x"
    assert files.relative(files.resolve("/elsewhere")) == "/elsewhere"
    assert files.relative(files.resolve("memory://b/x")) == "memory://b/x"


@pytest.mark.parametrize(
    ("address", "said"),
    [
        (
            "ftp://host/x",
            "received 'ftp://host/x', expected a local path, or an address that begins with s3://",
        ),
        ("S3://bucket/x", "received 'S3://bucket/x', expected a local path"),
        ("file://data/x", "received 'file://data/x', expected an absolute path after file://"),
    ],
)
def test_addresses_that_cannot_be_used_are_named(address, said):
    with pytest.raises(UserError) as caught:
        files.resolve(address)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("address", "module", "extra"), [("s3://b/x", "s3fs", "s3"), ("gs://b/x", "gcsfs", "gcs")]
)
def test_a_missing_library_is_named_with_its_command(monkeypatch, address, module, extra):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == module else find_spec(name, *rest)
    )
    with pytest.raises(UserError) as caught:
        files.resolve(address)
    assert f"{module}, which reads and writes" in str(caught.value)
    assert f"pip install 'rnnpipe[{extra}]'" in str(caught.value)
