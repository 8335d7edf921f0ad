"""HTTP with a time limit per exchange, a size limit, and proof that nothing was sent.

httpx limits each socket operation, so a server that sends one byte a second would hold a slot for
ever, and a thread cannot be interrupted. Here a `Deadline` replaces httpx's timeouts, down to the
network stream, which asks it before each operation how much time is left. The stream also counts
the bytes handed to the kernel: a create that failed before the first one may be repeated.
"""

from __future__ import annotations

import contextlib
import logging
import ssl
import zlib
from collections.abc import Iterator
from typing import TypeVar

import httpcore
import httpx
from msgspec import Struct

from worker.pipedrive.deadline import Deadline, TimedBackend

# On the wire and unpacked; a full page of 500 leads is about a quarter of it.
MAX_RESPONSE_BYTES = 2_000_000

# We drop a pooled connection before Pipedrive's gateway does: a POST on a dying connection has an
# unknown outcome.
MAX_IDLE_SECONDS = 20.0

HTTPX_ERRORS: dict[type[Exception], type[httpx.TransportError]] = {
    httpcore.ConnectTimeout: httpx.ConnectTimeout,
    httpcore.ReadTimeout: httpx.ReadTimeout,
    httpcore.WriteTimeout: httpx.WriteTimeout,
    httpcore.PoolTimeout: httpx.PoolTimeout,
    httpcore.ConnectError: httpx.ConnectError,
    httpcore.ReadError: httpx.ReadError,
    httpcore.WriteError: httpx.WriteError,
    httpcore.UnsupportedProtocol: httpx.UnsupportedProtocol,
    httpcore.LocalProtocolError: httpx.LocalProtocolError,
    httpcore.RemoteProtocolError: httpx.RemoteProtocolError,
}

Bytes = TypeVar("Bytes", bytes, bytearray)


class ResponseTooLarge(httpx.TransportError):
    """The response exceeds our size limit, or is compressed in a way that we cannot unpack."""


class ReceivedResponse(Struct, frozen=True):
    """A response; header names are lower-case.

    `fault` is set if the body could not be read to its end.
    """

    status: int
    headers: dict[str, str]
    body: bytes
    fault: httpx.TransportError | None = None


def exchange(
    http: httpx.Client,
    request: httpx.Request,
    deadline: Deadline,
    *,
    limit: int = MAX_RESPONSE_BYTES,
) -> ReceivedResponse:
    """Send one request and read the response; redirects are never followed.

    Raises `httpx.TransportError`.
    """
    request.extensions = {
        **request.extensions,
        "timeout": dict.fromkeys(("connect", "read", "write", "pool"), deadline),
    }
    response = http.send(request, stream=True, follow_redirects=False)
    body, fault = b"", None
    try:
        body = _read(response, deadline, limit)
    except httpx.TransportError as error:
        fault = error
    finally:
        response.close()
    return ReceivedResponse(
        response.status_code,
        {name.lower(): value for name, value in response.headers.items()},
        body,
        fault,
    )


def _read(response: httpx.Response, deadline: Deadline, limit: int) -> bytes:
    if response.is_stream_consumed:  # a test double without a socket has the whole body at once
        return _check_size(response.content, limit)
    packed = bytearray()
    for chunk in response.iter_raw():
        packed += chunk
        _check_size(packed, limit)
        if deadline.remaining() <= 0:
            raise httpx.ReadTimeout("the call's time is up")
    return _unpack(
        bytes(packed), response.headers.get("content-encoding", "").strip().lower(), limit
    )


def _unpack(packed: bytes, coding: str, limit: int) -> bytes:
    """Unpack gzip or deflate, never to more than `limit` bytes.

    A small response can unpack to a thousand times its size.
    """
    if coding in ("", "identity"):
        return packed
    if coding not in ("gzip", "x-gzip", "deflate"):
        raise ResponseTooLarge(f"the answer is packed as {coding[:20]!r}")
    try:
        return _check_size(zlib.decompressobj(wbits=47).decompress(packed, limit + 1), limit)
    except zlib.error as error:
        raise ResponseTooLarge("the answer cannot be unpacked") from error


def _check_size(body: Bytes, limit: int) -> Bytes:
    if len(body) > limit:
        raise ResponseTooLarge(f"the answer is larger than {limit} bytes")
    return body


class TimedTransport(httpx.BaseTransport):
    """Sends requests over connections that obey the request's `Deadline`."""

    def __init__(self, ssl_context: ssl.SSLContext, backend: TimedBackend | None = None) -> None:
        self._pool = httpcore.ConnectionPool(
            ssl_context=ssl_context,
            max_connections=4,
            max_keepalive_connections=2,
            keepalive_expiry=MAX_IDLE_SECONDS,
            http1=True,
            http2=False,
            network_backend=backend or TimedBackend(),
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        assert isinstance(request.stream, httpx.SyncByteStream)
        target = httpcore.URL(
            scheme=request.url.raw_scheme,
            host=request.url.raw_host,
            port=request.url.port,
            target=request.url.raw_path,
        )
        with _translate_errors():
            response = self._pool.handle_request(
                httpcore.Request(
                    request.method,
                    target,
                    headers=request.headers.raw,
                    content=request.stream,
                    extensions=request.extensions,
                )
            )
        return httpx.Response(
            response.status,
            headers=response.headers,
            stream=_ResponseStream(response),
            extensions=response.extensions,
        )

    def close(self) -> None:
        self._pool.close()


class _ResponseStream(httpx.SyncByteStream):
    def __init__(self, response: httpcore.Response) -> None:
        self._response = response

    def __iter__(self) -> Iterator[bytes]:
        with _translate_errors():
            yield from self._response.iter_stream()

    def close(self) -> None:
        self._response.close()


@contextlib.contextmanager
def _translate_errors() -> Iterator[None]:
    try:
        yield
    except tuple(HTTPX_ERRORS) as error:
        raise HTTPX_ERRORS[type(error)](str(error)) from error


def build_tls() -> ssl.SSLContext:
    """Return a TLS context for all clients of a process: making one takes longer than a call."""
    return httpx.create_ssl_context()


def build_http(ssl_context: ssl.SSLContext | None = None) -> httpx.Client:
    """Return a client for one worker slot, for calls to Pipedrive."""
    return PlainClient(TimedTransport(ssl_context or build_tls()))


class PlainClient(httpx.Client):
    """Hands each request straight to its transport: no redirects, cookies, netrc or proxies.

    `docs/decisions.md` ("Many slots in one process") measures what httpx's own handling costs.
    Quiets the loggers of httpx and httpcore, which would log URLs with e-mails and secrets in them.
    """

    def __init__(self, transport: httpx.BaseTransport) -> None:
        for name in ("httpx", "httpcore"):
            logging.getLogger(name).setLevel(logging.WARNING)
        super().__init__(transport=transport, trust_env=False)
        self._direct_transport = transport

    def send(self, request: httpx.Request, **_: object) -> httpx.Response:
        return self._direct_transport.handle_request(request)
