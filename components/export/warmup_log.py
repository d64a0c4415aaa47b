"""Reads the warm-up requests of a SavedModel, as TF Serving does, with the standard library alone.

Imports are relative; see session.py.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from .wire import entries, fields

WARMUP = Path("assets.extra", "tf_serving_warmup_requests")


class Request(NamedTuple):
    """What a warm-up request asks: a signature, with strings for each of its inputs."""

    signature: str
    inputs: dict[str, list[bytes]]


def read_requests(path: Path) -> Iterator[Request]:
    """Reads the requests of a file.

    Args:
        path: a TFRecord file of tensorflow.serving.PredictionLog.

    Raises:
        ValueError: if the file is damaged.
    """
    for record in _records(path.read_bytes()):
        log = dict(fields(record))
        if 6 in log:  # predict_log
            request = dict(fields(dict(fields(log[6]))[1]))
            tensors = entries(dict(fields(log[6]))[1], 2)
            inputs = {name: _all(tensor, 8) for name, tensor in tensors.items()}  # TensorProto.string_val
        elif 2 in log:  # classify_log
            request = dict(fields(dict(fields(log[2]))[1]))
            inputs = {"inputs": _all(dict(fields(request[2]))[1], 1)}  # Input.example_list
        else:
            raise ValueError(f"a request is of the kind {sorted(log)}, neither predict nor classify")
        yield Request(dict(fields(request[1]))[3].decode(), inputs)


def _all(message: bytes, number: int) -> list[bytes]:
    return [value for field, value in fields(message) if field == number]


def _records(content: bytes) -> Iterator[bytes]:
    """The records of a TFRecord file: length, checksum of the length, data, checksum of the data."""
    position = 0
    while position < len(content):
        header = content[position : position + 12]
        length = int.from_bytes(header[:8], "little")
        data = content[position + 12 : position + 12 + length]
        check = content[position + 12 + length : position + 16 + length]
        if len(check) < 4:
            raise ValueError(f"it ends within the record at byte {position}")
        if _masked(header[:8]) != header[8:] or _masked(data) != check:
            raise ValueError(f"the checksum of the record at byte {position} is wrong")
        yield data
        position += 16 + length


def _masked(data: bytes) -> bytes:
    """The masked CRC-32C of TFRecord files."""
    checksum = 0xFFFFFFFF
    for byte in data:
        checksum = _TABLE[(checksum ^ byte) & 0xFF] ^ checksum >> 8
    checksum ^= 0xFFFFFFFF
    return struct.pack("<I", ((checksum >> 15 | checksum << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def _table_entry(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ 0x82F63B78 * (byte & 1)
    return byte


_TABLE = [_table_entry(byte) for byte in range(256)]
