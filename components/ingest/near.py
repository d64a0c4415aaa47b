"""Texts without what is often all that two copies differ in: case, punctuation and white space."""

from __future__ import annotations

import re
import string
import unicodedata

# What tells `1 + 2` from `1 - 2`, and C from C++ and C#, stays.
_PUNCTUATION = "".join(sign for sign in string.punctuation if sign not in "#$%&*+/<=>^|~")
# By byte of UTF-8: ASCII letters become small, ASCII punctuation and control characters a space.
_PLAIN = bytes.maketrans(
    (string.ascii_uppercase + _PUNCTUATION).encode() + bytes((*range(32), 127)),
    (string.ascii_lowercase + " " * (len(_PUNCTUATION) + 33)).encode(),
)
# Punctuation and spaces beyond ASCII. Not all that is no letter: vowel signs and symbols carry meaning.
_OTHER = re.compile(
    "[\u0085\u00a0\u00a1\u00a7\u00ab\u00b6\u00b7\u00bb\u00bf\u060c\u061b\u061f\u066a-\u066d\u06d4\u0964\u0965"
    "\u1680\u2000-\u206f\u2e00-\u2e5d\u3000-\u3003\u3008-\u3011\u3014-\u301f\u3030\u30fb]+"
)


def bare(text: str, encoded: bytes) -> bytes:
    """Returns what is equal in near-duplicates: words in small letters with one space between them, as UTF-8.

    Compatibility forms (NFKC) are what they stand for. Digits stay, as texts may differ in nothing else that
    matters. A text without words stays as it is.

    Args:
        text: any.
        encoded: the same in UTF-8.
    """
    plain = encoded
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text).casefold()
        plain = _OTHER.sub(" ", text).encode()
    return b" ".join(plain.translate(_PLAIN).split()) or encoded
