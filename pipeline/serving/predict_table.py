"""Answers the texts of tables, in batches, with the columns that say which is which."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from rich.console import Console

from components import files
from components.errors import UserError
from components.export.session import SavedModelSession
from components.ingest.sources import USUAL, Dialect, Source
from components.strict import Task
from pipeline.serving.answer_file import Rows, answer_file, check_output
from pipeline.serving.pairs import column_of
from pipeline.serving.predict import SHOWN, answering, fill
from pipeline.serving.progress import counted
from pipeline.serving.texts import Text, read_texts
from pipeline.serving.undecodable import encoding_advice

_OWN = ("input", "error")


def predict_table(
    model: str,
    inputs: str,
    column: str | None = None,
    keep: Sequence[str] = (),
    output: str | None = None,
    batch_size: int = 64,
    signature: str = "serving_default",
    dialect: Dialect = USUAL,
    console: Console | None = None,
    show: Callable[[str], None] = print,
) -> None:
    """Answers every record of files.

    A record that cannot be answered has an `error`, the file and line of it with the reason, beside what can
    be read of its kept columns. Where there are no records, the answers are none, and that is no error.

    Args:
        model: a SavedModel's directory, or one that holds versions of it, of which the newest answers.
        inputs: a path, a glob or an address of files that ingest reads, or .txt with a text a line.
        column: of the texts: a name, or a position in files without a header line. Default: `text` of a
            classifier, `source` of a seq2seq model.
        keep: columns that are kept beside the answers, in this order; one given twice is kept once.
        output: a file whose name ends in .csv, .jsonl or .parquet; what is there is replaced once all is
            answered. None: a JSON object a line goes to `show`.
        batch_size: texts answered at once.
        signature: what is asked for; see `predict`.
        dialect: how the tables are written.
        console: where progress and a summary are printed; standard error by default.
        show: takes a line, where there is no output.

    Raises:
        UserError: if there is no such model or file, a column is missing, or there are records of which none
            could be answered.
    """
    console = console or Console(stderr=True)
    if output is not None:
        check_output(output)
    keep = list(dict.fromkeys(keep))
    own = (*_OWN, *SHOWN.get(signature, ()))
    if taken := [name for name in keep if name in own]:
        raise UserError(
            f"received --keep {taken[0]}, expected none of {', '.join(own)}: the answers have columns of "
            "these names. Rename the column in the file."
        )
    if output is not None and files.resolve(output) in files.find(inputs):
        raise UserError(f"received --output {output}, which is read; expected another file")
    with answering(model, signature) as session, _sink(output, keep, signature, show) as write:
        task: Task = "classification" if "classify" in session.signatures else "seq2seq"
        batches = read_texts(inputs, task, column_of(column), keep, batch_size, dialect)
        done = _answer(session, signature, batches, write, console, output)
    console.out(done, highlight=False)  # not before the file is there


def _answer(
    session: SavedModelSession,
    signature: str,
    batches: Iterator[list[Text]],
    write: Callable[[Rows], None],
    console: Console,
    output: str | None,
) -> str:
    """Answers all, and says so."""
    began, asked, unanswered, problem = time.monotonic(), 0, 0, ""
    undecodable: Source | None = None
    with counted(console, "records", beside_rows=output is None) as progress:
        for batch in batches:
            rows: list[dict[str, Any]] = [
                {**text.kept, "input": text.text} | ({"error": text.problem} if text.problem else {})
                for text in batch
            ]
            fill(session, signature, [row for row in rows if "error" not in row])
            for text, row in zip(batch, rows, strict=True):
                if "error" in row:
                    unanswered += 1
                    row["error"] = f"{text.place}: {row['error']}"
                    problem = problem or row["error"]
                    undecodable = undecodable or text.undecodable
            asked += len(rows)
            write(rows)
            progress(asked)
        advice = encoding_advice(undecodable)
        if asked and asked == unanswered:
            raise UserError(f"answered none of {asked:,} records; the first: {problem}{advice}")
    where = f", written to {output}" if output else ""
    if not asked:
        return f"no records{where}"
    failed = f"; {unanswered:,} could not be, the first: {problem}" if unanswered else ""
    return (
        f"answered {asked - unanswered:,} of {asked:,} records in {time.monotonic() - began:.1f} s{where}"
        f"{failed}{advice}"
    )


@contextlib.contextmanager
def _sink(
    output: str | None, keep: Sequence[str], signature: str, show: Callable[[str], None]
) -> Iterator[Callable[[Rows], None]]:
    """What takes the rows."""
    if output is None:

        def show_all(rows: Rows) -> None:
            for row in rows:
                show(json.dumps(row, ensure_ascii=False))

        yield show_all
        return
    with answer_file(output, (*keep, *_OWN), SHOWN[signature]) as file:
        yield file.write
