"""The SQLite database of a local MLflow: whole, or not there.

MLflow creates its tables in many steps that are no transaction, and a process killed in between leaves a
database that MLflow can neither use nor complete. So it is created under another name, and linked once whole.
"""

from __future__ import annotations

import contextlib
import glob
import os
import sqlite3
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from components.addresses import sqlite_address
from components.errors import UserError

_NEW, _UNFINISHED = ".new-", ".unfinished-"  # between the database's name and a drawn one
_BESIDE = ("", "-journal", "-wal", "-shm")  # the files of a SQLite database
_QUIET = 5.0  # seconds in which somebody who creates the tables would have written something
_OF_USERS = {  # what is not recreated: by table, the condition
    "runs": "",
    "registered_models": "",
    "logged_models": "",
    "trace_info": "",
    "experiments": "WHERE name != 'Default'",
}
_creating = threading.Lock()  # Alembic knows one database at a time, and would mix up those of two threads


@contextlib.contextmanager
def ready(database: Path | None) -> Iterator[None]:
    """Creates the database if it is not there, or unfinished and empty; alone until the block is left.

    Args:
        database: its file, whose folder is created as well; with None nothing happens.

    Raises:
        UserError: if it is none that this MLflow can use, and holds runs or cannot be read.
    """
    if database is None:
        yield
        return
    from filelock import FileLock

    database.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{database}.lock", timeout=60):
        for left in database.parent.glob(f"{glob.escape(database.name)}{_NEW}*"):  # by a killed process
            left.unlink(missing_ok=True)
        while not (database.exists() and _usable(database)):
            _set_aside(database)
            _create(database)
        yield


def _create(database: Path) -> None:
    """Creates the database; if another program was quicker, that one stays."""
    # What `mlflow db upgrade` does with an empty database; a client would keep the file open under this name.
    from mlflow.store.db.utils import _initialize_tables, create_sqlalchemy_engine

    new = database.with_name(f"{database.name}{_NEW}{uuid.uuid4().hex[:8]}")
    engine = create_sqlalchemy_engine(sqlite_address(new))
    try:
        with _creating:
            _initialize_tables(engine)
        engine.dispose()  # SQLite has written everything to the disk
        with contextlib.suppress(FileExistsError):
            os.link(new, database)
    finally:
        engine.dispose()
        new.unlink(missing_ok=True)


def _usable(database: Path) -> bool:
    """Whether MLflow can use the database; it cannot use one that somebody began to create, and it is empty.

    Raises:
        UserError: if MLflow cannot use it and it is not empty, or it cannot be read.
    """
    from mlflow.store.db.utils import _get_latest_schema_revision

    expected = _get_latest_schema_revision()
    state, changed = None, time.monotonic()
    while True:
        try:
            revision, used = _look(database, expected)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):  # locked, or a disk that fails: not the content
                raise
            raise UserError(
                f"{database} cannot be read: {error}. Expected MLflow's SQLite database: move the file away, "
                "and the next run creates a new one; or change tracking.uri."
            ) from error
        if revision == expected:
            return True
        if used:
            raise UserError(
                f"{database} is not empty ({used}), but its tables are at revision {revision or 'none'}, and "
                f"this MLflow expects {expected}: another version of MLflow has created it, or an upgrade "
                f"was interrupted. Copy the file, then `mlflow db upgrade {sqlite_address(database)}`; if "
                "that fails, install the MLflow that created it, or move the file away, and the next run "
                "creates a new one."
            )
        # Somebody else, such as an MLflow server, may be creating it at this moment.
        before, state = state, _state(database)
        if state != before:
            changed = time.monotonic()
        elif time.monotonic() - changed >= _QUIET:
            return False
        time.sleep(_QUIET / 20)


def _look(database: Path, expected: str) -> tuple[str, str]:
    """The revision of the tables, empty if there is none; and what they hold unless it is as expected."""
    address = f"file:{quote(str(database))}?mode=rw"
    with contextlib.closing(sqlite3.connect(address, uri=True, timeout=20)) as connection:
        tables = {
            name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        }
        revision = ""
        if "alembic_version" in tables:
            rows = connection.execute("SELECT version_num FROM alembic_version").fetchall()
            revision = rows[0][0] if rows else ""
        if revision == expected:
            return revision, ""
        counts = {
            table: connection.execute(f"SELECT count(*) FROM {table} {condition}").fetchone()[0]
            for table, condition in _OF_USERS.items()
            if table in tables
        }
    used = ", ".join(f"{table.replace('_', ' ')}: {count}" for table, count in counts.items() if count)
    return revision, used


def _state(database: Path) -> list[tuple[int, int]]:
    """What changes whenever something is written to the database."""
    state = []
    for end in _BESIDE:
        with contextlib.suppress(FileNotFoundError):
            status = os.stat(f"{database}{end}")
            state.append((status.st_size, status.st_mtime_ns))
    return state


def _set_aside(database: Path) -> None:
    """Renames the database and what belongs to it: a journal left behind would be applied to the next one."""
    aside = f"{database}{_UNFINISHED}{uuid.uuid4().hex[:8]}"
    for end in reversed(_BESIDE):
        with contextlib.suppress(FileNotFoundError):
            os.rename(f"{database}{end}", f"{aside}{end}")
