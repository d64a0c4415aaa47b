"""What the errors of fsspec's libraries mean: whether to ask again, whether a store is full."""

from __future__ import annotations

import asyncio
import errno
import socket
import sys
from collections.abc import Iterator

_STATUSES = (408, 429, 500, 502, 503, 504)
# Two writers of one name at the same moment are asked by the store to come again; the others are busy stores.
_CODES = ("ConditionalRequestConflict", "OperationAborted", "SlowDown", "ServiceUnavailable", "InternalError")
_ERRNOS = (errno.EBUSY, errno.EREMOTEIO)  # what s3fs makes of 409 and 503, and of 500
_BROKEN = (
    ("botocore.exceptions", "HTTPClientError"),
    ("botocore.exceptions", "ConnectionError"),
    ("botocore.parsers", "ResponseParserError"),  # an answer of a load balancer, not of the store
    ("aiohttp", "ClientError"),
    ("requests.exceptions", "ConnectionError"),
    ("requests.exceptions", "Timeout"),
    ("requests.exceptions", "ChunkedEncodingError"),
)
# A certificate or an address that is wrong now is wrong in a minute, and so is a file that was replaced.
_LASTING = (
    ("botocore.exceptions", "SSLError"),
    ("aiohttp", "ClientSSLError"),
    ("aiohttp", "InvalidURL"),
    ("s3fs.utils", "FileExpired"),
)
# AWS and Google are never full; versitygw, MinIO and Ceph can be, and all have quotas.
_FULL = ("InsufficientStorage", "XMinioStorageFull", "QuotaExceeded", "XMinioAdminBucketQuotaExceeded")
_INSUFFICIENT_STORAGE = 507
_LONGEST = 300  # characters of an error that are shown: some answers are pages


def is_transient(error: Exception) -> bool:
    """Whether the same request may succeed in a moment."""
    if is_full(error) or any(isinstance(cause, _kinds(_LASTING)) for cause in _causes(error)):
        return False
    if any(isinstance(cause, socket.gaierror) for cause in _causes(error)):
        return any(getattr(cause, "errno", None) == socket.EAI_AGAIN for cause in _causes(error))
    status, code = _answer(error)
    if status:
        return status in _STATUSES or code in _CODES
    if isinstance(error, (ConnectionError, TimeoutError, asyncio.TimeoutError, *_kinds(_BROKEN))):
        return True
    return isinstance(error, OSError) and (
        error.errno in _ERRNOS or any(code in str(error) for code in _CODES)
    )


def is_full(error: Exception) -> bool:
    """Whether a store has no room left, or no quota."""
    status, code = _answer(error)
    return status == _INSUFFICIENT_STORAGE or code in _FULL


def is_missing_bucket(error: Exception) -> bool:
    """Whether it is the bucket that is not there, which s3fs tells like a missing file."""
    return _answer(error)[1] == "NoSuchBucket"


def describe(error: Exception) -> str:
    """Says in a line what a library has raised."""
    status, code = _answer(error)
    text = " ".join(str(error).split())[:_LONGEST]
    known = dict.fromkeys(str(part) for part in (status, code) if part)
    answered = " ".join(part for part in known if part not in text)
    return ": ".join(part for part in (answered, text) if part) or type(error).__name__


def _answer(error: Exception) -> tuple[int, str]:
    """The status and the error code of the store's answer, as botocore or gcsfs give it; 0 and "" if none."""
    for cause in _causes(error):
        response = getattr(cause, "response", None)
        if isinstance(response, dict) and "Error" in response:  # botocore's
            status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            return int(status), str(response["Error"].get("Code", ""))
        if isinstance(cause, _kinds((("requests.exceptions", "ProxyError"),))):  # gcsfs makes it of 502
            return 502, ""
        code = getattr(cause, "code", None)
        if isinstance(cause, _kinds((("gcsfs.retry", "HttpError"),))) and str(code).isdigit():
            return int(str(code)), ""
    return 0, ""


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error, and what it was raised for."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        # As aiohttp and botocore keep it.
        hidden = getattr(cause, "os_error", None) or getattr(cause, "kwargs", {}).get("error")
        cause = cause.__cause__ or (hidden if isinstance(hidden, BaseException) else None)


def _kinds(names: tuple[tuple[str, str], ...]) -> tuple[type[BaseException], ...]:
    """Exceptions of libraries: what nobody has imported, nobody raises."""
    modules = ((sys.modules.get(module), name) for module, name in names)
    kinds = (getattr(module, name, None) for module, name in modules if module is not None)
    return tuple(kind for kind in kinds if kind is not None)
