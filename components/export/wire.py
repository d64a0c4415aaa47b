"""The wire format of protocol buffers, as far as a SavedModel and its requests need it.

The standard library alone is imported; see session.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def example(text: str | bytes) -> bytes:
    """A serialized `tf.train.Example` with the text as its feature `text`: what `classify` takes."""
    value = text if isinstance(text, bytes) else text.encode()
    entry = _field(1, b"text") + _field(2, _field(1, _field(1, value)))  # Feature.bytes_list.value
    return _field(1, _field(1, entry))  # Example.features, an entry of Features.feature


def fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """Number and value of each field of a serialized protocol buffer, nested messages as bytes."""
    position = 0

    def varint() -> int:
        nonlocal position
        value = shift = 0
        while True:
            byte = message[position]
            position += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    while position < len(message):
        number, wire_type = divmod(varint(), 8)
        if wire_type == 0:
            yield number, varint()
            continue
        length = {1: 8, 5: 4}[wire_type] if wire_type != 2 else varint()
        yield number, message[position : position + length]
        position += length


def entries(message: bytes, number: int) -> dict[str, bytes]:
    """The map field `number` of a message: entries with key 1 and value 2."""
    pairs = (dict(fields(value)) for field, value in fields(message) if field == number)
    return {entry[1].decode(): entry.get(2, b"") for entry in pairs}


def _field(number: int, value: bytes) -> bytes:
    """A length-delimited field of a protocol buffer."""
    length, size = len(value), bytearray()
    while length > 0x7F:
        size.append(length & 0x7F | 0x80)
        length >>= 7
    return bytes([number << 3 | 2, *size, length]) + value
