"""How bytes become lines and labels wherever they are read: to train, measure, score or answer."""

from __future__ import annotations

import codecs
import unicodedata

NOT_UTF8 = "not UTF-8"


def first_line(line: bytes) -> bytes:
    """Returns the first line of a file or stream in UTF-8 without the byte order mark."""
    return line.removeprefix(codecs.BOM_UTF8)


def without_end(line: bytes) -> bytes:
    """Returns a line without what ends it."""
    return line.rstrip(b"\r\n")


def normal(text: str) -> str:
    """Returns a text in Unicode's form NFC, in which texts and labels are compared."""
    return unicodedata.normalize("NFC", text)


def printable(path: str) -> str:
    """Returns a path as text for people and files, in which bytes that are no UTF-8 are hexadecimal."""
    try:
        return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # half a character, which YAML and JSON can spell
        return path.encode("utf-8", "backslashreplace").decode()


def is_utf8_path(path: str) -> bool:
    """Whether a path, as Python has it, is text."""
    return printable(path) == path


def to_label(text: str) -> tuple[str, str]:
    """Spells a label as it is compared everywhere: in NFC, without white space around it.

    Returns:
        The label, and why it can be none (empty: it can).
    """
    label = normal(text.strip())
    if label.isprintable():
        return label, ""
    if len(label.splitlines()) > 1:
        return "", "label of several lines"
    control = next((character for character in label if unicodedata.category(character) == "Cc"), "")
    if control:
        return "", f"label with the control character U+{ord(control):04X}"
    return label, ""
