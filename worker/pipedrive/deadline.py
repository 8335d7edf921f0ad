"""Sockets that obey a deadline.

A `Deadline` is a float (its total in seconds), so it can be passed wherever httpx and httpcore take
a timeout, and any other transport still understands it. `TimedBackend` asks it for the remaining
time before every operation.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
import time
from collections.abc import Callable, Iterable
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any

import httpcore

# DNS and TCP may take this long, but never more than half of the call's time, because the response
# needs time too.
MAX_CONNECT_SECONDS = 10.0


class Deadline(float):
    """The seconds one call may take, counted from its construction. `clock` is monotonic."""

    # Bytes of the request that the kernel took; None until a `TimedBackend` counts them.
    sent_bytes: int | None
    _clock: Callable[[], float]
    _end: float

    def __new__(cls, seconds: float, clock: Callable[[], float] = time.monotonic) -> Deadline:
        self = super().__new__(cls, seconds)
        self._clock = clock
        self._end = clock() + seconds
        self.sent_bytes = None
        return self

    def remaining(self) -> float:
        """Return the seconds left; zero or less when the time is up."""
        return self._end - self._clock()


LookUp = Callable[[str, int], list[str]]


def look_up(host: str, port: int) -> list[str]:
    """Return the host's addresses. Raises OSError, or UnicodeError for what is no name."""
    answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in answers))


class TimedBackend(httpcore.NetworkBackend):
    """Opens connections on which every operation obeys the call's deadline.

    `inner` connects to addresses, never to names: those are looked up here, once.
    """

    def __init__(
        self, look_up: LookUp = look_up, inner: httpcore.NetworkBackend | None = None
    ) -> None:
        self._look_up = look_up
        self._inner = inner or httpcore.SyncBackend()

    def find_addresses(self, host: str, port: int, limit: Deadline) -> list[str]:
        """Return the addresses that may be connected to, in the order in which to try them."""
        return _resolve(host, port, limit, self._look_up)

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        _start_counting(timeout)
        limit = Deadline(min(MAX_CONNECT_SECONDS, _remaining(timeout, httpcore.ConnectTimeout) / 2))
        addresses = self.find_addresses(host, port, limit)
        for position, address in enumerate(addresses, start=1):
            share = _remaining(limit, httpcore.ConnectTimeout) / (len(addresses) - position + 1)
            try:
                inner = self._inner.connect_tcp(address, port, share, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if position == len(addresses):
                    raise
            else:
                return _TimedStream(inner)
        raise httpcore.ConnectError(f"{host} has no address")


class _TimedStream(httpcore.NetworkStream):
    def __init__(self, inner: httpcore.NetworkStream) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, _remaining(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Write as httpcore does, but count the bytes and check the deadline before each piece."""
        _start_counting(timeout)
        wire: socket.socket = self._inner.get_extra_info("socket")
        rest = memoryview(buffer)
        while rest:
            seconds = _remaining(timeout, httpcore.WriteTimeout)
            try:
                wire.settimeout(seconds)
                taken = wire.send(rest)
            except TimeoutError as error:
                raise httpcore.WriteTimeout(str(error)) from error
            except OSError as error:
                raise httpcore.WriteError(str(error)) from error
            _add_sent(timeout, taken)
            rest = rest[taken:]

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        seconds = min(MAX_CONNECT_SECONDS, _remaining(timeout, httpcore.ConnectTimeout))
        return _TimedStream(self._inner.start_tls(ssl_context, server_hostname, seconds))

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


def _remaining(timeout: float | None, error: type[Exception]) -> float:
    """Return the seconds for the next operation; raise `error` if none are left.

    Never None: nothing here may wait for ever.
    """
    if not isinstance(timeout, Deadline):
        return MAX_CONNECT_SECONDS if timeout is None else timeout
    seconds = timeout.remaining()
    if seconds <= 0:
        raise error("the call's time is up")
    return seconds


def _start_counting(timeout: float | None) -> None:
    if isinstance(timeout, Deadline) and timeout.sent_bytes is None:
        timeout.sent_bytes = 0


def _add_sent(timeout: float | None, taken: int) -> None:
    if isinstance(timeout, Deadline):
        timeout.sent_bytes = (timeout.sent_bytes or 0) + taken


def _resolve(host: str, port: int, limit: Deadline, look_up: LookUp) -> list[str]:
    """Return the host's addresses.

    The system's resolver takes no timeout, so it runs in a thread that can be abandoned.
    """
    try:
        return [str(ipaddress.ip_address(host))]
    except ValueError:
        pass
    answers: SimpleQueue[list[str] | Exception] = SimpleQueue()

    def answer() -> None:
        try:
            answers.put(look_up(host, port))
        except (OSError, UnicodeError) as error:
            answers.put(error)

    Thread(target=answer, name="dns", daemon=True).start()
    try:
        addresses = answers.get(timeout=_remaining(limit, httpcore.ConnectTimeout))
    except Empty:
        raise httpcore.ConnectTimeout(f"looking up {host} takes too long") from None
    if isinstance(addresses, Exception):
        raise httpcore.ConnectError(f"cannot look up {host}: {addresses}") from addresses
    return addresses
