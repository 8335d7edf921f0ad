"""What a fault does to a call: whether the operation is performed, and what the caller sees.

Every effect that performs the operation does so before its response starts, except `late-commit`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Annotated, Any, Protocol, get_args

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType, field

from service.sandbox.caller_connection import CallerConnection, Headers
from service.sandbox.resources.account_changes import CHANGES, Change

Seconds = Annotated[float, Meta(ge=0, le=3600)]
Bytes = Annotated[int, Meta(ge=0, le=1_000_000_000)]
CHUNK_BYTES = 65_536


class SandboxResponse(Struct, frozen=True):
    """A response that is about to be sent; `document` is its body as an object."""

    status: int
    headers: Headers
    document: Any

    def body(self) -> bytes:
        return msgspec.json.encode(self.document)


class Exchange(Protocol):
    """A call and its response, as an effect sees them."""

    connection: CallerConnection

    def perform(self) -> SandboxResponse:
        """Perform the operation and charge its tokens; the response may be an error."""

    def change_account(self, change: Change) -> None:
        """Change the records that the call names, as somebody else would."""

    def record_status(self, status: int) -> None:
        """Log the status that is being sent."""

    def headers(self) -> Headers:
        """The rate-limit headers of a response without an operation."""

    def schedule(self, seconds: float, act: Callable[[], Awaitable[None]]) -> None:
        """Do something later, even after the call is over."""


class _Effect(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind"):
    async def apply(self, exchange: Exchange) -> None:
        raise NotImplementedError


class FixedResponse(_Effect, frozen=True, kw_only=True, tag="answer"):
    """Sends this response instead of performing the operation, unless `commit` says to do both.

    `body` is JSON, `html` a page, `text` anything.
    """

    status: Annotated[int, Meta(ge=200, le=599)] = 503
    body: Any | UnsetType = UNSET
    html: str | None = None
    text: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    commit: bool = False

    async def apply(self, exchange: Exchange) -> None:
        if self.commit:
            exchange.perform()
        content_type, raw = self._content()
        headers = [(name.lower(), value) for name, value in self.headers.items()]
        exchange.record_status(self.status)
        await exchange.connection.send(
            self.status, _merge_headers([("content-type", content_type)], headers), raw
        )

    def _content(self) -> tuple[str, bytes]:
        if self.html is not None:
            return "text/html; charset=utf-8", self.html.encode()
        if self.text is not None:
            return "text/plain; charset=utf-8", self.text.encode()
        default = {
            "success": False,
            "error": "Service unavailable",
            "error_info": "A fault of the sandbox",
        }
        body = default if self.body is UNSET else self.body
        return "application/json; charset=utf-8", msgspec.json.encode(body)


class Delay(_Effect, frozen=True, kw_only=True, tag="delay"):
    """Waits, then performs and responds as usual, even if the caller has left in the meantime."""

    seconds: Seconds

    async def apply(self, exchange: Exchange) -> None:
        await asyncio.sleep(self.seconds)
        await _send(exchange, exchange.perform())


class CommitThenDrop(_Effect, frozen=True, kw_only=True, tag="commit-then-drop"):
    """Performs, withholds the response, then ends the connection without a byte."""

    hold_seconds: Seconds = 0
    reset: bool = False

    async def apply(self, exchange: Exchange) -> None:
        exchange.perform()
        await exchange.connection.wait(self.hold_seconds)
        await exchange.connection.cut(reset=self.reset)


class DropBefore(_Effect, frozen=True, kw_only=True, tag="drop-before"):
    """Never performs; waits, then ends the connection without a byte."""

    hold_seconds: Seconds = 0
    reset: bool = False

    async def apply(self, exchange: Exchange) -> None:
        await exchange.connection.wait(self.hold_seconds)
        await exchange.connection.cut(reset=self.reset)


class LateCommit(_Effect, frozen=True, kw_only=True, tag="late-commit"):
    """Waits, ends the connection without a byte; performs `seconds` after the call arrived."""

    seconds: Seconds
    hold_seconds: Seconds = 0

    async def apply(self, exchange: Exchange) -> None:
        async def commit() -> None:
            exchange.perform()

        exchange.schedule(self.seconds, commit)
        await exchange.connection.wait(self.hold_seconds)
        await exchange.connection.cut()


class TruncatedBody(_Effect, frozen=True, kw_only=True, tag="truncated"):
    """Performs; the JSON stops in the middle, and the Content-Length says that this is all."""

    bytes: Bytes | None = None

    async def apply(self, exchange: Exchange) -> None:
        response = exchange.perform()
        body = response.body()
        exchange.record_status(response.status)
        await exchange.connection.send(
            response.status,
            response.headers,
            body[: len(body) // 2 if self.bytes is None else self.bytes],
        )


class EmptyBody(_Effect, frozen=True, kw_only=True, tag="empty"):
    """A success without a body."""

    status: int = 200
    commit: bool = True

    async def apply(self, exchange: Exchange) -> None:
        headers = exchange.perform().headers if self.commit else exchange.headers()
        exchange.record_status(self.status)
        await exchange.connection.send(self.status, headers, b"")


class SuccessFalse(_Effect, frozen=True, kw_only=True, tag="unsuccessful"):
    """Status 200 with `success: false`."""

    error: str = "Something went wrong"
    commit: bool = False

    async def apply(self, exchange: Exchange) -> None:
        headers = exchange.perform().headers if self.commit else exchange.headers()
        document = {
            "success": False,
            "error": self.error,
            "error_info": "A fault of the sandbox",
            "data": None,
        }
        await _send(exchange, SandboxResponse(200, headers, document))


class WrongTypes(_Effect, frozen=True, kw_only=True, tag="wrong-types"):
    """Performs; numbers become text, text becomes numbers, lists become objects."""

    async def apply(self, exchange: Exchange) -> None:
        response = exchange.perform()
        await _send(
            exchange, SandboxResponse(response.status, response.headers, _twist(response.document))
        )


class AlteredBody(_Effect, frozen=True, kw_only=True, tag="alter"):
    """Performs; sets values in the response by path: `{"additional_data.next_cursor": "abc"}`."""

    set: dict[str, Any]

    async def apply(self, exchange: Exchange) -> None:
        response = exchange.perform()
        document = msgspec.json.decode(response.body())
        for path, value in self.set.items():
            _set_path(document, path.split("."), value)
        await _send(exchange, SandboxResponse(response.status, response.headers, document))


class SlowDrip(_Effect, frozen=True, kw_only=True, tag="drip"):
    """Performs; the body arrives byte by byte."""

    bytes_per_second: Annotated[float, Meta(gt=0, le=10_000)] = 1

    async def apply(self, exchange: Exchange) -> None:
        response = exchange.perform()
        body = response.body()
        exchange.record_status(response.status)
        await exchange.connection.stream(
            response.status, response.headers, len(body), self._drip(body)
        )

    async def _drip(self, body: bytes) -> AsyncIterator[bytes]:
        for index in range(len(body)):
            yield body[index : index + 1]
            await asyncio.sleep(1 / self.bytes_per_second)


class HugeBody(_Effect, frozen=True, kw_only=True, tag="huge"):
    """Performs; the response is valid JSON of this many bytes, most of them padding."""

    bytes: Bytes = 100_000_000

    async def apply(self, exchange: Exchange) -> None:
        response = exchange.perform()
        head, tail = response.body()[:-1] + b',"padding":"', b'"}'
        padding = max(0, self.bytes - len(head) - len(tail))
        exchange.record_status(response.status)
        length = len(head) + padding + len(tail)
        await exchange.connection.stream(
            response.status, response.headers, length, _pad(head, padding, tail)
        )


class Redirection(_Effect, frozen=True, kw_only=True, tag="redirect"):
    """Never performs; sends the caller to another host."""

    location: str
    status: Annotated[int, Meta(ge=300, le=399)] = 302

    async def apply(self, exchange: Exchange) -> None:
        exchange.record_status(self.status)
        await exchange.connection.send(
            self.status, [("location", self.location), ("content-type", "text/plain")], b""
        )


class ResetMidBody(_Effect, frozen=True, kw_only=True, tag="reset"):
    """Performs; the connection is reset after the head and this many bytes of the body."""

    bytes: Bytes = 0

    async def apply(self, exchange: Exchange) -> None:
        response = exchange.perform()
        exchange.record_status(response.status)
        await exchange.connection.send_part_then_reset(
            response.status, response.headers, response.body(), self.bytes
        )


class CloseIdle(_Effect, frozen=True, kw_only=True, tag="close-after"):
    """Performs and responds as usual, then closes the idle connection without announcing it."""

    seconds: Seconds = 0.1

    async def apply(self, exchange: Exchange) -> None:
        async def close() -> None:
            await exchange.connection.cut()

        await _send(exchange, exchange.perform())
        exchange.schedule(self.seconds, close)


class Meanwhile(_Effect, frozen=True, kw_only=True, tag="meanwhile"):
    """Somebody changes what the call names just before it is performed.

    A refusal that follows has this `status`, because Pipedrive does not document which it is.
    """

    change: Change
    status: Annotated[int, Meta(ge=400, le=499)] | None = None

    async def apply(self, exchange: Exchange) -> None:
        exchange.change_account(self.change)
        response = exchange.perform()
        if self.status is not None and 400 <= response.status < 500:
            response = SandboxResponse(self.status, response.headers, response.document)
        await _send(exchange, response)


class ManyOptions(_Effect, frozen=True, kw_only=True, tag="many-options"):
    """Performs; each custom field with options in the response has this many more before them."""

    options: Annotated[int, Meta(ge=1, le=10_000)] = 10_000

    async def apply(self, exchange: Exchange) -> None:
        response = exchange.perform()
        document = msgspec.json.decode(response.body())
        more = [
            {
                "id": 100_000 + number,
                "label": f"Option {number} of {self.options}, with a label as people write it",
                "color": None,
                "add_time": "2024-01-15T09:00:00Z",
                "update_time": "2024-01-15T09:00:00Z",
            }
            for number in range(self.options)
        ]
        data = document["data"]
        for described in data if isinstance(data, list) else [data]:
            if described and described["is_custom_field"] and described["options"]:
                described["options"] = more + described["options"]
        await _send(exchange, SandboxResponse(response.status, response.headers, document))


Effect = (
    FixedResponse | Delay | CommitThenDrop | DropBefore | LateCommit | TruncatedBody | EmptyBody
    | SuccessFalse | WrongTypes | AlteredBody | SlowDrip | HugeBody | Redirection | ResetMidBody
    | CloseIdle | Meanwhile | ManyOptions
)  # fmt: skip


def describe_faults() -> list[tuple[str, str]]:
    """Each kind of effect with its first sentence, and each change of `meanwhile` with its own."""
    kinds = [
        (str(effect.__struct_config__.tag), _first_sentence(effect)) for effect in get_args(Effect)
    ]
    changes = [(f"meanwhile {name}", _first_sentence(each)) for name, each in CHANGES.items()]
    return kinds + changes


def _first_sentence(thing: object) -> str:
    return " ".join((thing.__doc__ or "").strip().partition("\n\n")[0].split())


async def _send(exchange: Exchange, response: SandboxResponse) -> None:
    exchange.record_status(response.status)
    await exchange.connection.send(response.status, response.headers, response.body())


async def _pad(head: bytes, padding: int, tail: bytes) -> AsyncIterator[bytes]:
    yield head
    block = b"x" * CHUNK_BYTES
    for start in range(0, padding, CHUNK_BYTES):
        yield block[: min(CHUNK_BYTES, padding - start)]
    yield tail


def _twist(value: Any) -> Any:
    match value:
        case bool():
            return str(value).lower()
        case int() | float():
            return str(value)
        case str():
            return len(value)
        case list():
            return {str(index): _twist(item) for index, item in enumerate(value)}
        case dict():
            return {
                key: child if key == "success" else _twist(child) for key, child in value.items()
            }
        case _:
            return value


def _set_path(document: Any, path: list[str], value: Any) -> None:
    *parents, last = path
    for name in parents:
        document = (
            document[int(name)] if isinstance(document, list) else document.setdefault(name, {})
        )
    if isinstance(document, list):
        document[int(last)] = value
    else:
        document[last] = value


def _merge_headers(defaults: Headers, headers: Headers) -> Headers:
    names = {name for name, _ in headers}
    return [pair for pair in defaults if pair[0] not in names] + headers
