"""Errors that speak to the user."""


class UserError(Exception):
    """Something the user can mend; the message alone says what was received, expected, and what to do.

    It takes exactly one argument, because Beam's local runner rebuilds exceptions from one.
    """

    exit_code = 1
    """What the command line ends with."""

    def __init__(self, message: str) -> None:
        super().__init__(message)


class NoSpaceError(UserError):
    """A disk is full."""
