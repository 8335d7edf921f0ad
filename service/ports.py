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


def _socket(host: str) -> socket.socket:
    return socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
