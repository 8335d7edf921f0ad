"""The TCP ports of this machine: finds a free one, and tells why one cannot be listened on."""

from __future__ import annotations

import socket


def find_free_port(host: str) -> int:
    """A port on which nothing listened a moment ago."""
    with _socket(host) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def bind_error(host: str, port: int) -> OSError | None:
    """Why nobody could listen there now; None if somebody could.

    The probe does not set SO_REUSEPORT, so a listener that does set it counts too.
    """
    with _socket(host) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return error
    return None


def listen(host: str, port: int, backlog: int) -> socket.socket:
    """Listen there; on a free port if it is 0. Raises OSError.

    The port is never shared with another listener, also not with one that would.
    """
    listener = _socket(host)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(backlog)
    except BaseException:
        listener.close()
        raise
    return listener


def _socket(host: str) -> socket.socket:
    return socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
