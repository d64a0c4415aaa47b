import threading

import pytest

from pipeline import delivery
from pipeline.delivery import Delivery


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
    sending = Delivery(passing=lambda error: isinstance(error, OSError))
    sending.put("a", lambda: arrived.append("a"))
    sending.put("b", failing(3, OSError("away"), lambda: arrived.append("b")))
    sending.put("c", lambda: arrived.append("c"))
    sending.put("d", done.set)
    assert done.wait(30)
    assert sending.close(30) == []
    assert arrived == ["a", "b", "c"]


def test_what_can_never_be_sent_does_not_stop_the_rest():
    sending = Delivery(passing=lambda error: False)
    sending.put("a", lambda: None)
    sending.put("b", failing(9, ValueError("wrong"), lambda: None))
    sending.put("c", lambda: None)
    assert sending.close(30) == ["b"]
    assert str(sending.error) == "wrong"


def test_without_the_first_nothing_else_is_tried():
    tried = []
    sending = Delivery(passing=lambda error: False)
    sending.put("a", failing(9, ValueError(), lambda: None))
    sending.put("b", lambda: tried.append("b"))
    assert sending.close(30) == ["a", "b"]
    assert tried == []


def test_closing_ends_the_waiting_for_a_better_time(monkeypatch):
    monkeypatch.setattr(delivery, "_FIRST_PAUSE", 3600)
    failed = threading.Event()

    def send():
        failed.set()
        raise OSError("away")

    sending = Delivery(passing=lambda error: True)
    sending.put("a", send)
    sending.put("b", lambda: None)
    assert failed.wait(30)
    assert sending.close(30) == ["a", "b"]


def test_a_call_that_hangs_is_left_behind():
    release = threading.Event()
    sending = Delivery(passing=lambda error: True)
    sending.put("a", lambda: None)
    sending.put("b", release.wait)
    assert "b" in sending.close(0.1)
    release.set()


def test_nothing_to_send():
    assert Delivery(passing=lambda error: True).close(30) == []
