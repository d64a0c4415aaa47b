"""Where paths become addresses and addresses paths: what is a character here is a sign there."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from urllib.parse import quote, unquote
from urllib.request import url2pathname

_SIGNS = "%?"  # in an address of SQLAlchemy, at the path of a SQLite file


def file_address(path: Path) -> str:
    """The file:// address of an absolute path."""
    return path.as_uri()


def file_path(address: str) -> Path | None:
    """The path that an address such as file:///x or file:/x means; None for one of another kind."""
    scheme, separator, path = address.partition(":")
    if scheme != "file" or not separator:
        return None
    return Path(url2pathname(path.removeprefix("//localhost").removeprefix("//")))


def sqlite_address(path: Path) -> str:
    """The address of a SQLite file, as SQLAlchemy and MLflow read it."""
    text = str(path)
    if not any(sign in text for sign in _SIGNS) or not _unquotes():
        return f"sqlite:///{text}"
    # With its driver's name: behind sqlite:/// MLflow makes the folder of the path without unquoting it.
    return f"sqlite+pysqlite:///{''.join(quote(sign) if sign in _SIGNS else sign for sign in text)}"


def sqlite_path(address: str) -> Path | None:
    """The absolute path of the file behind a SQLite address; None for an address of another kind.

    A relative one starts in the working directory of this moment, `~` at home.
    """
    scheme, separator, path = address.partition(":///")
    if not separator or not scheme.startswith("sqlite"):
        return None
    text = path.partition("?")[0]
    return Path(unquote(text) if "%" in text and _unquotes() else text).expanduser().absolute()


@cache
def _unquotes() -> bool:
    """Whether SQLAlchemy unquotes the path; it does from 2.1 on."""
    from sqlalchemy import make_url

    return make_url("sqlite:///%25").database == "%"
