import threading

import pytest

from pipeline.tracking import delivery
from pipeline.tracking.delivery import Delivery, Failure


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch):
    monkeypatch.setattr(delivery, "_FIRST_PAUSE", 0.001)
    monkeypatch.setattr(delivery, "_LONGEST_PAUSE", 0.001)


def failing(times, error, then):
    """Makes a call that fails so many times before it works."""
    left = [times]

    def send():
        if left[0]:
            left[0] -= 1
            raise error
        then()

    return send


def test_everything_arrives_in_order_although_some_of_it_fails_at_first():
    arrived, done = [], threading.Event()
    sending = Delivery(failure_of=lambda error: Failure.UNREACHABLE)
    sending.put("a", lambda: arrived.append("a"))
    sending.put("b", failing(3, OSError("unreachable"), lambda: arrived.append("b")))
    sending.put("c", lambda: arrived.append("c"))
    sending.put("d", done.set)
    assert done.wait(30)
    assert sending.close(30) == []
    assert arrived == ["a", "b", "c"]


def test_what_can_never_be_sent_does_not_stop_the_rest():
    sending = Delivery(failure_of=lambda error: Failure.PERMANENT)
    sending.put("a", lambda: None)
    sending.put("b", failing(9, ValueError("wrong"), lambda: None))
    sending.put("c", lambda: None)
    assert sending.close(30) == ["b"]
    assert str(sending.error) == "wrong"


def test_without_the_first_nothing_else_is_tried():
    tried = []
    sending = Delivery(failure_of=lambda error: Failure.PERMANENT)
    sending.put("a", failing(9, ValueError(), lambda: None))
    sending.put("b", lambda: tried.append("b"))
    assert sending.close(30) == ["a", "b"]
    assert tried == []


def test_what_fails_temporarily_lets_the_rest_pass_and_is_tried_again_at_the_end():
    arrived, done, well = [], threading.Event(), threading.Event()

    def send():
        if not well.is_set():
            raise OSError("503")
        arrived.append("b")

    sending = Delivery(failure_of=lambda error: Failure.TEMPORARY)
    sending.put("a", failing(9, OSError("503"), lambda: arrived.append("a")))  # the first is waited for
    sending.put("b", send)
    sending.put("c", lambda: arrived.append("c"))
    sending.put("d", done.set)
    assert done.wait(30)
    well.set()
    assert sending.close(30) == []
    assert arrived == ["a", "c", "b"]


def test_at_the_end_a_temporary_failure_costs_only_itself_and_silence_all_that_is_left():
    kinds = {"503": Failure.TEMPORARY, "unreachable": Failure.UNREACHABLE}
    tried = []
    sending = Delivery(failure_of=lambda error: kinds[str(error)])
    sending.put("a", lambda: None)
    sending.put("b", failing(99, OSError("503"), lambda: None))
    sending.put("c", lambda: None)
    sending.put("d", failing(99, OSError("unreachable"), lambda: None))
    sending.put("e", lambda: tried.append("e"))
    assert sending.close(30) == ["b", "d", "e"]
    assert tried == []


def test_closing_ends_the_waiting_for_a_better_time(monkeypatch):
    monkeypatch.setattr(delivery, "_FIRST_PAUSE", 3600)
    failed = threading.Event()

    def send():
        failed.set()
        raise OSError("unreachable")

    sending = Delivery(failure_of=lambda error: Failure.UNREACHABLE)
    sending.put("a", send)
    sending.put("b", lambda: None)
    assert failed.wait(30)
    assert sending.close(30) == ["a", "b"]


def test_a_call_that_hangs_is_left_behind():
    release = threading.Event()
    sending = Delivery(failure_of=lambda error: Failure.UNREACHABLE)
    sending.put("a", lambda: None)
    sending.put("b", release.wait)
    assert "b" in sending.close(0.1)
    release.set()


def test_nothing_to_send():
    assert Delivery(failure_of=lambda error: Failure.UNREACHABLE).close(30) == []
