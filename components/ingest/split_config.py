"""Configuration of how splits without files of their own are taken from `train`: a word, or a section."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from components.strict import Strict
from components.words import OrWord

Column = str | Annotated[int, Field(ge=0)]


class HashSplit(Strict):
    """By a stable hash of the input text: equal texts share a split, and a record never changes its own."""

    type: Literal["hash"]


class StratifiedSplit(Strict):
    """classification: as `hash`, but the fractions hold within each label.

    Reads the files twice. Every label has at least one record in train.
    """

    type: Literal["stratified"]


class GroupSplit(Strict):
    """By a stable hash of a column's value, such as an author: no value is in two splits.

    Between splits that have files of their own, values that are in both are counted.
    """

    type: Literal["group"]
    column: Column
    """Name or position of the column in the files, as in `columns`. A record without a value is rejected."""


class TimeSplit(Strict):
    """By a column of times: train is the oldest part, then come validation and test.

    Reads the files twice. Equal times share a split. Between splits that have files of their own, the order
    is checked.
    """

    type: Literal["time"]
    column: Column
    """Name or position of the column in the files, as in `columns`: dates and times as ISO 8601 writes them
    (in UTC where they have no offset), dates and timestamps of Parquet, or numbers. A record without such a
    value is rejected."""


class FoldSplit(Strict):
    """One fold of a cross-validation, as `rnnpipe crossval` sets it.

    Test is one of several folds of about equal size, and validation its fraction of the others. Which fold a
    record is in depends on nothing but `folds`, so that every record is in the test split of exactly one of
    them. Reads the files twice.
    """

    type: Literal["fold"]
    folds: Annotated[int, Field(ge=2)]
    """How many folds there are."""
    fold: Annotated[int, Field(ge=1)]
    """Which of them is the test split, from 1."""
    stratified: bool = False
    """classification: whether every label is spread over the folds evenly. Otherwise the hashes of the input
    texts decide alone. Either way equal texts (of a label) share a fold."""
    column: Column | None = None
    """Name or position of a column, as for `group`: no value is in two splits. The most frequent values are
    dealt first, each to the fold that is smallest then."""

    @model_validator(mode="after")
    def _check(self) -> FoldSplit:
        if self.fold > self.folds:
            raise ValueError(
                f"fold received {self.fold}, expected 1 to {self.folds}, as there are {self.folds}"
            )
        if self.stratified and self.column is not None:
            raise ValueError("received stratified and column, expected one of them: groups stay together")
        return self


ByColumn = GroupSplit | TimeSplit


SplitField = Annotated[
    Annotated[HashSplit | StratifiedSplit | GroupSplit | TimeSplit | FoldSplit, Field(discriminator="type")],
    OrWord("hash", "stratified"),
]
