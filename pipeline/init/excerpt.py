"""Excerpts of files that are too large to be looked at as a whole: their beginning, and pieces from all over.

Data are often sorted by label, so a beginning alone would hide most labels.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

import pyarrow
from pyarrow import parquet
from upath import UPath

from components.ingest.files import open_file

WHOLE_BYTES = 8 << 20
"""Files up to this size are looked at as a whole."""
_HEAD_BYTES = 256 << 10  # as a piece, which it does not outweigh
_PIECES = 30
_MOST_UNPACKED = 1 << 29  # bytes; what is compressed has to be read from its beginning
_PIECE_BYTES = 256 << 10
_ROWS = 32_000  # of Parquet
_BATCH = 1024


class Excerpt(NamedTuple):
    """What is looked at of a file.

    Args:
        place: where it is: the file itself if `share` is 1.
        share: of the file, from 0 to 1.
    """

    place: UPath
    share: float


def first_bytes(place: UPath, name: str) -> bytes:
    """Returns the beginning of a file, unpacked, and pieces from all over it, a line end between them."""
    with open_file(place, name) as file:
        if place.name.endswith(".gz"):
            return file.read(WHOLE_BYTES)
        head = file.read(_HEAD_BYTES)
        if len(head) < _HEAD_BYTES:
            return head
        size = _size(place)
        return b"\n".join([head, *_pieces(file, size, _PIECE_BYTES // 4, size)])


def excerpt(place: UPath, name: str, encoding: str, folder: Path, pieces: bool = True) -> Excerpt:
    """Writes an excerpt of a file where it is larger than `WHOLE_BYTES`, to be read as the file itself is.

    Args:
        place: where the file is.
        name: what people call it.
        encoding: in UTF-16 and UTF-32 only the beginning is taken.
        folder: where to.
        pieces: whether pieces from all over are taken, or only the beginning.
    """
    pieces = pieces and not is_wide(encoding)
    size = _size(place)
    packed = place.name.endswith(".gz")
    if is_parquet(place, name):
        return _rows_of(place, name, folder)
    if size <= WHOLE_BYTES and not packed:
        return Excerpt(place, 1.0)
    target = folder / f"{len(list(folder.iterdir()))}-{place.name.removesuffix('.gz')}"
    with open_file(place, name) as file, target.open("wb") as copy:
        head = file.read(_HEAD_BYTES if pieces and not packed else WHOLE_BYTES + 1)
        if packed and len(head) <= WHOLE_BYTES:
            return Excerpt(place, 1.0)
        if packed:  # about; the beginning may be packed better or worse than the rest
            size = size * len(head) // file.raw.fileobj.tell()  # type: ignore[attr-defined]
        if not is_wide(encoding):
            head = head[: head.rfind(b"\n", 0, _HEAD_BYTES if pieces else len(head)) + 1] or head
        read = copy.write(head)
        if pieces:
            for piece in _pieces(file, size, _PIECE_BYTES, _MOST_UNPACKED if packed else size):
                read += copy.write(piece)
            if packed:
                size = max(size, file.tell()) if file.read(1) else file.tell()
    return Excerpt(UPath(target), min(read / size, 0.99))


def is_parquet(place: UPath, name: str) -> bool:
    """Whether a file is Parquet, whatever its name says."""
    with open_file(place, name) as file:
        return file.read(4) == b"PAR1"


def is_wide(encoding: str) -> bool:
    """Whether a line end takes several bytes, so that lines cannot be found from anywhere in a file."""
    return encoding.lower().replace("_", "-").startswith(("utf-16", "utf-32"))


def excerpt_of_lines(places: Sequence[tuple[UPath, str]], folder: Path) -> list[Excerpt]:
    """Writes the first lines of files whose lines belong together, equally many of every one.

    Args:
        places: where the files are, and what people call them.
        folder: where to.
    """
    if all(_size(place) <= WHOLE_BYTES and not place.name.endswith(".gz") for place, _ in places):
        return [Excerpt(place, 1.0) for place, _ in places]
    targets = [folder / f"{len(list(folder.iterdir()))}-{number}" for number, _ in enumerate(places)]
    with contextlib.ExitStack() as stack:
        read = [stack.enter_context(open_file(place, name)) for place, name in places]
        copies = [stack.enter_context(target.open("wb")) for target in targets]
        copied = 0
        for lines in itertools.zip_longest(*read):
            copied += sum(len(line or b"") for line in lines)
            for line, copy in zip(lines, copies, strict=True):
                copy.write(line or b"")
            if copied > len(places) * WHOLE_BYTES:
                break
        # In compressed files it is not known how much is left.
        whole = not any(file.read(1) for file in read)
    share = 1.0 if whole else min(0.99, copied / sum(_size(place) for place, _ in places))
    return [Excerpt(UPath(target), share) for target in targets]


def _size(place: UPath) -> int:
    return int(place.stat().st_size)


def _pieces(file: BinaryIO, size: int, length: int, end: int) -> Iterator[bytes]:
    """Whole lines from evenly spaced places behind the beginning.

    Args:
        file: to read from.
        size: of the file, perhaps estimated.
        length: of a piece.
        end: where to stop at the latest.
    """
    step = max((min(size, end) - _HEAD_BYTES) // _PIECES, length)
    for start in itertools.islice(range(_HEAD_BYTES, end - length, step), 4 * _PIECES):
        file.seek(start)
        piece = file.read(length)
        if not piece:
            return
        begin, end = piece.find(b"\n") + 1, piece.rfind(b"\n") + 1
        if begin < end:
            yield piece[begin:end]


def _rows_of(place: UPath, name: str, folder: Path) -> Excerpt:
    """Some rows of every row group, or of evenly spaced ones where there are many."""
    with open_file(place, name) as file:
        table = parquet.ParquetFile(file)
        rows, groups = table.metadata.num_rows, table.metadata.num_row_groups
        if rows <= _ROWS:
            return Excerpt(place, 1.0)
        chosen = sorted({index * groups // _PIECES for index in range(_PIECES)})
        batches = _ROWS // len(chosen) // _BATCH + 1  # of every group
        flat = pyarrow.schema(f for f in table.schema_arrow if not pyarrow.types.is_nested(f.type))
        target = folder / f"{len(list(folder.iterdir()))}-{place.name}"
        copied = 0
        with parquet.ParquetWriter(target, flat) as writer:
            for group in chosen:
                # Few groups may be sorted, so they are gone through; many are only begun.
                there = table.metadata.row_group(group).num_rows // _BATCH
                step = 1 if groups >= _PIECES else max(1, there // batches)
                read = table.iter_batches(_BATCH, row_groups=[group], columns=flat.names)
                for batch in itertools.islice(read, 0, batches * step, step):
                    writer.write_batch(batch)
                    copied += batch.num_rows
    return Excerpt(UPath(target), copied / rows)
