"""One connection of the HTTP server, with bounds on all that a stranger can make it hold.

uvicorn's protocol does the work: parsing (llhttp), the pipeline, flow control. What it leaves
unbounded is bounded here: connections of one address, the size of a head and the time for it,
requests at a time, bytes around a body, and answers that nobody reads.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import re
import time
from collections.abc import Callable, MutableSequence, Sequence
from functools import lru_cache
from typing import Any, cast

import httptools
import msgspec
from uvicorn.protocols.http import httptools_impl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from service.web import pages, problems, request_head
from service.web.client_address import is_trusted_proxy, rate_limit_address
from service.web.problems import HttpProblem
from service.web.request_id import random_request_id
from worker.settings.types import Network

MAX_HEAD_BYTES = 64 * 1024
# A connection that has not sent a whole head by then is closed.
HEAD_SECONDS = 10.0
# An answer of which nothing is taken for so long is cut off.
UNREAD_SECONDS = 10.0
# Between two requests. Proxies keep theirs for a minute or two, and must be the ones to close
# them: a post on a connection that we close at the same moment is lost.
IDLE_SECONDS, PROXY_IDLE_SECONDS = 10, 150
# Requests that one connection may have sent beyond the one that is being answered.
MAX_PIPELINED = 16
# What may surround a body on the wire: the sizes of small chunks, extensions, trailers.
MAX_OVERHEAD_BYTES, MAX_OVERHEAD_FACTOR = 512 * 1024, 8
# How long, and how much, we still read what a sender sends after our last answer. A connection that
# is closed with bytes unread is reset, and the answer may be lost with it.
LINGER_SECONDS, MAX_LINGER_BYTES = 2.0, 1024 * 1024

# Connections at a time in each process: a thousand slow ones leave room for the others.
MAX_CONNECTIONS = 4096
ADDRESS_SLOTS = 65_536
_RETRY_AFTER = {"connections": "10", "full": "5"}
_METHOD = re.compile(rb"(?:\r\n)*[A-Z][A-Z-]{0,19} ")


class ConnectionCounts:
    """How many connections each address has, over all processes.

    `table` is shared memory, one row of ADDRESS_SLOTS for each process, which writes only its own
    row: so no lock is needed, and the row of a process that died is cleared by its successor. An
    address's slot is chosen with `key`, so that nobody can pick one that somebody else uses.
    """

    def __init__(self, table: MutableSequence[int], row: int, key: bytes) -> None:
        self._table = table
        self._first = row * ADDRESS_SLOTS
        self._slot = lru_cache(4096)(lambda address: _slot(address, key))
        for place in range(self._first, self._first + ADDRESS_SLOTS):
            table[place] = 0

    def add(self, address: str) -> int:
        """Count one more. Returns how many the address has now."""
        slot = self._slot(address)
        self._table[self._first + slot] += 1
        return sum(self._table[place] for place in range(slot, len(self._table), ADDRESS_SLOTS))

    def remove(self, address: str) -> None:
        self._table[self._first + self._slot(address)] -= 1


def _slot(address: str, key: bytes) -> int:
    digest = hashlib.blake2b(address.encode(), digest_size=4, key=key).digest()
    return int.from_bytes(digest) % ADDRESS_SLOTS


class Admission:
    """Which connections a process takes, and which it ends. One per process.

    `clock` measures seconds and never goes back.
    """

    def __init__(
        self,
        counts: ConnectionCounts,
        per_address: int,
        trusted: Sequence[Network],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._counts = counts
        self._per_address = per_address
        self._trusted = trusted
        self.clock = clock
        self.open: set[BoundedProtocol] = set()

    def admit(self, connection: BoundedProtocol, peer: str | None) -> str | None:
        """Take the connection. Returns the kind of problem for which it is refused instead.

        The visitors behind a trusted proxy share its address, so it may have any number; so may
        a socket without an address.
        """
        if len(self.open) >= MAX_CONNECTIONS:
            return "full"
        if peer is not None and not is_trusted_proxy(peer, self._trusted):
            address = rate_limit_address(peer)
            if self._counts.add(address) > self._per_address:
                self._counts.remove(address)
                return "connections"
            connection.address = address
        self.open.add(connection)
        return None

    def is_proxy(self, peer: str | None) -> bool:
        return is_trusted_proxy(peer, self._trusted)

    def release(self, connection: BoundedProtocol) -> None:
        if connection in self.open:
            self.open.discard(connection)
            if connection.address is not None:
                self._counts.remove(connection.address)

    def end_overdue(self) -> None:
        """End the connections whose time is over; to be called about once a second."""
        now = self.clock()
        for connection in list(self.open):
            connection.check_time(now)


class _GracefulTransport:
    """A transport whose `close` lets the sender read our answer first."""

    def __init__(self, transport: asyncio.Transport, close: Callable[[], None]) -> None:
        self._transport = transport
        self.close = close
        self.write = transport.write
        self.is_closing: Callable[[], bool] = transport.is_closing

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class _Cycle(RequestResponseCycle):
    """One request and its response. After an answer to half a body, the connection closes."""

    async def send(self, message: Any) -> None:
        if not self.response_started and self.more_body:
            self.keep_alive = False
        await super().send(message)


class BoundedProtocol(HttpToolsProtocol):
    """See the module. Created by uvicorn for each connection; `admission` is the process's."""

    def __init__(self, admission: Admission, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._admission = admission
        self.address: str | None = None  # under which it is counted
        self._raw: asyncio.Transport = None  # type: ignore[assignment]
        # What the parser is in the middle of.
        self._in_head = self._in_body = False
        self._head_bytes = self._wire_bytes = self._body_bytes = 0
        self._unanswered = 0  # requests whose head is complete and whose response is not
        self._refusal: bytes | None = None  # the last answer, once the earlier ones are given
        self._is_refused = False  # nothing that comes is parsed any more
        self._lingering_bytes: int | None = None  # what was discarded after our last answer
        # On the admission's clock: when it is closed unless something happens, and since when
        # nothing of an answer has been taken.
        self._deadline = math.inf
        self._unread_since: float | None = None

    # The connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._raw = transport
        super().connection_made(
            cast(asyncio.Transport, _GracefulTransport(transport, self._finish))
        )
        peer = self.client[0] if self.client else None
        self.timeout_keep_alive = (
            PROXY_IDLE_SECONDS if self._admission.is_proxy(peer) else IDLE_SECONDS
        )
        self._deadline = self._admission.clock() + HEAD_SECONDS
        if kind := self._admission.admit(self, peer):
            # Not a moment longer: whoever opens too many would be waited for as often.
            self._is_refused = True
            problem = HttpProblem(kind, headers={"Retry-After": _RETRY_AFTER[kind]})
            self._raw.write(_refusal(problem))
            self._raw.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._admission.release(self)
        self._deadline = math.inf
        super().connection_lost(exc)
        self._unset_keepalive_if_required()

    def check_time(self, now: float) -> None:
        """End the connection if its time is over."""
        if self._raw.get_write_buffer_size() == 0:
            self._unread_since = None
        elif self._unread_since is None:
            self._unread_since = now
        elif now - self._unread_since >= UNREAD_SECONDS:
            self._raw.abort()
        if now >= self._deadline:
            self._raw.abort() if self._lingering_bytes is not None else self._raw.close()

    def resume_writing(self) -> None:
        self._unread_since = None  # a part was taken
        super().resume_writing()

    def shutdown(self) -> None:
        if self._unanswered == 0:
            self._raw.close()
        else:
            super().shutdown()

    def _finish(self) -> None:
        """Close once the sender has our answer: at once if it owes us nothing."""
        if self._lingering_bytes is not None or self._raw.is_closing():
            return
        if not (self._in_body or self._in_head or self._is_refused):
            self._raw.close()
            return
        self._is_refused = True
        self._lingering_bytes = 0
        self._deadline = self._admission.clock() + LINGER_SECONDS
        self.transport.is_closing = lambda: True  # type: ignore[method-assign]
        self.flow.resume_reading()
        if self._raw.can_write_eof():
            self._raw.write_eof()

    def eof_received(self) -> None:
        if self._lingering_bytes is not None:
            self._raw.close()

    # What comes in

    def data_received(self, data: bytes) -> None:
        if self._lingering_bytes is not None:
            self._lingering_bytes += len(data)
            if self._lingering_bytes > MAX_LINGER_BYTES:
                self._raw.abort()
            return
        if self._is_refused:
            return
        self._unset_keepalive_if_required()
        previous = self.cycle
        try:
            self._feed(data)
        except httptools.HttpParserUpgrade:
            # Another protocol was proposed, which we do not speak; what follows may be in it.
            self._is_refused = True
        except httptools.HttpParserInvalidMethodError:
            is_at_start = self.cycle is previous and _METHOD.match(data)
            self._refuse(HttpProblem("method" if is_at_start else "framing"))
        except HttpProblem as problem:
            self._refuse(problem)
        except httptools.HttpParserError as error:
            # What a callback of ours raises arrives as the context of the parser's error.
            cause = error.__context__
            self._refuse(cause if isinstance(cause, HttpProblem) else HttpProblem("framing"))

    def _feed(self, data: bytes) -> None:
        """Parse in pieces that no head can exceed."""
        while data and not self._is_refused:
            if not (self._in_head or self._in_body):
                self._begin_head()
            size = MAX_HEAD_BYTES - (self._head_bytes if self._in_head else 0)
            piece, data = data[:size], data[size:]
            was_in_head = self._in_head
            self._head_bytes += len(piece)
            self._wire_bytes += len(piece)
            self.parser.feed_data(piece)
            if was_in_head and self._in_head and self._head_bytes >= MAX_HEAD_BYTES:
                raise HttpProblem("head-too-large")
            overhead = self._wire_bytes - MAX_OVERHEAD_FACTOR * self._body_bytes
            if self._in_body and overhead > MAX_OVERHEAD_BYTES:
                raise HttpProblem("framing", "The chunks are too small for so long a body.")

    def _begin_head(self) -> None:
        self._in_head = True
        self._head_bytes = 0
        if self._unanswered == 0:
            self._deadline = self._admission.clock() + HEAD_SECONDS

    # Called by the parser

    def on_message_begin(self) -> None:
        if not self._in_head:
            self._begin_head()
        self._wire_bytes = self._body_bytes = 0
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:  # else it is a trailer, which must not become a header
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > (
            MAX_HEAD_BYTES
        ):
            raise HttpProblem("head-too-large")
        version = self.parser.get_http_version()
        host = request_head.check_headers(version, self.headers)
        path, raw_path, query = request_head.split_target(self.url, host)
        if self.parser.should_upgrade() and request_head.announces_body(self.headers):
            # The parser takes the body for the other protocol, which we do not speak.
            raise HttpProblem("framing", "Send it without Upgrade.")
        if self._unanswered > MAX_PIPELINED:
            raise HttpProblem("framing", "Wait for answers before sending more requests.")
        self._in_head, self._in_body = False, True
        self._deadline = math.inf
        scope = self.scope
        scope["method"] = self.parser.get_method().decode("ascii")
        scope["http_version"] = version
        scope["path"], scope["raw_path"], scope["query_string"] = path, raw_path, query
        self._unanswered += 1
        self.cycle = _Cycle(
            scope=self.scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue,
            keep_alive=version == "1.1"
            and self.parser.should_keep_alive()
            and not self.parser.should_upgrade(),
            on_response=self.on_response_complete,
        )
        if self._unanswered == 1:
            self._start_asgi_task(self.cycle, self.app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._in_body = False
        super().on_message_complete()

    def on_response_complete(self) -> None:
        self._unanswered -= 1
        super().on_response_complete()
        if self._in_head and self._unanswered == 0 and not self.transport.is_closing():
            self._unset_keepalive_if_required()
            self._deadline = self._admission.clock() + HEAD_SECONDS
        if self._refusal is not None and self._unanswered == 0:
            self._send_last(self._refusal)

    # Refusals

    def _refuse(self, problem: HttpProblem) -> None:
        """Give the last answer of this connection, after those to earlier requests."""
        self._is_refused = True
        if self._in_body:
            self._drop_current_request()
        self._in_head = self._in_body = False
        self._refusal = _refusal(problem)
        if self._unanswered == 0:
            self._send_last(self._refusal)

    def _drop_current_request(self) -> None:
        """Forget the request whose body cannot be read further, unless it is being answered."""
        cycle = self.cycle
        if cycle.response_complete:
            return
        self._unanswered -= 1
        if self.pipeline and self.pipeline[0][0] is cycle:
            self.pipeline.popleft()
        elif not cycle.response_started:
            cycle.disconnected = True
            cycle.on_response = lambda: None
            cycle.message_event.set()
        else:
            self._raw.abort()

    def _send_last(self, answer: bytes) -> None:
        self._refusal = None
        if not self.transport.is_closing():
            self._raw.write(answer)
            self._finish()


def _refusal(problem: HttpProblem) -> bytes:
    """The bytes of a response to a request that never reached the application."""
    body = msgspec.json.encode(problems.problem_document(problem, random_request_id()))
    headers = {
        **pages.BARE_HEADERS,
        **problem.headers,
        "Content-Type": problems.MEDIA_TYPE,
        "Content-Length": str(len(body)),
        "Connection": "close",
    }
    lines = "".join(f"{name.lower()}: {value}\r\n" for name, value in headers.items())
    return httptools_impl.STATUS_LINE[problem.status] + f"{lines}\r\n".encode() + body
