"""A failure to tell something is no failure of what is told of."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import tiny
from made_models import make_export, push

from components import files
from pipeline import output

REPOSITORY = Path(__file__).parents[2]


def call(*arguments, encoding="utf-8", **options):
    return subprocess.run(
        [sys.executable, "-m", "pipeline", *map(str, arguments)],
        cwd=REPOSITORY,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONIOENCODING": encoding, "COLUMNS": "150"},
        check=False,
        **options,
    )


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8", "utf-16"])
@pytest.mark.parametrize("text", ["aé日🙂", 'a "\\ \udcff', ""])
def test_json_stays_json_in_every_encoding(encoding, text, monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(sys, "stderr", io.StringIO())  # one that cannot be told how to encode
    output.prepare_output()
    print(json.dumps({"input": text}, ensure_ascii=False), flush=True)
    assert json.loads(stream.buffer.getvalue().decode(encoding)) == {"input": text}


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_a_name_that_a_terminal_cannot_show_is_escaped(tmp_path, encoding):
    served = files.resolve(tmp_path / "日本")
    for name in ("a", "b"):
        push(make_export(tmp_path / "runs", name).saved_model(), served / "dates", name)
    done = call("rollback", "dates", "--directory", tmp_path / "日本", encoding=encoding, stdout=-1)
    assert done.returncode == 0, done.stderr
    assert rb"\u65e5\u672c/dates/3, in place of version 2" in done.stdout
    assert (tmp_path / "日本" / "dates" / "3").is_dir()
    done = call("rollback", "nothing", "--directory", tmp_path / "日本", encoding=encoding, stdout=-1)
    assert done.returncode == 1
    assert rb"\u65e5\u672c/nothing holds no version" in done.stderr


@pytest.mark.parametrize("command", ["schema", "plan"])
def test_a_reader_that_has_read_enough_is_no_traceback(tmp_path, command):
    arguments = [tiny.make(tmp_path)] if command == "plan" else []
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = call(command, *arguments, stdout=writing)
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (1, b"")


@pytest.mark.parametrize("case", ["full", "closed"])
def test_a_steady_output_drops_what_cannot_be_written(capfd, monkeypatch, case):
    reading, closed = os.pipe()
    os.close(reading)
    with open("/dev/full" if case == "full" else closed, "w", encoding="utf-8", buffering=1) as full:
        monkeypatch.setattr(sys, "stdout", full)
        steady = output.steady_output()
        assert [steady.write("one\n"), steady.write("two\n")] == [4, 4]
        steady.flush()
        assert steady.encoding == "utf-8"
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("root", ["file", "file/runs"])
@pytest.mark.parametrize("command", ["plan", "run", "runs", "compare", "clean", "evaluate", "track"])
def test_a_root_that_is_a_file_is_refused(tmp_path, root, command):
    (tmp_path / "file").touch()
    place = tmp_path / root
    options = ["--root", place]
    if command in ("plan", "run"):
        options = [tiny.make(tmp_path), "--set", f"root={place}"]
    elif command in ("evaluate", "track"):
        options = ["1", *([tmp_path / "file"] if command == "evaluate" else []), *options]
    done = call(command, *options, stdout=-1)
    assert (done.returncode, done.stdout) == (1, b"")
    assert f"received the root {place}, but {tmp_path / 'file'} is a file; expected" in done.stderr.decode()
