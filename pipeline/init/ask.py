"""Asks what the data do not say."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer

from components.errors import UserError
from components.ingest.advice import shorten, shorten_names
from pipeline.init.columns import Column


class Asker:
    """Has what is not clear decided: by who sits at the terminal, or by the best guess.

    Args:
        yes: whether the best guess is to be taken.
        of: what the files are called, for messages.
    """

    def __init__(self, yes: bool, of: str) -> None:
        self._yes = yes
        self._of = of

    def choose(self, what: str, candidates: Sequence[Column], clear: bool, option: str) -> Column:
        """Returns the column that is meant.

        Args:
            what: the column is for.
            candidates: the likeliest first.
            clear: whether the first is no mere guess.
            option: of the command line, that names it.

        Raises:
            UserError: it is not clear, and nobody can be asked.
        """
        if clear or self._yes:
            return candidates[0]
        if not sys.stdin.isatty():
            raise UserError(
                f"init: {self._of}: it is not clear which column is {what}, expected one of "
                f"{shorten_names(column.name for column in candidates)}. Name it with {option}, or take the "
                f"best guess, {candidates[0].name!r}, with --yes."
            )
        typer.echo(f"Which column is {what}?")
        for number, column in enumerate(candidates, 1):
            typer.echo(f"  {number}  {shorten(column.name)}, such as {shorten(column.example)!r}")
        answer = 0
        while not 1 <= answer <= len(candidates):
            answer = typer.prompt(f"Number, 1 to {len(candidates)}", default=1, type=int)
        return candidates[answer - 1]
