"""`make verify-outside` where there is nothing to verify with."""

import importlib.util
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "outside" / "verify.py"


@pytest.fixture
def verify(monkeypatch):
    """The script as a module, whose run on this machine has already been done."""
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    specification = importlib.util.spec_from_file_location("verify", SCRIPT)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    for name in module.NEEDED:
        monkeypatch.setenv(name, "x")
    monkeypatch.setattr(module, "is_installed", lambda name: True)
    monkeypatch.setattr(module, "missing_for_serving", lambda: "")
    monkeypatch.setattr(module, "try_dataflow", lambda here, folder, flags: module.Outcome(0, "equal"))
    monkeypatch.setattr(module, "run", lambda config, *arguments: 0)
    monkeypatch.setattr(module, "look_at_serving", lambda config: module.Outcome(0, "passed"))
    return module


def test_all_that_is_tried_is_right(verify, capsys):
    assert verify.main([]) == 0
    assert "Dataflow: passed: equal\nTensorFlow Serving: passed" in capsys.readouterr().out


def test_an_account_that_is_missing_is_named(verify, monkeypatch, capsys):
    monkeypatch.delenv("RNNPIPE_VERIFY_PROJECT")
    assert verify.main([]) == 2
    printed = capsys.readouterr().out
    assert "Dataflow: NOT TRIED: set RNNPIPE_VERIFY_PROJECT (the id" in printed
    assert "TensorFlow Serving: passed" in printed


def test_nothing_runs_where_nothing_can_be_tried(verify, monkeypatch, capsys):
    monkeypatch.delenv("RNNPIPE_VERIFY_REGION")
    monkeypatch.setattr(verify, "missing_for_serving", lambda: "there is no docker")
    monkeypatch.setattr(verify, "run", lambda *arguments: pytest.fail("it runs"))
    assert verify.main([]) == 2
    assert "TensorFlow Serving: NOT TRIED: there is no docker" in capsys.readouterr().out


def test_packages_that_are_missing_are_named(verify, monkeypatch, capsys):
    monkeypatch.setattr(verify, "is_installed", lambda module: False)
    assert verify.main([]) == 2
    assert "pip install 'rnnpipe[gcp,gcs]'" in capsys.readouterr().out


def test_a_run_that_fails_on_this_machine_ends_it(verify, monkeypatch, capsys):
    monkeypatch.setattr(verify, "run", lambda config, *arguments: 1)
    assert verify.main([]) == 1
    assert "This machine: FAILED: the run ended with exit code 1" in capsys.readouterr().out


def test_what_is_wrong_counts_more_than_what_is_missing(verify, monkeypatch):
    wrong = verify.Outcome(1, "failed: other answers")
    monkeypatch.setattr(verify, "look_at_serving", lambda config: wrong)
    assert verify.main([]) == 1
