"""Says which encoding to give where records are not in the one that they were read in."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from components.errors import UserError
from components.ingest.encodings import UndecodableError
from components.ingest.records import Record, undecodable
from components.ingest.sources import Source

_DOUBTS = 1  # other encodings that fit as well, above which a guess is none: Mac's fits much that is Western


def undecodable_source(source: Source, record: Record) -> Source | None:
    """Returns the record's source, if the record is not in the encoding that this is read in."""
    return source if record.reason == undecodable(b"", source.dialect.encoding) else None


@contextlib.contextmanager
def with_encoding_advice(source: Source) -> Iterator[None]:
    """Adds the encoding to give to the error of a source whose header line cannot be decoded.

    Raises:
        UserError: instead of ingest's.
    """
    try:
        yield
    except UndecodableError as error:
        raise UserError(f"{error}{encoding_advice(source).removeprefix('.')}") from error


def encoding_advice(source: Source | None) -> str:
    """Returns a sentence to be put behind another one: which encoding to give.

    Args:
        source: with records that are not in the encoding that it is read in; None if there are none.
    """
    if source is None:
        return ""
    from pipeline.init.encoding import find_encoding  # which loads what only a guess needs
    from pipeline.init.excerpt import first_bytes

    file, given = source.name(), source.dialect.encoding
    try:
        found = find_encoding(file, first_bytes(source.place(), file))
    except UserError:
        found = None
    if found and found.name == given:  # but for a few records, which are damaged
        return ""
    if not found or found.ascii or len(found.others) > _DOUBTS:
        return f". If {file} is in another encoding than {given}, give --encoding NAME."
    others = f", or else {' or '.join(found.others)}" if found.others else ""
    return f". {file} looks like {found.name}{others}: give --encoding {found.name}."
