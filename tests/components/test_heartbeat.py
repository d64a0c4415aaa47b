"""Signs of life, and when they are believed."""

import json
import os
import subprocess
import sys
import time

import pytest

from components import files
from components.heartbeat import Heartbeat, is_beating


@pytest.fixture(params=["disk", "memory"])
def place(request, tmp_path):
    folder = tmp_path if request.param == "disk" else f"memory://{tmp_path.name}-heartbeat"
    return files.resolve(folder) / "folder" / "heartbeat"


def test_it_beats_as_long_as_the_block_lasts(place):
    assert not is_beating(place)
    with Heartbeat(place, name="me"):
        assert is_beating(place)
        assert not is_beating(place, others_than="me")
        assert is_beating(place, others_than="you")
    assert not is_beating(place)
    assert files.entries(place.parent) == []


def test_it_goes_on_beating(place):
    with Heartbeat(place, seconds=0.05):
        time.sleep(0.3)
        assert is_beating(place, stale=0.2)
        files.delete([place])
        time.sleep(0.2)
        assert is_beating(place)


def test_it_ends_with_an_error_too(place):
    with pytest.raises(KeyError), Heartbeat(place):
        raise KeyError
    assert not is_beating(place)


def test_an_old_beat_is_none(place):
    with Heartbeat(place, seconds=60):
        time.sleep(0.2)
        assert is_beating(place)
        assert not is_beating(place, stale=0.1)


def test_nobody_ends_anothers(place):
    with Heartbeat(place, name="first"), Heartbeat(place, name="second"):
        pass
    with Heartbeat(place, name="first", seconds=60):
        files.write(place, json.dumps({"name": "second", "host": "elsewhere", "pid": 1}).encode())
    assert is_beating(place, others_than="first")


def test_a_process_of_this_machine_that_is_gone_has_ended_at_once(place):
    """Of another machine nothing is known."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    with Heartbeat(place, seconds=60):
        said = json.loads(files.read(place))
        assert said["pid"] == os.getpid()
        files.write(place, json.dumps({**said, "pid": ended.pid}).encode())
        assert not is_beating(place)
        files.write(place, json.dumps({**said, "pid": ended.pid, "host": "elsewhere"}).encode())
        assert is_beating(place)


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"\xff"])
def test_what_is_no_heartbeat_does_not_count(place, content):
    files.write(place, content)
    assert not is_beating(place)
    with Heartbeat(place):
        assert is_beating(place)


def test_a_place_that_cannot_be_written_is_no_trouble(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with Heartbeat(files.resolve(tmp_path) / "file" / "heartbeat"):
        assert not is_beating(files.resolve(tmp_path) / "file" / "heartbeat")
