"""Answers lines of text from a SavedModel alone, without TensorFlow's Python and its start-up time."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from components.errors import UserError
from components.export.push import versions
from components.export.session import SavedModelError, SavedModelSession

_READ_BYTES = 1 << 16


def predict(model: str, lines: Iterable[bytes], batch_size: int = 64) -> Iterator[str]:
    """Answers lines in their order.

    Args:
        model: A SavedModel's directory, or one that holds versions of it, of which the newest answers.
        lines: UTF-8. Lines of a binary stream are answered as they come, without waiting for a full batch.
        batch_size: The most lines answered at once.

    Yields:
        For each line a JSON object with `input`, `prediction` and `score` (null if it is not finite), or with
        `input` and `error` for a line that is not UTF-8.

    Raises:
        UserError: If there is no such model, or it cannot answer.
    """
    directory = find_model(model)
    try:
        with SavedModelSession(directory) as session:
            outputs = sorted(session.signature().outputs)
            if not {"prediction", "score"} <= {*outputs}:
                raise UserError(
                    f"{directory} gives {outputs}; expected `prediction` and `score`, as in a model that "
                    "`rnnpipe run` exported."
                )
            for batch in _batches(lines, batch_size):
                yield from _answer(session, batch)
    except SavedModelError as error:
        raise UserError(f"{directory} cannot be served: {error}") from error


def find_model(model: str) -> Path:
    """The SavedModel's directory that MODEL means: itself, or its newest version.

    Raises:
        UserError: If there is none; the message says what is there.
    """
    directory = Path(model)
    if _is_model(directory):
        return directory
    found = versions(directory)
    if found:
        return found[max(found)]
    expected = "expected a SavedModel's directory or one with its versions, such as serving/<name>"
    if not directory.is_dir():
        raise UserError(f"{model} is {'a file' if directory.exists() else 'not there'}; {expected}.")
    inside = [path for path in sorted(directory.iterdir()) if _is_model(path) or versions(path)]
    if inside:
        raise UserError(f"{model} is no model; {expected}. Did you mean {inside[0]}?")
    names = ", ".join(sorted(path.name for path in directory.iterdir())[:10]) or "nothing"
    raise UserError(f"{model} holds {names}, and no saved_model.pb; {expected}.")


def _is_model(directory: Path) -> bool:
    return (directory / "saved_model.pb").is_file()


def _batches(lines: Iterable[bytes], size: int) -> Iterator[list[bytes]]:
    for ready in _ready(lines, size):
        for start in range(0, len(ready), size):
            yield ready[start : start + size]


def _ready(lines: Iterable[bytes], size: int) -> Iterator[list[bytes]]:
    """The lines that are there to be read, each time some are."""
    read = getattr(lines, "read1", None)  # of a binary stream; it returns what has come so far
    if read is None:
        iterator = iter(lines)
        while batch := list(itertools.islice(iterator, size)):
            yield batch
        return
    begun = b""
    while chunk := read(_READ_BYTES):
        *whole, begun = (begun + chunk).split(b"\n")
        if whole:
            yield whole
    if begun:
        yield [begun]


def _answer(session: SavedModelSession, lines: list[bytes]) -> Iterator[str]:
    rows = [_decoded(line.removesuffix(b"\n").removesuffix(b"\r")) for line in lines]
    good = [row for row in rows if "error" not in row]
    if good:
        answers = session.run([row["input"] for row in good])
        for row, prediction, score in zip(good, answers["prediction"], answers["score"], strict=True):
            row["prediction"] = prediction.decode(errors="replace")
            row["score"] = float(str(score)) if math.isfinite(score) else None  # the shortest float32
    return (json.dumps(row, ensure_ascii=False) for row in rows)


def _decoded(line: bytes) -> dict[str, Any]:
    try:
        return {"input": line.decode()}
    except UnicodeDecodeError as error:
        readable = line.decode(errors="backslashreplace")
        return {"input": readable, "error": f"not UTF-8: {error.reason} at byte {error.start + 1}"}
