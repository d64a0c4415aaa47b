"""What is written down is written without passwords: in records, pages, messages and MLflow."""

from __future__ import annotations

import re
from typing import Any

# An address in a text ends where white space begins.
_ADDRESS = re.compile(r"([A-Za-z][\w.+-]*://)(\S+)")
# What stands between :// and a host: a user alone, or a user, a colon and whatever a password may hold.
_USER = re.compile(r"[^\s/@:]*:\S*@|[^\s/@]+@")
_SECRET = re.compile(
    r"([?&;][\w.-]*(?:pass(?:wd|word|phrase)?|pwd|token|secret|credentials?|signature|api[_-]?key"
    r"|access[_-]?key|private[_-]?key)=)[^&\s]*",
    re.IGNORECASE,
)


def without_password(text: str) -> str:
    """Returns a text without user, password and secret parameters of the addresses in it.

    A password may hold / and @ as they are. Where it is not clear what belongs to it, more is left out.

    Args:
        text: an address, or any text with addresses in it.
    """
    return _ADDRESS.sub(lambda match: match[1] + _cleaned(match[2]), text)


def redacted(value: Any) -> Any:
    """Returns data as JSON has it, with every text in it without passwords."""
    if isinstance(value, str):
        return without_password(value)
    if isinstance(value, dict):
        return {
            without_password(key) if isinstance(key, str) else key: redacted(item)
            for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [redacted(item) for item in value]
    return value


def _cleaned(address: str) -> str:
    user, secret = _USER.match(address), _SECRET.search(address)
    if user and secret and secret.start() < user.end():
        return "***"  # an @ in a parameter, or a ? in a password
    return _SECRET.sub(r"\1***", address[user.end() :] if user else address)
