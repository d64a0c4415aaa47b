"""Somebody new to rnnpipe: from a file to a served model, by the printed commands, with nothing edited."""

import csv
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from browser import needs_chromium, shown
from pyarrow import parquet
from raw_files import headlines, numbers, reviews

from pipeline.config import load_config

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "pipeline"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(REPOSITORY), "NO_COLOR": "1", "COLUMNS": "80"}


class Newcomer:
    """A folder with files, and the commands that are typed there."""

    def __init__(self, folder, make):
        self.folder = folder
        self.files = make(folder)
        self.said = self.type("init", *self.files, "--yes")
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)  # where relative paths start
            self.config = load_config(folder / "pipeline.yaml")
        self.ran = self.type("run")
        self.served = f"serving/{self.config.name}"

    def type(self, *arguments):
        """Runs a command to its end; returns what it printed."""
        done = subprocess.run(
            [*COMMAND, *arguments],
            cwd=self.folder,
            env=ENVIRONMENT,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr


@pytest.fixture(scope="module", params=[reviews, headlines, numbers], ids=lambda make: make.__name__)
def newcomer(request, tmp_path_factory):
    return Newcomer(tmp_path_factory.mktemp(request.param.__name__), request.param)


def metric(newcomer):
    (name, *_) = newcomer.config.evaluate.thresholds
    return name, float(re.search(rf"metrics +.*?{name} ([0-9.]+)", newcomer.ran)[1])


def test_the_first_model_is_good_and_pushed(newcomer):
    name, value = metric(newcomer)
    assert value > (0.9 if name in ("accuracy", "exact_match") else 60), newcomer.ran
    assert (newcomer.folder / newcomer.served / "1" / "saved_model.pb").exists()


def test_a_file_is_answered(newcomer):
    """With its ids in its order; the aligned files have neither, and a line a text."""
    printed = re.search(r"^ask a file +(.*)$", newcomer.ran, re.MULTILINE)
    if printed is None:
        source = newcomer.folder / "ask.txt"
        source.write_text("one two\nnine nine zero\n", encoding="utf-8")
        newcomer.type("predict", newcomer.served, "--input", source.name, "--output", "out.jsonl")
        rows = [json.loads(line) for line in (newcomer.folder / "out.jsonl").read_text("utf-8").splitlines()]
        assert [row["input"] for row in rows] == ["one two", "nine nine zero"]
        assert [row["prediction"] for row in rows] == ["12", "990"]
        return
    key, end = ("Nr", "csv") if newcomer.files[0].endswith(".csv") else ("编号", "parquet")
    *_, options = printed[1].partition(f"predict {newcomer.served} --input FILE ")
    arguments = ["--input", newcomer.files[0], *shlex.split(options), "--keep", key, "--output", f"out.{end}"]
    told = newcomer.type("predict", newcomer.served, *arguments)
    assert "answered 900 of 900 records" in told
    if end == "csv":
        with (newcomer.folder / "out.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    else:
        rows = parquet.read_table(newcomer.folder / "out.parquet").to_pylist()
    assert [row[key] for row in rows] == [str(number) for number in range(900)]
    assert {row["prediction"] for row in rows} <= {"gut", "schlecht", "体育", "财经", "科技"}


def test_the_server_answers_the_command_that_it_prints(newcomer):
    if shutil.which("curl") is None:
        pytest.skip("needs curl")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [*COMMAND, "serve", newcomer.config.name, "--with", "mlflow", "--port", str(port)]
    with subprocess.Popen(
        command,
        cwd=newcomer.folder,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as server:
        try:
            asked = next(line for line in server.stdout if line.startswith("ask it: "))
            answer = _until_answered(shlex.split(asked.removeprefix("ask it: ")), server)
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(60)
    (row,) = answer["predictions"]
    assert isinstance(row["prediction"], str)
    assert isinstance(row["score"], float)


def _until_answered(command, server):
    deadline = time.monotonic() + 300
    while True:
        done = subprocess.run([*command, "--silent", "--fail"], capture_output=True, text=True)
        if done.returncode == 0:
            return json.loads(done.stdout)
        assert server.poll() is None, "the server has ended"
        assert time.monotonic() < deadline, done
        time.sleep(1)


@needs_chromium
@pytest.mark.parametrize("width", [390, 1280])
def test_the_card_fits_the_window(newcomer, tmp_path, width):
    (card,) = newcomer.folder.glob("runs/runs/*/card.html")
    assert shown(card, width, tmp_path) == (width, width, 0)


def test_a_second_run_has_nothing_to_do(newcomer):
    assert "nothing to do, all 5 stages are reused" in newcomer.type("run")
