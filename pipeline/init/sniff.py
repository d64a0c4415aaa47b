"""The layout of files: format, delimiter, quotes and header line.

clevercsv says what is between the cells; ingest's own reader says whether the file can be read so.
"""

from __future__ import annotations

import contextlib
import itertools
import json
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from clevercsv import Detector
from clevercsv.exceptions import Error as CleverCsvError
from upath import UPath

from components.errors import UserError
from components.ingest.advice import shorten
from components.ingest.config import Format
from components.ingest.files import open_file
from components.ingest.lines import read_lines
from components.ingest.rows import SEPARATOR, Rows
from components.ingest.sources import Dialect, Source, named_format
from components.text import without_end
from pipeline.init.excerpt import is_parquet
from pipeline.init.header import has_header

_DELIMITERS = (",", ";", "\t", "|")
USUAL: dict[Format, str] = {"csv": ",", "tsv": "\t"}
"""The delimiters of formats."""
_SAMPLE = 32_000  # characters that clevercsv looks at; its time grows faster than their number
_ROWS = 2_000  # that are read to find out whether a dialect fits
_FITS = 0.98  # of the lines, for a file whose name does not say that it is a table
_QUOTED = 20  # cells in quotes that are more than chance


@dataclass(frozen=True)
class Layout:
    """How files are to be read.

    Args:
        format: how a file is read.
        by_name: whether ingest tells the format by the file's name.
        encoding: of the text.
        delimiter: between cells; None for the format's usual one.
        quoting: whether cells may stand in quotes; None for what is usual for the format.
        columns: the names of the columns; None where there is no header line.
    """

    format: Format
    by_name: bool
    encoding: str
    delimiter: str | None = None
    quoting: bool | None = None
    columns: tuple[str, ...] | None = None

    @property
    def dialect(self) -> Dialect:
        """As ingest's readers take it."""
        return Dialect(self.delimiter, self.quoting, self.encoding)

    @property
    def quoted(self) -> bool:
        """Whether cells may stand in quotes."""
        return self.format == "csv" if self.quoting is None else self.quoting

    def settings(self) -> dict[str, Any]:
        """Returns the keys of `ingest` to read such files by, without those that are the default."""
        given = {
            "format": None if self.by_name or self.format == "text" else self.format,
            "encoding": None if self.encoding == "utf-8" else self.encoding,
            "delimiter": self.delimiter,
            "quoting": self.quoting,
        }
        return {key: value for key, value in given.items() if value is not None}

    def source(self, place: UPath, name: str) -> Source:
        """Returns a file of this layout as ingest's readers take it."""
        return Source(0, "train", self.format, {"text": place}, {"text": name}, self.dialect)


def find_layout(
    place: UPath, name: str, encoding: str, wanted: Collection[str] = (), delimiter: str | None = None
) -> Layout:
    """Finds out how a file is to be read.

    Args:
        place: of the file, or of an excerpt of it.
        name: what people call the file, whose ending may say its format.
        encoding: of it, unless it is Parquet.
        wanted: columns that there must be: a first row that has one of them is a header line.
        delimiter: between the cells, if it is known; then it is a table.

    Raises:
        UserError: it cannot be read in any way that ingest has, or is no table although a delimiter is given.
    """
    named = named_format(name)
    form = named or _format_by_content(place, name, encoding)
    if delimiter is not None and form in ("parquet", "jsonl"):
        raise UserError(
            f"init: received --delimiter, which is for csv, tsv, but {name} is {form}. Remove it."
        )
    if form == "parquet":
        from pyarrow import parquet

        with open_file(place, name) as file:
            schema = parquet.ParquetFile(file).schema_arrow
        return Layout("parquet", named is not None, "utf-8", columns=tuple(schema.names))
    if form == "jsonl":
        layout = Layout("jsonl", named is not None, encoding)
        return replace(layout, columns=_keys(layout.source(place, name)))
    return _table(place, name, encoding, form, wanted, delimiter)


def _guess(sample: str) -> Any:
    """What clevercsv takes for the dialect; None where it gives up."""
    with contextlib.suppress(CleverCsvError):
        return Detector().detect(sample, delimiters=list(_DELIMITERS))
    return None


class _Fit(NamedTuple):
    """How well a table is read so: the part of its lines in rows of equally many cells, and that number."""

    share: float
    width: int


def _table(
    place: UPath,
    name: str,
    encoding: str,
    form: Format | None,
    wanted: Collection[str],
    given: str | None,
) -> Layout:
    """The layout of a table with delimiters; plain text where it is none and its name says nothing."""
    lines = read_lines(Layout("text", True, encoding).source(place, name))
    first = next(lines, b"")
    stated = SEPARATOR.fullmatch(without_end(first))
    sample = _text(lines if stated else itertools.chain([first], lines))
    if given:
        delimiters = [given]
    elif stated:
        delimiters = [stated[1].decode(errors="replace")]
    else:
        guess = _guess(sample)
        delimiters = [guess.delimiter if guess else "", USUAL[form or "csv"]]
    best: tuple[_Fit, Layout] | None = None
    for delimiter in dict.fromkeys(filter(None, delimiters)):
        kind: Format = form or ("tsv" if delimiter == "\t" else "csv")
        own = None if delimiter == USUAL[kind] else delimiter
        plain = Layout(kind, form is not None, encoding, own)
        by_quoting = {
            quoting: _fit(replace(plain, quoting=quoting), place, name) for quoting in (True, False)
        }
        quoted = _is_quoted(by_quoting, kind, sample, delimiter)
        layout = replace(plain, quoting=None if quoted == (kind == "csv") else quoted)
        fit = by_quoting[quoted]
        if best is None or (fit.width > 1, fit.share) > (best[0].width > 1, best[0].share):
            best = fit, layout
    if form is None and not given and (best is None or best[0].width < 2 or best[0].share < _FITS):
        return Layout("text", True, encoding)
    assert best is not None
    layout = best[1]
    rows = [row.cells for row in itertools.islice(Rows(layout.source(place, name)), _ROWS) if not row.reason]
    if not rows:
        raise UserError(
            f"init: {name} has no row that can be read, expected a header line and records below it."
        )
    is_header = not {*wanted}.isdisjoint(rows[0]) or has_header(rows, sample)
    return replace(layout, columns=tuple(rows[0]) if is_header else None)


def _fit(layout: Layout, place: UPath, name: str) -> _Fit:
    widths: Counter[int] = Counter()
    for row in itertools.islice(Rows(layout.source(place, name)), _ROWS):
        widths[0 if row.reason else len(row.cells)] += max(1, row.raw.count(b"\n"))
    bad = widths.pop(0, 0)
    width, lines = max(widths.items(), key=lambda item: item[1], default=(0, 0))
    return _Fit(lines / max(1, lines + bad + sum(n for w, n in widths.items() if w != width)), width)


def _is_quoted(fits: dict[bool, _Fit], kind: Format, sample: str, delimiter: str) -> bool:
    """Whether quotes have a meaning: as usual for the format, unless the other way reads more of the file."""
    usual = kind == "csv"
    ours, others = fits[usual], fits[not usual]
    if (others.width > 1, others.share) > (ours.width > 1, ours.share + 0.005):
        return not usual
    if not usual and others.share >= ours.share:  # every cell that begins with a quote ends with one
        cells = [cell for line in sample.splitlines() for cell in line.split(delimiter) if cell[:1] == '"']
        whole = [cell for cell in cells if len(cell) > 1 and cell[-1] == '"']
        enough = len(cells) > min(_QUOTED, sample.count("\n") // 2)
        return enough and len(whole) == len(cells)
    return usual


def _format_by_content(place: UPath, name: str, encoding: str) -> Format | None:
    if is_parquet(place, name):
        return "parquet"
    for line in itertools.islice(read_lines(Layout("text", True, encoding).source(place, name)), 50):
        text = line.strip()
        if text.startswith(b"[") and name.removesuffix(".gz").endswith(".json"):
            raise UserError(
                f"init: {name} is one JSON array, expected JSON lines, an object on every line. Convert it: "
                f"jq -c '.[]' {name} > {name.removesuffix('.gz').removesuffix('.json')}.jsonl"
            )
        if text:
            return "jsonl" if isinstance(_json(text), dict) else None
    return None


def _keys(source: Source) -> tuple[str, ...]:
    """The keys of the first objects, in their order."""
    keys: dict[str, None] = {}
    for line in itertools.islice(read_lines(source), _ROWS):
        if isinstance(value := _json(line), dict):
            keys |= dict.fromkeys(value)
    if not keys:
        first = shorten(next(read_lines(source), b"").decode(errors="replace"))
        raise UserError(
            f"init: {source.name()}: received {first!r}, expected JSON lines, an object such as "
            f'{{"text": "...", "label": "..."}} on every line.'
        )
    return tuple(keys)


def _json(line: bytes) -> object:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _text(lines: Iterator[bytes]) -> str:
    """The first lines as text."""
    taken: list[str] = []
    size = 0
    for line in lines:
        text = line.decode(errors="replace")
        if size and size + len(text) > _SAMPLE:
            break
        taken.append(text[:_SAMPLE])
        size += len(text)
    return "".join(taken).replace("\0", "")  # of which clevercsv says that no table has any


def describe(layout: Layout) -> str:
    """Returns in words how files are read."""
    if layout.format in ("parquet", "jsonl", "text"):
        return {"parquet": "Parquet", "jsonl": "JSON lines", "text": "plain text, a record a line"}[
            layout.format
        ]
    return (
        f"a table with {in_words(layout)} between the cells"
        f"{', which may stand in quotes' if layout.quoted else ''}; "
        f"{'a header line' if layout.columns else 'no header line: columns have positions, from 0'}"
    )


def in_words(layout: Layout) -> str:
    """Returns what the delimiters of a table are called."""
    names = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars", " ": "spaces"}
    delimiter = layout.delimiter or USUAL[layout.format]
    return names.get(delimiter, repr(delimiter))
