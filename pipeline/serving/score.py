"""Tells how probable a served model finds given targets, from the SavedModel alone."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from components.errors import UserError
from components.export.session import SavedModelError, SavedModelSession
from components.ingest.sources import USUAL, Dialect, Source
from components.strict import Task
from pipeline.serving.pairs import STANDARD_INPUT, Pair, column_of, read_lines, read_tables
from pipeline.serving.predict import find_model, plain
from pipeline.serving.progress import counted
from pipeline.serving.undecodable import encoding_advice

_SIGNATURE = "score"

# What a row shows of the signature's outputs.
_SHOWN: dict[Task, tuple[str, ...]] = {
    "classification": ("probability", "log_probability", "known"),
    "seq2seq": ("log_probability", "score", "tokens", "known"),
}


@dataclass
class _Totals:
    """What was scored so far.

    Args:
        read: records, the bad ones included.
        scored: those that have figures.
        problem: the first that was met.
        undecodable: a source with records that are not in the encoding in which it is read.
        finite: scored records whose log probability is finite.
        log_probability: the sum over these.
        tokens: of these, the end tokens included.
        unknown: scored records with a label or token that the model does not have.
    """

    read: int = 0
    scored: int = 0
    problem: str = ""
    undecodable: Source | None = None
    finite: int = 0
    log_probability: float = 0.0
    tokens: int = 0
    unknown: int = 0

    def add(self, row: dict[str, Any]) -> None:
        """Counts a scored record."""
        self.scored += 1
        self.unknown += not row["known"]
        if row["log_probability"] is not None:
            self.finite += 1
            self.log_probability += row["log_probability"]
            self.tokens += row.get("tokens", 0)

    def summary(self, task: Task) -> str:
        """One line for people."""
        if not self.read:
            return "no records"
        parts = [f"{self.scored} of {self.read} records scored"]
        if self.finite:
            parts.append(f"mean log probability {self.log_probability / self.finite:.6g}")
        if self.tokens:
            surprise = -self.log_probability / self.tokens
            perplexity = math.exp(surprise) if surprise < 700 else math.inf
            parts.append(f"perplexity per token {perplexity:.6g}")
        if self.unknown:
            what = "label, left out of the mean" if task == "classification" else "token"
            parts.append(f"{self.unknown} with an unknown {what}")
        return ", ".join(parts)


def score(
    model: str,
    tables: Sequence[str],
    lines: Iterable[bytes],
    text: str | None = None,
    target: str | None = None,
    batch_size: int = 64,
    console: Console | None = None,
    dialect: Dialect = USUAL,
) -> Iterator[str]:
    """Scores the targets of records in their order.

    Args:
        model: a SavedModel's directory, or one that holds versions of it, of which the newest answers.
        tables: paths, globs or addresses of files that ingest reads; `-` is standard input, as is none.
        lines: of standard input, each a text, a tab and its target.
        text: the column of the texts in the tables: a name, or a position in files without a header line.
            Default: `source`, or `text` for a classifier.
        target: the column of the targets, likewise. Default: `target`, or `label` for a classifier.
        batch_size: the most records scored at once.
        console: where bad records, progress and a summary are printed; standard error by default.
        dialect: how the tables are written.

    Yields:
        For each record that could be scored a JSON object with `input` and `target`; of a classifier
        `probability`, `log_probability` and `known`, of a seq2seq model `log_probability`, `score`, `tokens`
        and `known`; see `Predictor.score`. What is not finite is null.

    Raises:
        UserError: if there is no such model, it cannot score, a file cannot be read, or there are records of
            which none could be scored.
    """
    console = console or Console(stderr=True)
    columns = column_of(text), column_of(target)
    if (columns != (None, None) or dialect != USUAL) and set(tables) <= {STANDARD_INPUT}:
        raise UserError(
            "received --text, --target or how a table is written, expected a file to which that applies; "
            "lines of standard input are a text, a tab and its target, in UTF-8. Name a file, or leave them "
            "out."
        )
    directory = find_model(model)
    totals = _Totals()
    try:
        with (
            SavedModelSession(directory) as session,
            counted(console, "records", beside_rows=True) as progress,
        ):
            task = _task_of(session, directory)
            inputs = [
                read_lines(lines, task, batch_size)
                if name == STANDARD_INPUT
                else read_tables(name, task, *columns, batch_size, dialect)
                for name in tables or [STANDARD_INPUT]
            ]
            for batch in itertools.chain.from_iterable(inputs):
                for row in _score(session, task, batch, totals, console):
                    totals.add(row)
                    yield json.dumps(row, ensure_ascii=False)
                progress(totals.read)
    except SavedModelError as error:
        raise UserError(f"{directory} cannot be served: {error}") from error
    advice = encoding_advice(totals.undecodable)
    if totals.read and not totals.scored:
        raise UserError(f"scored none of {totals.read} records; the first: {totals.problem}{advice}")
    console.out(f"{totals.summary(task)}{advice}", highlight=False)


def _task_of(session: SavedModelSession, directory: Path) -> Task:
    if _SIGNATURE not in session.signatures:
        raise UserError(
            f"{directory} has the signatures {', '.join(session.signatures)}, expected {_SIGNATURE}: it was "
            "exported by an earlier rnnpipe. Run the pipeline again, which exports and pushes it with that."
        )
    signature = session.signature(_SIGNATURE)
    for task, shown in _SHOWN.items():
        if set(signature.inputs) == {"text", "target"} and {*shown} <= {*signature.outputs}:
            return task
    raise UserError(
        f"{directory} has a signature {_SIGNATURE} that takes {sorted(signature.inputs)} and gives "
        f"{sorted(signature.outputs)}; expected one as in a model that `rnnpipe run` exported."
    )


def _score(
    session: SavedModelSession, task: Task, batch: list[Pair], totals: _Totals, console: Console
) -> Iterator[dict[str, Any]]:
    """Yields a row for each record that can be scored, and tells why the others cannot."""
    good = [pair for pair in batch if not pair.problem]
    answered = iter(_answers(session, task, good))
    for pair in batch:
        totals.read += 1
        outcome = pair.problem or next(answered)
        if isinstance(outcome, str):
            problem = f"{pair.place}: {outcome}"
            totals.problem = totals.problem or problem
            totals.undecodable = totals.undecodable or pair.undecodable
            console.out(f"skipped {problem}", highlight=False)
        else:
            yield {"input": pair.text, "target": pair.target, **outcome}


def _answers(session: SavedModelSession, task: Task, pairs: list[Pair]) -> list[dict[str, Any] | str]:
    """The figures of each pair, or why there are none; where a batch fails, each is asked alone."""
    if not pairs:
        return []
    inputs = {"text": [pair.text for pair in pairs], "target": [pair.target for pair in pairs]}
    try:
        outputs = session.run(inputs, _SIGNATURE)
    except SavedModelError as error:
        if len(pairs) == 1:
            return [f"no answer: {error}"]
        return [answer for pair in pairs for answer in _answers(session, task, [pair])]
    return [{name: plain(outputs[name][index]) for name in _SHOWN[task]} for index in range(len(pairs))]
