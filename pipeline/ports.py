"""Ports that servers are to listen on."""

from __future__ import annotations

import errno
import socket

from components.errors import UserError


def check_port(port: int, option: str, host: str = "127.0.0.1") -> None:
    """Refuses a port that cannot be listened on, before anything is started.

    Args:
        port: as the user gave it.
        option: by which the user gives another one.
        host: the address to listen on.

    Raises:
        UserError: if somebody listens there, or this user may not.
    """
    with socket.socket() as probe:
        # As servers do: what is left of a connection that has ended is nobody.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            taken = error.errno == errno.EADDRINUSE
            problem = "another program listens there" if taken else str(error.strerror)
            raise UserError(
                f"received {option} {port}, but {host}:{port} cannot be listened on: {problem}; expected a "
                f"free port. Give another one by {option}."
            ) from error
