"""Files of word vectors: GloVe's text, fastText's and word2vec's with a header line, word2vec's binary.

A name that ends with .bin or .bin.gz is binary, everything else is text; gzip is known by its first bytes.
Files are streamed: of a line only the token is looked at until somebody wants its vector.
"""

from __future__ import annotations

import gzip
import io
import re
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, cast

from components.errors import UserError
from components.text import first_line
from components.user_file import UserFile

if TYPE_CHECKING:
    import numpy as np

_LONGEST = 1 << 20  # bytes of a line, or of a token
_BLOCK = 1 << 20
_LOOKED_AT = 50  # lines from which the width of a text without a header is taken
_GZIP, _ZIP, _FASTTEXT = b"\x1f\x8b", b"PK\x03\x04", b"\xba\x16\x4f\x2f"


class Entry(NamedTuple):
    """A token and its vector.

    Args:
        token: its bytes, which need not be UTF-8.
        numbers: of its vector, as the file has them; None if they are not as many as expected.
    """

    token: bytes
    numbers: bytes | None


@dataclass(frozen=True)
class VectorFormat:
    """How a file of vectors is written.

    Args:
        dimension: numbers of a vector.
        count: how many vectors the header promises; None without a header.
        binary: whether numbers are four bytes each, and not text.
        separator: between token and numbers.
    """

    dimension: int
    count: int | None
    binary: bool
    separator: bytes = b" "

    @classmethod
    def of(cls, file: UserFile) -> VectorFormat:
        """Looks at the beginning of a file.

        Raises:
            UserError: it is no file of vectors.
        """
        with _unpacked(UserFile(file.name, file.place)) as stream:
            return _look(file, stream)

    def vector(self, numbers: bytes) -> np.ndarray | None:
        """Returns the vector of an entry, float32 [dimension]; None if something in it is no number."""
        import numpy as np  # a plan looks at the beginning only

        if self.binary:
            vector = np.frombuffer(numbers, "<f4").astype(np.float32)
        else:
            try:
                read = np.array([float(number) for number in numbers.split(self.separator)])
            except ValueError:
                return None
            with np.errstate(over="ignore"):  # what is too large becomes infinite
                vector = read.astype(np.float32)
        return vector if np.isfinite(vector).all() else None


@contextmanager
def reading(file: UserFile, form: VectorFormat) -> Iterator[Iterator[Entry]]:
    """Streams the entries of a file, in their order.

    Raises:
        UserError: the file is cut, or changed since the run was planned.
    """
    with _unpacked(file) as stream:
        yield _binary(file, stream, form) if form.binary else _text(file, stream, form)


@contextmanager
def _unpacked(file: UserFile) -> Iterator[BinaryIO]:
    try:
        with file.opened() as stream:
            packed = cast(io.BufferedReader, stream).peek(2)[:2] == _GZIP
            yield (
                cast(BinaryIO, io.BufferedReader(gzip.GzipFile(fileobj=stream), _BLOCK)) if packed else stream
            )
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UserError(f"{file.name} cannot be unpacked: {error}. Get the file again.") from error


def _look(file: UserFile, stream: BinaryIO) -> VectorFormat:
    binary = file.name.lower().removesuffix(".gz").endswith(".bin")
    first = stream.readline(_LONGEST)
    if first.startswith(_ZIP):
        raise UserError(f"{file.name} is a zip archive, expected the file in it; unpack it.")
    if first.startswith(_FASTTEXT):
        raise UserError(
            f"{file.name} is a model of fastText, expected its vectors: the file that ends with .vec, or "
            "what gensim's save_word2vec_format writes."
        )
    first = first_line(first)
    numbers = first.split()
    has_header = len(numbers) == 2 and all(number.isdigit() for number in numbers)
    if has_header and int(numbers[1]) > 0:
        count, dimension = map(int, numbers)
        lines = [] if binary else [stream.readline(_LONGEST)]
        return VectorFormat(dimension, count, binary, _separator(lines))
    if binary:
        raise UserError(
            f"{file.name} does not begin with the number of vectors and their dimension, expected the binary "
            "format of word2vec for a name with .bin. A text needs another name, such as vectors.txt."
        )
    lines = [_single_spaced(line) for line in (first, *islice(stream, _LOOKED_AT - 1)) if line.strip()]
    separator = _separator(lines)
    widths = Counter(line.rstrip().count(separator) for line in lines)
    dimension = widths.most_common(1)[0][0] if widths else 0
    if not dimension:
        raise UserError(
            f"{file.name} is no file of vectors, expected lines of a token and numbers, with spaces between "
            "them."
        )
    return VectorFormat(dimension, None, binary, separator)


def _separator(lines: list[bytes]) -> bytes:
    return b"\t" if any(b"\t" in line and b" " not in line.strip() for line in lines) else b" "


def _text(file: UserFile, stream: BinaryIO, form: VectorFormat) -> Iterator[Entry]:
    """A token may have spaces in it, as some of GloVe's have: its numbers are the last ones of the line."""
    if form.count is not None:
        stream.readline(_LONGEST)
    done = 0
    while line := stream.readline(_LONGEST):
        done += 1
        if not line.endswith(b"\n") and len(line) == _LONGEST:
            while (rest := stream.readline(_LONGEST)) and not rest.endswith(b"\n"):
                pass
            yield Entry(b"", None)
            continue
        if done == 1 and form.count is None:
            line = first_line(line)
        line = _single_spaced(line.rstrip(b" \t\r\n"))
        more = line.count(form.separator) - form.dimension
        if more == 0:
            token, _, numbers = line.partition(form.separator)
            yield Entry(token, numbers)
        elif more > 0:
            token = line.rsplit(form.separator, form.dimension)[0]
            is_cut = _is_number(token.rpartition(form.separator)[2])  # a number too many, and not a token
            yield Entry(token, None if is_cut else line[len(token) + 1 :])
        elif line:
            yield Entry(line.partition(form.separator)[0], None)
    if form.count is not None and done < form.count:
        raise _cut(file, done, form.count)


def _single_spaced(line: bytes) -> bytes:
    """A line with one space where there are several, but for a token of spaces in front."""
    return re.sub(rb"(?<=[^ ]) {2,}", b" ", line) if b"  " in line else line


def _is_number(text: bytes) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _cut(file: UserFile, done: int, promised: int) -> UserError:
    return UserError(
        f"{file.name} has {done:,} of the {promised:,} vectors that it promises; get the file again."
    )


def _binary(file: UserFile, stream: BinaryIO, form: VectorFormat) -> Iterator[Entry]:
    """Numbers may hold the bytes of spaces and line breaks; a break before a token is none of it."""
    stream.readline(_LONGEST)
    width = 4 * form.dimension
    held, start = b"", 0
    for done in range(form.count or 0):
        while (end := held.find(b" ", start)) < 0 or len(held) < end + 1 + width:
            block = stream.read(_BLOCK)
            if not block or (end < 0 and len(held) - start > _LONGEST):
                raise _cut(file, done, form.count or 0)
            held, start = held[start:] + block, 0
        yield Entry(held[start:end].lstrip(b"\n"), held[end + 1 : end + 1 + width])
        start = end + 1 + width
