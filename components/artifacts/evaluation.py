"""The evaluate stage's artifact: answers, and what was measured of them."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from upath import UPath

from components.artifacts.artifact import Artifact, FileRef, local_file
from components.work import Attempt

if TYPE_CHECKING:
    from components.evaluate.answers import Answers
    from components.evaluate.measured import Measured

_PREDICTIONS = "predictions.jsonl"
_COLUMNS = "columns.jsonl"
_CALIBRATION = "calibration.json"
_REPORT = "metrics.json"
_RESAMPLED = "resampled.npy"
_WORST = "worst.jsonl"
_PLOTS = "plots/"
_ASKED = 200  # of so many answers one is chosen to try the model with


class Evaluation(Artifact):
    """Predictions in the order of the data, metrics with their resamples, the worst answers and plots.

    What shapes no answer, such as the columns that the examples are sliced by, is in other files than the
    predictions: who only reads those does not mind.
    """

    stage = "evaluate"
    parts: ClassVar = {
        "predictions": (_PREDICTIONS, _CALIBRATION),
        "figures": (_REPORT, _RESAMPLED, _WORST, _COLUMNS),
        "plots": (_PLOTS,),
    }
    published = (_REPORT, _PREDICTIONS, _CALIBRATION, _COLUMNS, _WORST)

    def report(self) -> dict[str, Any]:
        """Returns the metrics with their intervals, all in all and by slice, and the split they are of."""
        report: dict[str, Any] = self.json(_REPORT)
        return report

    def measured(self) -> Measured:
        """Returns the report and the metrics in each resample."""
        import numpy as np

        from components.evaluate.measured import together

        return together(self.report(), np.load(self.file(_RESAMPLED), allow_pickle=False))

    @property
    def temperature(self) -> float:
        """What the logits were divided by for these answers; 1 where nothing was calibrated."""
        return float(self.json(_CALIBRATION)["temperature"]) if self.has(_CALIBRATION) else 1.0

    def predictions(self) -> Iterator[dict[str, Any]]:
        """Yields each example: input, target, prediction, score, correct, and `columns` where it has any."""
        columns = _rows(self.file(_COLUMNS)) if self.has(_COLUMNS) else None
        for row in _rows(self.file(_PREDICTIONS)):
            yield row if columns is None else {**row, "columns": next(columns)}

    def predictions_file(self) -> Path:
        """Returns the predictions on this machine, one JSON object a line, without `columns`."""
        return self.file(_PREDICTIONS)

    def worst(self) -> Iterator[dict[str, Any]]:
        """Yields the worst answers, the worst one first, with `example` (from 1) and `badness`."""
        return _rows(self.file(_WORST))

    def plots(self) -> list[tuple[str, Path]]:
        """Returns the name of each plot, such as `by_length.png`, and the file on this machine."""
        return [(name.removeprefix(_PLOTS), self.file(name)) for name in self.names(_PLOTS)]

    def example_question(self) -> str | None:
        """Returns a rightly answered input to try the model with, preferably a short one."""
        rows = list(itertools.islice(_rows(self.file(_PREDICTIONS)), _ASKED))
        right = [row["input"] for row in rows if row["correct"]] or [row["input"] for row in rows]
        return min(right, key=len, default=None)


class AnswerWriter:
    """Writes the answers of a part of the split; `join_answers` makes files of all parts.

    Args:
        attempt: whose files they are.
        index: the place of the part among the others.
        columns: whether the answers have columns.
    """

    def __init__(self, attempt: Attempt, index: int, columns: bool = False) -> None:
        self._attempt = attempt
        self._names = [_part_name(name, index) for name in ((_PREDICTIONS, _COLUMNS)[: 1 + columns])]
        self._files = [attempt.path(name).open("w", encoding="utf-8", newline="\n") for name in self._names]

    def write(self, answers: Answers) -> None:
        """Adds answers."""
        rows = (answers.rows(), answers.column_rows())
        for file, values in zip(self._files, rows, strict=False):
            file.writelines(map(_line, values))

    def close(self) -> list[FileRef]:
        """Finishes the files."""
        for file in self._files:
            file.close()
        return [self._attempt.add(name) for name in self._names]


def join_answers(attempt: Attempt, root: UPath, parts: Iterable[FileRef]) -> list[FileRef]:
    """Joins what was written of each part of the split, in their order.

    Args:
        attempt: whose files are made.
        root: under which the parts are.
        parts: as `AnswerWriter` gives them, in any order.
    """
    by_file: dict[str, list[FileRef]] = {}
    for part in sorted(parts, key=lambda part: (len(part.name), part.name)):
        stem, _, suffix = part.name.rpartition(".")
        by_file.setdefault(f"{stem.rpartition('-')[0]}.{suffix}", []).append(part)
    for name, ordered in by_file.items():
        with attempt.path(name).open("wb") as joined:
            for part in ordered:
                with local_file(root, part).open("rb") as file:
                    shutil.copyfileobj(file, joined)
    return [attempt.add(name) for name in by_file]


def write_figures(
    attempt: Attempt, split: str, report: Mapping[str, Any], worst: Iterable[Mapping[str, Any]] = ()
) -> list[FileRef]:
    """Writes what was measured, and the worst answers.

    Args:
        attempt: whose files they are.
        split: what was measured on.
        report: as MeasureSlices makes it.
        worst: the answers to look at first.
    """
    import numpy as np

    from components.evaluate.measured import apart

    kept, resampled = apart(report)
    np.save(attempt.path(_RESAMPLED), resampled, allow_pickle=False)
    text = json.dumps({"split": split, **kept}, ensure_ascii=False, indent=1)
    return [
        attempt.put(_REPORT, text.encode()),
        attempt.add(_RESAMPLED),
        attempt.put(_WORST, "".join(map(_line, worst)).encode()),
    ]


def write_calibration(attempt: Attempt, calibration: Mapping[str, Any]) -> FileRef:
    """Writes how the answers were calibrated.

    Args:
        attempt: whose file it is.
        calibration: `temperature`, and what it was fitted to.
    """
    return attempt.put(_CALIBRATION, json.dumps(dict(calibration), indent=1).encode())


def plot_name(name: str) -> str:
    """Returns the logical name of a plot."""
    return f"{_PLOTS}{name}.png"


def _part_name(name: str, index: int) -> str:
    stem, _, suffix = name.partition(".")
    return f"{stem}-{index:05d}.{suffix}"


def _line(row: Mapping[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=False) + "\n"


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)
