"""What object stores do with objects, beside fsspec's plain methods. Behind components/files.py."""

from __future__ import annotations

import contextlib
import functools
import uuid
from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from upath import UPath

from components import stores

_FEW = 8  # files of a folder that are asked for one by one
_WRITER = "rnnpipe-writer"  # which attempt to create a file has done it, as metadata of the object


def create(place: UPath, data: bytes) -> None:
    """Puts a whole file where none has ever been.

    An answer may be lost, and the request sent again by any layer below (aiohttp does), which the store then
    refuses. So the file carries who wrote it, and where there is one already, that is looked at.

    Raises:
        FileExistsError: if there is one, of somebody else.
        StoreError: as of `stores.ask`.
    """
    system, writer = stores.prepared(place), uuid.uuid4().hex
    limits = stores.limits(system)
    marks = {"s3": {"Metadata": {_WRITER: writer}}, "gs": {"metadata": {_WRITER: writer}}}
    mark = marks.get(place.protocol, {})

    def put() -> None:
        try:
            system.pipe_file(place.path, data, mode="create", **mark, **limits)
        except FileExistsError:
            if not mark or _marks(place, system).get(_WRITER) != writer:
                raise

    stores.patiently(place, "pipe_file", put)


def _marks(place: UPath, system: Any) -> dict[str, str]:
    """What a file carries beside its content; nothing if it has been deleted since."""
    try:
        if place.protocol == "s3":
            return dict(system.metadata(place.path))
        return dict(system.info(place.path).get("metadata", {}))
    except FileNotFoundError:
        return {}


def upload(source: Path, target: UPath) -> None:
    """Copies a local file to a name that was never used.

    Raises:
        StoreError: as of `stores.ask`.
    """
    source.stat()  # a file that is not here is not taken for a bucket that is not there
    put, limits = stores.prepared(target).put_file, stores.limits(target.fs)
    stores.patiently(target, "put_file", lambda: put(str(source), target.path, **limits))


def end_uploads(folder: UPath, before: float) -> int:
    """Ends the uploads in several parts below a folder that nobody has finished; returns how many.

    S3 keeps their parts, and charges for them, until somebody does; GCS drops them after a week by itself.

    Args:
        folder: of which files.
        before: when they were begun at the latest, in seconds since 1970. At most 1,000 are ended at once.
    """
    if folder.protocol != "s3":
        return 0
    call, bucket, ended = stores.prepared(folder).call_s3, folder.drive, 0
    prefix = folder.path.partition("/")[2].rstrip("/") + "/"
    find = functools.partial(call, "list_multipart_uploads", Bucket=bucket, Prefix=prefix)
    for upload in stores.patiently(folder, "list_multipart_uploads", find).get("Uploads", []):
        if upload["Initiated"].timestamp() < before:
            named = {"Bucket": bucket, "Key": upload["Key"], "UploadId": upload["UploadId"]}
            end = functools.partial(call, "abort_multipart_upload", **named)
            with contextlib.suppress(FileNotFoundError):  # somebody else is cleaning
                stores.patiently(folder, "abort_multipart_upload", end)
            ended += 1
    return ended


def version(info: dict[str, Any]) -> str:
    """Returns what a store says of a file's content: another content, another version; empty if nothing."""
    return next((str(info[name]) for name in ("ETag", "etag", "md5Hash", "crc32c") if info.get(name)), "")


def signature(info: dict[str, Any]) -> str:
    """Returns a text that changes with a file's content."""
    return f"{info['size']}|{version(info) or modified(info)}"


def signatures(paths: Iterable[UPath]) -> dict[str, str]:
    """Lists the signatures of files, by their paths, where many of them are together in a folder."""
    together: dict[UPath, list[UPath]] = defaultdict(list)
    for path in paths:
        together[path.parent].append(path)
    signatures: dict[str, str] = {}
    for folder, inside in together.items():
        if len(inside) > _FEW:
            infos = {info["name"].strip("/"): info for info in stores.ask(folder, "ls", detail=True)}
            there = {str(path): infos.get(path.path.strip("/")) for path in inside}
            signatures |= {name: signature(info) for name, info in there.items() if info}
    return signatures


def modified(info: dict[str, Any]) -> float:
    """Returns when a file was last written, in seconds since 1970, by what fsspec knows of it; else 0."""
    for name in ("LastModified", "mtime", "updated", "created", "timeCreated"):
        value = info.get(name)
        if isinstance(value, str):
            value = datetime.fromisoformat(value.replace("Z", "+00:00"))
        if isinstance(value, datetime):
            return (value if value.tzinfo else value.replace(tzinfo=timezone.utc)).timestamp()
        if value is not None:
            return float(value)
    return 0.0
