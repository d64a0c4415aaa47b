"""The list of runs: pipeline by pipeline, in any terminal, with what became of each."""

import dataclasses
import io
import time

import pytest
from called import call
from made_models import make_export, push
from made_runs import MadeRun
from rich.console import Console

from components import files
from components.errors import UserError
from pipeline.report import runs_table
from pipeline.report.facts import find_runs
from pipeline.report.runs_table import records_of, runs_tables
from pipeline.run.record import RunRecord


def record(number, name="reviews", served="", status="finished", metrics=None, **encoder):
    made = RunRecord(
        f"20261129-18051{number}-abcde{number}",
        name,
        status,
        "2026-11-29T18:05:14+00:00",
        seconds=12.4,
        config={"model": {"encoder": {"type": "lstm", **encoder}}},
        verdict={"blessed": bool(served)},
        served=str(served),
    )
    return _Measured(**vars(made), measured=metrics or {})


@dataclasses.dataclass(frozen=True)
class _Measured(RunRecord):
    measured: dict = dataclasses.field(default_factory=dict)

    @property
    def metrics(self):
        return self.measured


def lines_of(records, width=80):
    console = Console(file=io.StringIO(), width=width)
    console.print(runs_tables(records, width))
    return console.file.getvalue().splitlines()


def exported(root, name):
    return make_export(root / "runs", name, {"saved_model.pb": name.encode()}).saved_model()


FIGURES = {"accuracy": 0.91234, "macro_f1": 0.9, "calibration_error": 0.0123, "roc_auc": 0.99}


def test_80_columns_hold_what_matters_of_every_pipeline():
    lines = lines_of(
        [
            record(1, metrics=FIGURES, bidirectional=True),
            record(2, "dates", metrics={"exact_match": 0.5}),
            record(3, status="failed", type="my_module:MyEncoder"),
        ]
    )
    assert all(len(line.rstrip()) <= 80 for line in lines)
    assert lines[0].strip() == "reviews"
    text = "\n".join(lines)
    assert "20261129-180511-abcde1" in text
    assert text.index("dates") > text.index("abcde3")  # all of one pipeline, then the next one
    first = next(line for line in lines if "abcde1" in line)
    assert "0.9123" in first
    failed = next(line for line in lines if "abcde3" in line)
    assert "failed" in failed
    assert "MyEncoder" in failed
    assert "my_module" not in failed
    assert "roc auc" not in text


def test_words_are_whole_in_80_columns():
    """What init writes for several labels, with the longest of each column."""
    records = [
        record(1, metrics=FIGURES, type="memory_network"),
        record(2, metrics=FIGURES, type="gru", bidirectional=True, served="/nowhere/12"),
        record(3, status="interrupted", metrics=FIGURES),
    ]
    text = "\n".join(lines_of(records))
    for words in ("memory_network", "gru, both ways", "version 12", "interrupted", "accuracy", "0.9123"):
        assert words in text
    assert len(text.splitlines()) == 5  # the name, one line of headings, three runs
    two = lines_of([record(1, metrics=FIGURES)])
    assert {"calibration", "error", "macro", "f1"} <= {*" ".join(two).split()}
    assert {*two[1].split(), *two[2].split()} >= {"run", "encoder", "outcome"}


@pytest.mark.parametrize("width", [80, 120])
def test_the_words_of_a_sweep_have_the_room_that_others_leave(monkeypatch, width):
    words = "12 trials, picked 3: units 64, learning_rate 0.00312"
    monkeypatch.setattr(runs_table, "sweep_words", lambda record: words)
    both = record(1, metrics=FIGURES, type="gru", bidirectional=True, served="/nowhere/1")
    lines = lines_of([dataclasses.replace(one, rungs=(None,)) for one in (both, record(2))], width)
    assert len(lines) <= 4
    assert all(len(line.rstrip()) <= width for line in lines)
    assert "gru, both ways" in lines[-2]
    assert words[:17] in lines[-2]
    assert lines[-2].rstrip().endswith("0.9123  version 1") or width > 110
    assert lines[-1].rstrip().endswith("not pushed")


def test_a_very_long_name_is_folded_by_itself():
    lines = lines_of([record(1, metrics=FIGURES, type="my_module:" + "LongName" * 9)])
    assert max(map(len, lines)) <= 80
    assert "20261129-180511-abcde1" in "\n".join(lines)
    assert "0.9123" in "\n".join(lines)
    assert "outcome" in "\n".join(lines)


def test_a_wide_terminal_shows_all():
    text = "\n".join(lines_of([record(1, metrics=FIGURES)], 140))
    assert "roc auc" in text
    assert "seconds" in text
    assert "lstm, both ways" not in text


def test_the_champion_is_what_answers(tmp_path):
    base = tmp_path / "reviews"
    for name in ("a", "b"):
        push(exported(tmp_path, name), base, name)
    records = [record(1, served=base / "1"), record(2, served=base / "2"), record(3)]
    outcomes = [line.rstrip().split("  ")[-1].strip() for line in lines_of(records)[2:]]
    assert outcomes == ["version 1", "version 2, champion", "not pushed"]
    push(exported(tmp_path, "a"), base, "a")  # as a rollback does
    outcomes = [line.rstrip().split("  ")[-1].strip() for line in lines_of(records)[2:]]
    assert outcomes == ["version 1, champion", "version 2", "not pushed"]


def test_a_place_that_is_gone_is_no_error(tmp_path):
    assert "version 4" in lines_of([record(1, served=tmp_path / "gone" / "4")])[2]


def test_one_pipeline_is_asked_for(tmp_path):
    run = MadeRun(tmp_path).make("ingest", "tokenize", "train", "evaluate", "export").end()
    assert [one.id for one in records_of(str(tmp_path), "made")] == [run.id]
    with pytest.raises(
        UserError, match=r"received --name mad, which no run under .* has; expected one of made"
    ):
        records_of(str(tmp_path), "mad")
    with pytest.raises(UserError, match=r"received --name mad, of which no run was evaluated; .* made"):
        find_runs(tmp_path, pipeline="mad")


def test_runs_of_other_pipelines_are_not_compared(tmp_path):
    for name in ("a", "b"):
        MadeRun(tmp_path, name).make("ingest", "tokenize", "train", "evaluate").end()
    time.sleep(1)  # ids of runs that begin in the same second are in no order
    other = MadeRun(tmp_path, "c")
    start = other.folder.place / "start.json"
    files.write(start, files.read(start).replace(b'"name": "made"', b'"name": "other"'))
    other.make("ingest", "tokenize", "train", "evaluate").end()
    assert [run.record.name for run in find_runs(tmp_path)] == ["other"]
    assert [run.record.name for run in find_runs(tmp_path, pipeline="made")] == ["made", "made"]


def test_the_command_is_light(tmp_path):
    MadeRun(tmp_path).make("ingest", "tokenize", "train", "evaluate").end()
    code, out, _, heavy = call("runs", "--root", tmp_path, "--name", "made")
    assert (code, heavy) == (0, [])
    assert "exact match" in out
