"""A sweep while it runs: the table in a terminal, and the lines in a log."""

import io
import re
from dataclasses import replace

import pytest
from made_sweeps import HALVING, UNITS, MadeSweep
from rich.console import Console

from components.reports import EpochFinished, Warned, emit
from pipeline.run.console import RunDisplay
from pipeline.run.sweep_display import Shown, live_table
from pipeline.run.time_left import seconds_left
from pipeline.run.trials import settings_ranked, trial_states

UNTRACKED = "tracking.enabled=false"


def rendered(sweep, rows=20, width=80, at_once=1):
    """The table as a terminal shows it, line by line."""
    record = sweep.record()
    states = trial_states(record)
    console = Console(file=io.StringIO(), width=width)
    console.print(live_table(Shown(record, states, settings_ranked(record, states), at_once), rows))
    return console.file.getvalue().splitlines()


def cells(line):
    return re.split(r"\s{2,}", line.strip())


class Log:
    """What a run says without a terminal."""

    def __init__(self, sweep, **options):
        self._sweep = sweep
        self._file = io.StringIO()
        self.display = RunDisplay(Console(file=self._file, width=80, **options))
        self._read = 0

    def look(self):
        """Returns what is new."""
        self.display.show(self._sweep.record())
        text = self._file.getvalue()
        new, self._read = text[self._read :], len(text)
        return [line for line in new.splitlines() if line.startswith(("trial", "rung", "sweep", " "))]


@pytest.fixture
def halved(tmp_path):
    return MadeSweep(tmp_path, UNTRACKED, UNITS, HALVING).make("ingest", "tokenize")


def test_a_trial_at_work_has_its_rung_epoch_score_and_time_left(halved):
    halved.train("2").train("1", until=1).queue("3")
    header, first, second, *_ = rendered(halved)
    assert cells(header) == ["rank", "trial", "settings", "rung", "epoch", "score", "state", "left"]
    assert cells(first) == ["1", "units 4", "1/2", "1/2", "2.0000", "running", "2 s"]
    assert cells(second) == ["1", "2", "units 5", "2/2", "2/4", "2.5000", "waiting"]
    assert ["3", "units 6", "1/2", "0/2", "waiting"] in [cells(line) for line in rendered(halved)]


def test_the_table_ends_with_all_states_and_the_time_left(halved):
    halved.train("2").train("1", until=1).fail("3")
    # Trial 1 has an epoch left and trial 4 two; then two trials train for two epochs more.
    assert rendered(halved)[-2:] == ["4 trials: 1 running, 2 waiting, 1 failed", "about 14 s left to train"]


def test_of_many_trials_those_at_work_and_the_best_are_shown(tmp_path):
    many = "sweep={over: {train.optimizer.learning_rate: {log_uniform: [0.001, 0.1]}}, trials: 40}"
    losses = {str(number): 1 + (number * 7 % 40) / 10 for number in range(1, 41)}
    made = MadeSweep(tmp_path, UNTRACKED, many, losses=losses).make("ingest", "tokenize")
    for number in range(1, 21):
        made.train(str(number))
    made.train("21", until=2).train("22", until=3).fail("23")
    lines = rendered(made, rows=6)
    header, *rows = lines[:7]
    assert "rung" not in header
    trials = [cells(row)[0] if cells(row)[1].startswith("learning") else cells(row)[1] for row in rows]
    best = sorted(range(1, 21), key=lambda number: losses[str(number)])[:4]
    assert trials == ["21", "22", *map(str, best)]
    assert lines[7] == "and 34 more: 17 waiting, 16 finished, 1 failed"
    assert lines[8] == "40 trials: 2 running, 17 waiting, 20 finished, 1 failed"
    assert len(lines) == 10


def test_settings_are_cut_where_a_terminal_is_narrow_and_nothing_else(tmp_path):
    over = (
        "{model.encoder: [{type: clockwork_rnn, units: 128, periods: [1, 2, 4, 8, 16, 32, 64, 128]}, "
        "{type: gru, units: 16}], train.optimizer.learning_rate: [0.001234, 0.01]}"
    )
    made = MadeSweep(tmp_path, UNTRACKED, f"sweep={{over: {over}, repeat: 2}}", HALVING, epochs=100)
    made.make("ingest", "tokenize").train("1", until=1).train("2.2").fail("3", error="[no] markup")
    for width in (80, 100):
        lines = rendered(made, width=width)
        assert max(map(len, lines)) <= width
        assert "…" in lines[1]
        assert cells(lines[1])[-5:] == ["1/7", "1/2", "2.0000", "running", "2 s"]
    assert "seed 8" in "\n".join(rendered(made, width=200))


def test_the_time_left_takes_those_at_work_at_once_into_account(halved):
    halved.train("1")
    record = halved.record()
    states = trial_states(record)
    # Three trials of two epochs of 2 s, then two for two epochs more.
    assert seconds_left(record, states, 1) == 3 * 4 + 2 * 4
    assert seconds_left(record, states, 2) == 3 * 4 / 2 + 4
    assert seconds_left(record, states, 100) == 4 + 4


def test_the_time_left_is_that_of_the_trials_that_go_on(halved):
    for trial in "1234":
        halved.train(trial)
    halved.train("1", rung=1)
    record = halved.record()
    assert seconds_left(record, trial_states(record), 1) == 4  # of trial 2
    halved.train("2", rung=1)
    record = halved.record()
    assert seconds_left(record, trial_states(record), 1) == 0


def test_slow_trials_are_known_by_their_own_pace(halved):
    halved.train("1", until=1).train("2", until=1)
    record = halved.record()
    slow = record.nodes["train to epoch 2"]
    nodes = {**record.nodes, slow.name: replace(slow, history=({**slow.history[0], "seconds": 100.0},))}
    states = trial_states(replace(record, nodes=nodes))
    # An epoch of 100 s, one of 2 s and four of their median, 51 s; then four of the median.
    assert seconds_left(replace(record, nodes=nodes), states, 1) == 100 + 2 + 4 * 51 + 4 * 51


def test_before_the_first_epoch_no_time_is_known(halved):
    record = halved.record()
    assert seconds_left(record, trial_states(record), 1) is None
    assert rendered(halved)[-1] == "4 trials: 4 waiting"


def test_a_log_has_a_line_for_every_trial_that_is_done_and_for_every_rung(halved):
    log = Log(halved)
    assert log.look()[-1] == "sweep     4 trials, ranked by loss"
    assert log.look() == []
    halved.train("1", until=1)
    assert log.look() == []
    halved.train("1").fail("2", error="no [memory] is left")
    assert log.look() == [
        "trial 1   done in 4.0 s (units 4): epoch 2, loss 1.5000  rung 1 of 2, 2 of 4",
        "trial 2   failed (units 5): no [memory] is left",
    ]
    halved.train("3").train("4")
    assert log.look()[-1] == (
        "rung 1    2 of 4 trials go on after epoch 2; the best is trial 1 (units 4), loss 1.5000"
    )
    halved.train("1", rung=1)
    assert log.look() == ["trial 1   done in 4.0 s (units 4): epoch 4, loss 1.2500  rung 2 of 2, 1 of 2"]
    halved.train("3", rung=1)
    assert log.look() == ["trial 3   done in 4.0 s (units 6): epoch 4, loss 3.2500  rung 2 of 2, 2 of 2"]
    halved.folder.settle_pick("1")
    assert log.look() == ["sweep     picked trial 1 (units 4), the best of 4 on validation"]


def test_a_warning_of_many_trials_is_one_line(halved):
    log = Log(halved)
    log.look()
    for trial in "123":
        with halved.work(halved.plan.rungs[0].nodes[trial]).attempt():
            emit(Warned("train", "no validation split"))
    assert log.look() == ["trial 1   no validation split"]


def test_a_terminal_has_the_table_instead_of_lines(halved):
    halved.train("1").train("2", until=1)
    file = io.StringIO()
    console = Console(file=file, width=80, height=20, force_terminal=True, color_system=None)
    with RunDisplay(console) as display:
        display.show(halved.record())
        display._live.refresh()
    text = file.getvalue()
    assert "4 trials: 1 running, 3 waiting" in text
    assert "about 18 s left to train" in text
    assert "done" not in text.partition("sweep")[2]
    assert text.count("units 5") == text.count("4 trials: 1 running")


def test_a_trial_that_was_trained_before_has_no_line(tmp_path):
    MadeSweep(tmp_path, UNTRACKED, UNITS).finish()
    made = MadeSweep(tmp_path, UNTRACKED, "sweep={over: {model.encoder.units: [4, 5, 6, 8, 9]}}")
    log = Log(made)
    assert log.look()[-1] == "sweep     5 trials, 4 of them trained before, ranked by loss"
    made.train("5")
    assert log.look() == ["trial 5   done in 8.0 s (units 9): epoch 4, loss 5.2500  5 of 5"]


def test_epochs_that_are_chosen_are_known_when_a_trial_has_begun(tmp_path):
    sweep = MadeSweep(tmp_path, UNITS, "train.epochs=null").make("ingest", "tokenize")
    with sweep.work(sweep.plan.rungs[0].nodes["2"]).attempt("fit"):
        emit(EpochFinished("train", 1, 5, {"loss": 1.0}, 2.0))
    states = trial_states(sweep.record())
    assert {trial: state.planned for trial, state in states.items() if trial in ("1", "2")} == {
        "1": 10,
        "2": 5,
    }
    assert seconds_left(sweep.record(), states, 1) == 2.0 * (4 + 10 * (len(states) - 1))
