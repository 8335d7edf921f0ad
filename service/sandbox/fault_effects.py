"""What a fault does to a call. Each effect says whether the operation is performed, and what the
caller gets to see.

Every effect that performs does so before its answer starts, except `late-commit`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Annotated, Any, Protocol

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType, field

from service.sandbox.connection import Connection, Headers

Seconds = Annotated[float, Meta(ge=0, le=3600)]
Bytes = Annotated[int, Meta(ge=0, le=1_000_000_000)]
CHUNK = 65_536


class Reply(Struct, frozen=True):
    """An answer about to be sent: status, headers, body as an object."""

    status: int
    headers: Headers
    document: Any

    def body(self) -> bytes:
        return msgspec.json.encode(self.document)


class Attempt(Protocol):
    """The call an effect is played on."""

    connection: Connection

    def perform(self) -> Reply:
        """Does the operation, whatever it answers; charges its tokens."""

    def answered(self, status: int) -> None:
        """Notes the status that is being sent."""

    def headers(self) -> Headers:
        """The rate-limit headers of an answer that was not performed."""

    def later(self, seconds: float, act: Callable[[], Awaitable[None]]) -> None:
        """Does something after the call is over."""


class _Effect(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind"):
    async def play(self, attempt: Attempt) -> None:
        raise NotImplementedError


class Answered(_Effect, frozen=True, kw_only=True, tag="answer"):
    """Answers this instead: never performed unless `commit`. `body` is JSON; `html` a page; `text`
    anything.
    """

    status: Annotated[int, Meta(ge=200, le=599)] = 503
    body: Any | UnsetType = UNSET
    html: str | None = None
    text: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    commit: bool = False

    async def play(self, attempt: Attempt) -> None:
        if self.commit:
            attempt.perform()
        content_type, raw = self._content()
        own = [(name.lower(), value) for name, value in self.headers.items()]
        attempt.answered(self.status)
        await attempt.connection.answer(
            self.status, _merged([("content-type", content_type)], own), raw
        )

    def _content(self) -> tuple[str, bytes]:
        if self.html is not None:
            return "text/html; charset=utf-8", self.html.encode()
        if self.text is not None:
            return "text/plain; charset=utf-8", self.text.encode()
        given = {
            "success": False,
            "error": "Service unavailable",
            "error_info": "A fault of the sandbox",
        }
        return "application/json; charset=utf-8", msgspec.json.encode(
            given if self.body is UNSET else self.body
        )


class Delayed(_Effect, frozen=True, kw_only=True, tag="delay"):
    """Waits, then performs and answers as always; it performs even if the caller has left
    meanwhile.
    """

    seconds: Seconds

    async def play(self, attempt: Attempt) -> None:
        await asyncio.sleep(self.seconds)
        await _send(attempt, attempt.perform())


class CommitThenDrop(_Effect, frozen=True, kw_only=True, tag="commit-then-drop"):
    """Performs, holds the answer, then ends the connection without a byte."""

    hold_seconds: Seconds = 0
    reset: bool = False

    async def play(self, attempt: Attempt) -> None:
        attempt.perform()
        await attempt.connection.hold(self.hold_seconds)
        await attempt.connection.cut(reset=self.reset)


class DropBefore(_Effect, frozen=True, kw_only=True, tag="drop-before"):
    """Never performs; waits, then ends the connection without a byte."""

    hold_seconds: Seconds = 0
    reset: bool = False

    async def play(self, attempt: Attempt) -> None:
        await attempt.connection.hold(self.hold_seconds)
        await attempt.connection.cut(reset=self.reset)


class LateCommit(_Effect, frozen=True, kw_only=True, tag="late-commit"):
    """Holds and ends the connection without a byte; performs `seconds` after the call came in."""

    seconds: Seconds
    hold_seconds: Seconds = 0

    async def play(self, attempt: Attempt) -> None:
        async def commit() -> None:
            attempt.perform()

        attempt.later(self.seconds, commit)
        await attempt.connection.hold(self.hold_seconds)
        await attempt.connection.cut()


class Truncated(_Effect, frozen=True, kw_only=True, tag="truncated"):
    """Performs; the JSON stops in the middle, as if that were all (the Content-Length says so)."""

    bytes: Bytes | None = None

    async def play(self, attempt: Attempt) -> None:
        reply = attempt.perform()
        body = reply.body()
        attempt.answered(reply.status)
        await attempt.connection.answer(
            reply.status,
            reply.headers,
            body[: len(body) // 2 if self.bytes is None else self.bytes],
        )


class Empty(_Effect, frozen=True, kw_only=True, tag="empty"):
    """A success without a body."""

    status: int = 200
    commit: bool = True

    async def play(self, attempt: Attempt) -> None:
        headers = attempt.perform().headers if self.commit else attempt.headers()
        attempt.answered(self.status)
        await attempt.connection.answer(self.status, headers, b"")


class Unsuccessful(_Effect, frozen=True, kw_only=True, tag="unsuccessful"):
    """Status 200, `success: false`."""

    error: str = "Something went wrong"
    commit: bool = False

    async def play(self, attempt: Attempt) -> None:
        headers = attempt.perform().headers if self.commit else attempt.headers()
        document = {
            "success": False,
            "error": self.error,
            "error_info": "A fault of the sandbox",
            "data": None,
        }
        await _send(attempt, Reply(200, headers, document))


class WrongTypes(_Effect, frozen=True, kw_only=True, tag="wrong-types"):
    """Performs; numbers become text, text becomes numbers, lists become objects."""

    async def play(self, attempt: Attempt) -> None:
        reply = attempt.perform()
        await _send(attempt, Reply(reply.status, reply.headers, _twisted(reply.document)))


class Altered(_Effect, frozen=True, kw_only=True, tag="alter"):
    """Performs; sets values in the answer by path: `{"additional_data.next_cursor": "abc",
    "data.extra": 1}`.
    """

    set: dict[str, Any]

    async def play(self, attempt: Attempt) -> None:
        reply = attempt.perform()
        document = msgspec.json.decode(reply.body())
        for path, value in self.set.items():
            _put(document, path.split("."), value)
        await _send(attempt, Reply(reply.status, reply.headers, document))


class Dripped(_Effect, frozen=True, kw_only=True, tag="drip"):
    """Performs; the body comes a byte at a time."""

    bytes_per_second: Annotated[float, Meta(gt=0, le=10_000)] = 1

    async def play(self, attempt: Attempt) -> None:
        reply = attempt.perform()
        body = reply.body()
        attempt.answered(reply.status)
        await attempt.connection.stream(reply.status, reply.headers, len(body), self._drops(body))

    async def _drops(self, body: bytes) -> AsyncIterator[bytes]:
        for place in range(len(body)):
            yield body[place : place + 1]
            await asyncio.sleep(1 / self.bytes_per_second)


class Huge(_Effect, frozen=True, kw_only=True, tag="huge"):
    """Performs; the answer is valid JSON of this many bytes, most of them padding."""

    bytes: Bytes = 100_000_000

    async def play(self, attempt: Attempt) -> None:
        reply = attempt.perform()
        head, tail = reply.body()[:-1] + b',"padding":"', b'"}'
        padding = max(0, self.bytes - len(head) - len(tail))
        attempt.answered(reply.status)
        length = len(head) + padding + len(tail)
        await attempt.connection.stream(
            reply.status, reply.headers, length, _padded(head, padding, tail)
        )


class Redirected(_Effect, frozen=True, kw_only=True, tag="redirect"):
    """Never performs; sends the caller to another host."""

    location: str
    status: Annotated[int, Meta(ge=300, le=399)] = 302

    async def play(self, attempt: Attempt) -> None:
        attempt.answered(self.status)
        await attempt.connection.answer(
            self.status, [("location", self.location), ("content-type", "text/plain")], b""
        )


class ResetAfter(_Effect, frozen=True, kw_only=True, tag="reset"):
    """Performs; the connection is reset after the head and this many bytes of the body."""

    bytes: Bytes = 0

    async def play(self, attempt: Attempt) -> None:
        reply = attempt.perform()
        attempt.answered(reply.status)
        await attempt.connection.part_then_reset(
            reply.status, reply.headers, reply.body(), self.bytes
        )


class ClosedAfter(_Effect, frozen=True, kw_only=True, tag="close-after"):
    """Performs and answers as always, then closes the idle connection without having said so."""

    seconds: Seconds = 0.1

    async def play(self, attempt: Attempt) -> None:
        async def close() -> None:
            await attempt.connection.cut()

        await _send(attempt, attempt.perform())
        attempt.later(self.seconds, close)


Effect = (
    Answered | Delayed | CommitThenDrop | DropBefore | LateCommit | Truncated | Empty | Unsuccessful
    | WrongTypes | Altered | Dripped | Huge | Redirected | ResetAfter | ClosedAfter
)  # fmt: skip


async def _send(attempt: Attempt, reply: Reply) -> None:
    attempt.answered(reply.status)
    await attempt.connection.answer(reply.status, reply.headers, reply.body())


async def _padded(head: bytes, padding: int, tail: bytes) -> AsyncIterator[bytes]:
    yield head
    block = b"x" * CHUNK
    for start in range(0, padding, CHUNK):
        yield block[: min(CHUNK, padding - start)]
    yield tail


def _twisted(value: Any) -> Any:
    match value:
        case bool():
            return str(value).lower()
        case int() | float():
            return str(value)
        case str():
            return len(value)
        case list():
            return {str(place): _twisted(item) for place, item in enumerate(value)}
        case dict():
            return {
                key: child if key == "success" else _twisted(child) for key, child in value.items()
            }
        case _:
            return value


def _put(document: Any, path: list[str], value: Any) -> None:
    *parents, last = path
    for name in parents:
        document = (
            document[int(name)] if isinstance(document, list) else document.setdefault(name, {})
        )
    if isinstance(document, list):
        document[int(last)] = value
    else:
        document[last] = value


def _merged(defaults: Headers, own: Headers) -> Headers:
    named = {name for name, _ in own}
    return [pair for pair in defaults if pair[0] not in named] + own
