"""Object stores, as fsspec's libraries reach them, and patience with them. Behind components/files.py.

A store may be slow, refuse connections, answer that it is busy, or lose an answer after it has done its work.
What passes is asked again, here and nowhere else: s3fs would ask five times, botocore five times in every one
of these. Both are switched off, and gcsfs's six times, but for whole downloads, where that cannot be done.
"""

from __future__ import annotations

import contextlib
import logging
import random
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

from upath import UPath

from components.store_faults import describe, is_full, is_missing_bucket, is_transient

PATIENCE = 60.0
"""Seconds that a store which fails is asked again, unless `patience` says otherwise."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 8.0  # seconds; every pause is twice as long as the one before
_SILENT = 5.0  # seconds until the user is told that somebody waits
# Seconds without a byte until a request counts as lost. Connecting to a store takes less than answering does.
_CONNECT, _READ = 5.0, 30.0
_PLAIN = (FileExistsError, FileNotFoundError, IsADirectoryError, NotADirectoryError)  # answers like others
_PUTS = ("pipe_file", "put_file")  # which find everything where there is a bucket

_allowed: ContextVar[float | None] = ContextVar("allowed patience", default=None)
_log = logging.getLogger("rnnpipe")


class StoreError(OSError):
    """A store does not do what it was asked; the message names it, and says what to do."""


class _Outage:
    """Since when a store fails: who asks it next has no minute of his own, but what is left of this one."""

    def __init__(self) -> None:
        self._began = self._last = float("-inf")
        self._told = False

    def lasts(self) -> float:
        """Notes one more failure; returns for how many seconds the store has failed."""
        now = time.monotonic()
        if not self.goes_on():  # it has answered, or nobody has asked meanwhile
            self._began, self._told = now, False
        self._last = now
        return now - self._began

    def end(self) -> None:
        """Notes that the store has answered."""
        self._last = float("-inf")

    def goes_on(self) -> bool:
        """Whether the store has failed when it was asked last, in the last minute."""
        return time.monotonic() - self._last <= PATIENCE

    def tell(self, place: UPath, error: Exception) -> None:
        """Tells the user once that the store is waited for."""
        if not self._told:
            self._told = True
            _log.warning("%s is asked again for up to %.0f seconds: %s", place, PATIENCE, describe(error))


_outages: dict[str, _Outage] = defaultdict(_Outage)


def is_failing(place: UPath) -> bool:
    """Whether the store of a place has failed lately, and has not answered since."""
    outage = _outages.get(_store_of(place))
    return outage is not None and outage.goes_on()


@contextlib.contextmanager
def patience(seconds: float) -> Iterator[None]:
    """Has this thread wait no longer than so for a store in the block, for failures and for answers."""
    token = _allowed.set(seconds)
    try:
        yield
    finally:
        _allowed.reset(token)


def ask(place: UPath, method: str, *arguments: Any, **options: Any) -> Any:
    """Asks a remote store by a method of its fsspec file system, and again for as long as patience lasts.

    Args:
        place: what is asked for.
        method: its name, such as cat_file; the first argument is the place.
        arguments: the others.
        options: its keyword arguments.

    Raises:
        StoreError: if the store refuses, is full, or does not answer for as long as patience lasts.
        OSError: FileNotFoundError and its like, as the store answers.
    """
    call = getattr(prepared(place), method)
    options |= limits(place.fs)
    return patiently(place, method, lambda: call(place.path, *arguments, **options))


def patiently(place: UPath, method: str, call: Callable[[], Any]) -> Any:
    """Calls what asks a remote store, and again for as long as patience lasts; see `ask`."""
    outage = _outages[_store_of(place)]
    allowed = _allowed.get()
    patience = PATIENCE if allowed is None else allowed
    pause, failing = _FIRST_PAUSE, 0.0
    while True:
        try:
            result = call()
        except _PLAIN as error:
            outage.end()
            if is_missing_bucket(error) or (method in _PUTS and isinstance(error, FileNotFoundError)):
                raise StoreError(
                    f"{place}: there is no such bucket; expected one that exists. Check the address."
                ) from error
            raise
        except Exception as error:
            if not is_transient(error):
                outage.end()
                raise _refused(place, error) from error
            failing = failing or time.monotonic()
            # A store that fails at times only, such as for writing, must not be asked for ever.
            lasted = max(outage.lasts(), time.monotonic() - failing)
            if lasted >= patience:
                raise _unavailable(place, lasted, error) from error
            if lasted > _SILENT:
                outage.tell(place, error)
            # Jitter: workers that were refused together must not come again together.
            time.sleep(min(pause * random.uniform(0.5, 1.0), patience - lasted))
            pause = min(2 * pause, _LONGEST_PAUSE)
        else:
            outage.end()
            return result


def limits(system: Any) -> dict[str, float]:
    """The option of fsspec that ends a call which takes longer than this thread has patience."""
    limit = _allowed.get()
    return {} if limit is None or not system.async_impl else {"timeout": limit}


def prepared(place: UPath) -> Any:
    """Returns the file system of a place, whose library asks once and has time-outs."""
    system = place.fs
    if place.protocol == "s3" and system.retries != 1:
        system.retries = 1
        once = {"retries": {"total_max_attempts": 1}, "connect_timeout": _CONNECT, "read_timeout": _READ}
        system.config_kwargs = {**once, **system.config_kwargs}
        if system._s3 is not None:  # somebody else has connected it
            system.connect(refresh=True)
    if place.protocol == "gs" and "_request" not in vars(system):
        import aiohttp

        system.requests_timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT, sock_read=_READ)
        # What its decorator `retry_request` wraps.
        system._request = type(system)._request.__wrapped__.__get__(system)
    return system


def _store_of(place: UPath) -> str:
    return f"{place.protocol}://{place.drive}"


def _refused(place: UPath, error: Exception) -> StoreError:
    if is_full(error):
        return StoreError(
            f"{place}: the store is full ({describe(error)}). Make room there, and run again: what is "
            "finished is kept."
        )
    return StoreError(f"{place}: {describe(error)}. Check the address, your access and the network.")


def _unavailable(place: UPath, seconds: float, error: Exception) -> StoreError:
    return StoreError(
        f"{place}: {_store_of(place)} has failed for {seconds:.0f} seconds ({describe(error)}). Check "
        "that it runs, and that this machine reaches it; then run again: what is finished is kept."
    )
