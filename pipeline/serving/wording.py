"""Words what is for a run's configuration, ingest's advice and settings, for the options of a command."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping

from pydantic import ValidationError

from components.errors import UserError
from components.ingest.config import IngestConfig
from components.ingest.encodings import is_utf8
from components.strict import FIELDS, Task


@contextlib.contextmanager
def as_options(columns: Mapping[str, str], keep: str = "") -> Iterator[None]:
    """Raises the errors of the block in the words of the command line.

    Args:
        columns: by field, the option that names its column.
        keep: the option that names columns that are kept.

    Raises:
        UserError: instead of ingest's and pydantic's.
    """
    try:
        yield
    except ValidationError as error:
        first = error.errors()[0]
        message = str(first["msg"]).removeprefix("Value error, ")
        where = f"--{first['loc'][0]}: " if first["loc"] else ""
        raise UserError(f"{where}{in_options(message, columns, keep)}") from error
    except UserError as error:
        raise UserError(in_options(str(error), columns, keep)) from error


def in_options(message: str, columns: Mapping[str, str], keep: str = "") -> str:
    """Returns a message of ingest's in the words of the command line; see `as_options`."""
    positions = " ".join(f"{option} {position}" for position, option in enumerate(columns.values()))
    message = re.sub(
        r"give positions\. Under `ingest`, set `columns: {.*?}`", f"give positions: {positions}", message
    )
    for field, option in columns.items():
        setting = rf"Under `ingest`, set `columns: {{{field}: ([^,]*?)}}`"
        message = re.sub(setting, rf"Give {option} \1", message)
    name = r'(?:"(?:[^"\\]|\\.)*"|[^,"]*?)'
    message = re.sub(rf"Under `ingest`, set `keep: {{{name}: ({name})}}`", rf"Give {keep} \1", message)
    named = " and ".join([*columns.values(), *filter(None, [keep])])
    message = message.replace("`ingest.columns` or `ingest.keep` received", f"{named} received")
    for pattern, words in _WORDS:
        message = re.sub(pattern, words, message)
    return message


def file_options(ingest: IngestConfig, task: Task) -> list[str]:
    """Returns what `rnnpipe predict --input` needs for files that are written as those of a run.

    Args:
        ingest: how a run reads its files.
        task: decides what the column of the texts is called by default.
    """
    field = FIELDS[task][0]
    column = str(ingest.columns.get(field, field))
    options = [] if column == field else ["--column", column]
    if ingest.delimiter is not None:
        options += ["--delimiter", ingest.delimiter.replace("\t", r"\t")]
    if ingest.quoting is not None:
        options.append("--quoting" if ingest.quoting else "--no-quoting")
    if not is_utf8(ingest.encoding):
        options += ["--encoding", ingest.encoding]
    return options


_WORDS = (
    (r"\Aingest: ", ""),
    (r"`files\.train`: ", ""),
    (r" \(`files\.train`\)", ""),
    (r"\(`files\.train`; ", "("),
    (r"Under `ingest`, set `(delimiter|encoding): (.*?)`", r"Give --\1 \2"),
    (r"Under `ingest`, set `quoting: true`", "Give --quoting"),
    (r"Under `ingest`, set `quoting: false`", "Give --no-quoting"),
    (r"`ingest\.(delimiter|encoding|quoting)`", r"--\1"),
    (r", or correct `ingest\.\w+`", ""),
    (r" of the format its name or `ingest\.format` says", " of the format its name says"),
    (r"Rename it or set `ingest\.format`", "Rename it"),
)
