"""Answers lines of text from a SavedModel alone, without TensorFlow's Python and its start-up time."""

from __future__ import annotations

import contextlib
import itertools
import json
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from upath import UPath

from components import files
from components.errors import UserError
from components.export.session import SavedModelError, SavedModelSession
from components.export.wire import example
from components.text import NOT_UTF8, first_line, without_end
from pipeline.serving.versions import GRAPH, local_copy, versions

_READ_BYTES = 1 << 16

# What a row shows of a signature's outputs.
SHOWN = {
    "serving_default": ("prediction", "score"),
    "classify": ("classes", "scores"),
    "n_best": ("predictions", "scores", "finished"),
    "explain": ("prediction", "score", "source_tokens", "target_tokens", "attention"),
}

_WHOSE = {
    "serving_default": "all models",
    "classify": "classifiers",
    "n_best": "seq2seq models",
    "explain": "seq2seq models with attention over the tokens",
}


def predict(
    model: str, lines: Iterable[bytes], batch_size: int = 64, signature: str = "serving_default"
) -> Iterator[str]:
    """Answers lines in their order.

    Args:
        model: A SavedModel's directory, or one that holds versions of it, of which the newest answers.
        lines: UTF-8. Lines of a binary stream are answered as they come, without waiting for a full batch.
        batch_size: The most lines answered at once.
        signature: `serving_default`; of a classifier also `classify`; of a seq2seq model `n_best`, `explain`.

    Yields:
        For each line a JSON object with `input` and the signature's outputs without their padding:
        `prediction` and `score` (null if it is not finite); of `classify`: `classes` and their `scores`; of
        `n_best`: `predictions`, `scores` and `finished`; of `explain` also `source_tokens`, `target_tokens`
        and `attention`, a list of weights for each token of the answer. A line that is not UTF-8, that
        is empty or white space alone, or that the model cannot answer, has `input` and `error`.

    Raises:
        UserError: If there is no such model, it cannot answer any line, or the signature does not take texts
            alone.
    """
    with answering(model, signature) as session:
        asked, answered, problem = 0, 0, ""
        for batch in line_batches(lines, batch_size):
            rows = [_decoded(without_end(line)) for line in batch]
            fill(session, signature, [row for row in rows if "error" not in row])
            asked += len(rows)
            answered += sum("error" not in row for row in rows)
            problem = next((row["error"] for row in rows if "error" in row), problem)
            yield from (json.dumps(row, ensure_ascii=False) for row in rows)
        if asked and not answered:
            raise UserError(f"{model} answered none of {asked} lines; {problem}")


@contextlib.contextmanager
def answering(model: str, signature: str) -> Iterator[SavedModelSession]:
    """Opens a model that can be asked by a signature.

    Args:
        model: a SavedModel's directory, or one that holds versions of it.
        signature: which one.

    Raises:
        UserError: if there is no such model, it cannot be served, or it does not have the signature.
    """
    if signature == "score":
        raise UserError(
            "received --signature score, which takes a target beside each text, expected one that takes "
            f"texts alone: {', '.join(SHOWN)}. Give both to `rnnpipe score MODEL FILES`."
        )
    directory = find_model(model)
    try:
        with SavedModelSession(directory) as session:
            if signature not in session.signatures:
                raise UserError(
                    f"{directory} has the signatures {', '.join(session.signatures)}; expected {signature}, "
                    f"which {_WHOSE[signature]} have."
                )
            outputs = sorted(session.signature(signature).outputs)
            if not {*SHOWN[signature]} <= {*outputs}:
                expected = ", ".join(f"`{name}`" for name in SHOWN[signature])
                raise UserError(
                    f"{directory} gives {outputs}; expected {expected}, as in a model that `rnnpipe run` "
                    "exported."
                )
            yield session
    except SavedModelError as error:
        raise UserError(f"{directory} cannot be served: {error}") from error


def find_model(model: str) -> Path:
    """The SavedModel's directory that MODEL means: itself, or its newest version.

    What is remote is copied to this machine once.

    Raises:
        UserError: If there is none, or it is damaged; the message says what is there.
    """
    place = files.resolve(model)
    if _is_model(place):
        return local_copy(place)
    existing = versions(place)
    if existing:
        newest = existing[max(existing)]
        return local_copy(newest)
    expected = "expected a SavedModel's directory or one with its versions, such as serving/<name>"
    there = files.names(place)
    if not there and not (files.is_local(place) and files.local(place).is_dir()):
        raise UserError(f"{model} is {'a file' if files.exists(place) else 'not there'}; {expected}.")
    inside = [name for name in there if _is_model(place / name) or versions(place / name)]
    if inside:
        raise UserError(f"{model} is no model; {expected}. Did you mean {model.rstrip('/')}/{inside[0]}?")
    names = ", ".join(there[:10]) or "nothing"
    raise UserError(f"{model} holds {names}, and no saved_model.pb; {expected}.")


def _is_model(place: UPath) -> bool:
    return files.exists(place / GRAPH)


def line_batches(lines: Iterable[bytes], size: int) -> Iterator[list[bytes]]:
    """Returns lines in batches of at most `size`, without a byte order mark.

    Those of a binary stream are returned as they come.
    """
    begun = False
    for ready in _ready(lines, size):
        if not begun:
            ready[0], begun = first_line(ready[0]), True
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


def fill(session: SavedModelSession, signature: str, rows: list[dict[str, Any]]) -> None:
    """Adds the answers to rows; where there is none to all together, each is asked alone.

    Args:
        session: of the model.
        signature: by which it is asked.
        rows: with `input`, the text; each gets what SHOWN names, or `error`.
    """
    if not rows:
        return
    texts = [row["input"] for row in rows]
    asked = [example(text) for text in texts] if signature == "classify" else texts
    try:
        answers = session.run(asked, signature)
    except SavedModelError as error:
        if len(rows) == 1:
            rows[0]["error"] = f"no answer: {error}"
        else:
            for row in rows:
                fill(session, signature, [row])
        return
    for index, row in enumerate(rows):
        shown = _unpadded({name: answers[name][index] for name in SHOWN[signature]})
        row.update({name: plain(value) for name, value in shown.items()})


def _unpadded(answer: dict[str, Any]) -> dict[str, Any]:
    """What a signature gives to one text, without what stands behind its last answer or token."""
    if "finished" in answer:
        reached = answer["scores"] > -math.inf
        return {name: values[reached] for name, values in answer.items()}
    if "attention" in answer:
        sources, targets = answer["source_tokens"] != b"", answer["target_tokens"] != b""
        tokens = {"source_tokens": answer["source_tokens"][sources]}
        tokens["target_tokens"] = answer["target_tokens"][targets]
        return {**answer, **tokens, "attention": answer["attention"][targets][:, sources]}
    return answer


def plain(value: Any) -> Any:
    """As JSON has it: text, a number or nothing for one that is not finite, or lists of them."""
    if isinstance(value, np.ndarray):
        return [plain(item) for item in value]
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, np.bool_ | np.integer):
        return value.item()
    return float(str(value)) if math.isfinite(value) else None  # the shortest float32


def _decoded(line: bytes) -> dict[str, Any]:
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        readable = line.decode(errors="backslashreplace")
        return {"input": readable, "error": f"{NOT_UTF8}: {error.reason} at byte {error.start + 1}"}
    # No model has been trained on nothing: its answer would be made up. Files are answered likewise.
    return {"input": text} if text.strip() else {"input": text, "error": "empty text"}
