"""What a model with attention looked at where it erred."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import apache_beam as beam
from apache_beam.pvalue import TaggedOutput

from components.artifacts.artifact import Reference
from components.evaluate.predict import Predict
from components.work import Work

SHOWN = 10  # answers
_TOKENS = 200  # of a text


@runtime_checkable
class Looking(Protocol):
    """A classifier that may say which tokens it looked at."""

    @property
    def looks(self) -> bool:
        """Whether it can."""

    def looked_at(self, text: str) -> tuple[list[str], list[float]]:
        """Returns tokens and weights."""


class LookAt(beam.DoFn):
    """{"ingest" and what the candidate reads: Reference} to what it looked at in its worst answers.

    Of a classifier with attention pooling, one list of {"example", "target", "prediction", "tokens",
    "weights"}; of a seq2seq model with attention, plots, tagged, and an empty list.

    Args:
        predict: the step that has answered, whose model is used again.
        work: of the node.
    """

    PLOTS = "plots"

    def __init__(self, predict: Predict, work: Work) -> None:
        self._predict = predict
        self._work = work

    def process(
        self,
        inputs: Mapping[str, Reference],
        worst: list[dict[str, Any]],
        confused: Sequence[Mapping[str, Any]] = (),
    ) -> Iterator[list[dict[str, Any]] | TaggedOutput]:
        """Yields a list, and plots.

        Args:
            inputs: references by stage.
            worst: the worst answers, whose input is whole.
            confused: as Confused makes it.
        """
        rows = chosen(worst, confused)
        if not rows:
            yield []
            return
        with self._work.attempt("look at") as attempt:
            predictor = self._predict.predictor(inputs)
            if isinstance(predictor, Looking) and predictor.looks:
                yield [_seen(row, *predictor.looked_at(row["input"])) for row in rows]
                return
            if self._predict.maps and (explain := predictor.signatures.get("explain")):
                for row in (row for row in rows if row["example"] > self._predict.maps):  # or it is drawn
                    for plot in self._predict.draw(
                        explain, [row["input"]], [f"attention_wrong_{row['example']:02}"], attempt
                    ):
                        yield TaggedOutput(self.PLOTS, plot)
            yield []


def chosen(
    worst: Sequence[Mapping[str, Any]], confused: Sequence[Mapping[str, Any]]
) -> list[Mapping[str, Any]]:
    """Returns up to ten answers: half of them the worst ones, then the first of every confusion."""
    first = [
        {**cell["answers"][0], "target": cell["expected"], "prediction": cell["predicted"]}
        for cell in confused
        if cell["answers"]
    ]
    half = SHOWN // 2 if first else SHOWN
    rows = {row["example"]: row for row in [*worst[:half], *first, *worst[half:]]}
    return list(rows.values())[:SHOWN]


def _seen(row: Mapping[str, Any], tokens: list[str], weights: list[float]) -> dict[str, Any]:
    shown = [round(weight, 4) for weight in weights[:_TOKENS]]
    return {
        "example": row["example"],
        "target": row["target"],
        "prediction": row["prediction"],
        "tokens": tokens[:_TOKENS],
        "weights": shown,
        "left_out": max(len(tokens) - _TOKENS, 0),
    }
