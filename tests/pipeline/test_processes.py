"""The same job in this process and on worker processes: what is known of it afterwards must not differ."""

import pytest
import tiny
from known import HOLD_TIMES, known, without

from components import reports


def known_of(folder):
    return known(folder / "runs", f"sqlite:///{folder}/mlflow.db", [str(folder)])


@pytest.fixture(scope="module")
def in_process(tmp_path_factory):
    folder = tmp_path_factory.mktemp("one")
    code, said = tiny.run(tiny.make(folder))
    assert code == 0, said
    return folder, said


@pytest.mark.slow
def test_worker_processes_leave_the_same(in_process, tmp_path, capfd):
    folder, said = in_process
    code, said_too = tiny.run(tiny.make(tmp_path), "runner.type=processes")
    assert code == 0, said_too
    assert capfd.readouterr().err == ""
    one, other = known_of(folder), known_of(tmp_path)
    for part in one:
        if part == "digests":  # the export freezes libraries' names for things, which processes draw
            for name in ("ingest", "tokenize", "train", "evaluate"):
                for digest in one[part][name].keys() - HOLD_TIMES:
                    assert other[part][name][digest] == one[part][name][digest], (name, digest)
        else:
            assert other[part] == one[part], part
    assert without(said_too, [str(tmp_path)]) == without(said, [str(folder)])


def test_without_events_the_record_mlflow_and_the_card_are_the_same(in_process, tmp_path, monkeypatch):
    monkeypatch.setattr(reports, "_listeners", _Deaf())
    folder, _ = in_process
    code, said = tiny.run(tiny.make(tmp_path))
    assert code == 0, said
    one, other = known_of(folder), known_of(tmp_path)
    for part in ("status", "nodes", "metrics", "epochs", "history", "verdict", "tracked", "card"):
        assert other[part] == one[part], part


class _Deaf(list):
    """Listeners that are never told anything."""

    def __iter__(self):
        return iter(())
