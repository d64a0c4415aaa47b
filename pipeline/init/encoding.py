"""Which encoding a text file is in, by charset-normalizer."""

from __future__ import annotations

import codecs
from typing import NamedTuple

from charset_normalizer import CharsetMatches, from_bytes

from components.errors import UserError
from components.ingest.encodings import UTF8

_UNICODE = ("utf_8", "utf_16", "utf_16_le", "utf_16_be", "utf_32", "utf_32_le", "utf_32_be")
# Of encodings that write the same text, the first is named: that is the one that people know.
_FAMILIAR = (
    *("cp1252", "gb18030", "big5", "cp932", "euc_jp", "cp949", "cp1251", "koi8_r", "koi8_u", "cp1250"),
    *("cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "cp1258", "cp874"),
    *("iso8859_15", "iso8859_2", "iso8859_5", "iso8859_7", "mac_roman"),
)
_ALIKE = 0.02  # of coherence, from 0 to 1
_SAMPLE = 1 << 16  # bytes that are compared with what languages look like
_MOSTLY = 0.8  # of the lines that are not ASCII: a few damaged ones do not make a file another encoding's
_MAGIC = {
    b"PK\x03\x04": "a zip archive or an Excel workbook: unpack it, or save the sheet as CSV",
    b"\xd0\xcf\x11\xe0": "an Excel workbook of the old kind: save the sheet as CSV",
    b"\x1f\x8b": "compressed by gzip: give it a name that ends in .gz",
    b"BZh": "compressed by bzip2: unpack it",
    b"\xfd7zXZ": "compressed by xz: unpack it",
    b"\x28\xb5\x2f\xfd": "compressed by zstd: unpack it",
    b"%PDF": "a PDF: extract its text",
    b"SQLite format 3": "a database of SQLite: export the table as CSV",
    b"ARROW1": "Arrow's own format: write it as Parquet",
}


class Encoding(NamedTuple):
    """An encoding.

    Args:
        name: as `ingest.encoding` takes it.
        ascii: whether every byte looked at is ASCII, so that nearly any encoding would do.
        others: that fit as well, and give other characters.
    """

    name: str
    ascii: bool = False
    others: tuple[str, ...] = ()


def find_encoding(file: str, sample: bytes) -> Encoding:
    """Says which encoding bytes are in.

    UTF-8 is what decodes as UTF-8, but for a damaged line here and there; all else is charset-normalizer's
    judgement, by how much like a language the decoded text looks.

    Args:
        file: for the error message.
        sample: its first bytes, or several pieces of it with line ends between them.

    Raises:
        UserError: it is no text.
    """
    if advice := next((advice for magic, advice in _MAGIC.items() if sample.startswith(magic)), ""):
        raise UserError(
            f"init: {file} is no text, expected CSV, TSV, JSON lines, Parquet or text. It is {advice}."
        )
    if b"\0" in sample or sample.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return Encoding(_spelled(_best(file, from_bytes(sample[:_SAMPLE], cp_isolation=list(_UNICODE)))))
    lines = [line for line in sample.split(b"\n") if not line.isascii()]
    if not lines:
        return Encoding(UTF8, ascii=True)
    # The last line may be cut within a character.
    damaged = [line for line in lines if not _is_utf8(line)]
    if len(damaged) <= max((1 - _MOSTLY) * len(lines), len(lines) > 1 and damaged == lines[-1:]):
        return Encoding(UTF8)
    matches = from_bytes(b"\n".join(damaged)[:_SAMPLE], cp_isolation=list(_FAMILIAR))
    best = _best(file, matches)
    text = b"\n".join(damaged)[:_SAMPLE].decode(best, errors="replace")
    alike = [
        match.encoding
        for match in matches
        if match.coherence >= matches[0].coherence - _ALIKE and str(match) != text
    ]
    return Encoding(_spelled(best), others=tuple(map(_spelled, alike)))


def _best(file: str, matches: CharsetMatches) -> str:
    if not matches:
        raise UserError(
            f"init: {file} is no text in any encoding known here, expected CSV, TSV, JSON lines, Parquet or "
            f"text. If it is, give its encoding: --encoding NAME"
        )
    # What Western languages are written in is often taken for its neighbours, which differ in few characters.
    fits = {
        name
        for match in matches
        if match.coherence >= matches[0].coherence - _ALIKE
        for name in (match.encoding, *(match.could_be_from_charset if match is matches[0] else ()))
    }
    if "cp1252" in fits:
        return "cp1252"
    same = matches[0].could_be_from_charset
    return next((name for name in _FAMILIAR if name in same), matches[0].encoding)


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def _spelled(name: str) -> str:
    return name.replace("_", "-") if name.startswith(("utf_", "euc_", "koi8_", "iso8859_")) else name
