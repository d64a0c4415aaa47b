"""How far a command is that answers records, beside what it prints."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console


@contextmanager
def counted(console: Console, what: str, beside_rows: bool = False) -> Iterator[Callable[[int], None]]:
    """Shows how many are done.

    Args:
        console: where to; elsewhere than in a terminal nothing is shown.
        what: is counted.
        beside_rows: whether rows go to standard output, which must not run over the same terminal.

    Yields:
        What to call with the number.
    """
    if not console.is_terminal or (beside_rows and Console().is_terminal):
        yield lambda done: None
        return
    with console.status("loading") as status:
        yield lambda done: status.update(f"{done:,} {what}")
