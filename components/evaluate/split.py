"""Which split is measured on."""

from __future__ import annotations

from components.artifacts.examples import Examples
from components.errors import UserError
from components.strict import Split


def evaluated_split(examples: Examples) -> tuple[Split, list[str]]:
    """Returns the test split, or without one the validation split, and its files.

    Raises:
        UserError: there is neither.
    """
    splits: tuple[Split, ...] = ("test", "validation")
    for split in splits:
        names = examples.parts_of(split)
        if names:
            return split, names
    raise UserError(
        "The ingested data has neither a test nor a validation split; expected examples to measure "
        "the model on: name files for `test` in ingest.files, or give it a fraction in ingest.holdout."
    )
