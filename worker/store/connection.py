"""Connections to Redis, from any form of `REDIS_URL`. Nothing is sent until the first command.

By default redis-py waits 5 s and retries ten times, which is too long for waiting callers. If a
reply is lost, only the ledger knows whether the command can safely be repeated, so no command is
ever repeated here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.asyncio.sentinel import Sentinel as AsyncSentinel
from redis.backoff import NoBackoff
from redis.exceptions import (
    AskError,
    ClusterCrossSlotError,
    ClusterDownError,
    NoPermissionError,
)
from redis.retry import Retry
from redis.sentinel import Sentinel

from worker.errors import StoreUnavailable

# Seconds for connecting, and for each reply.
TIMEOUT = 0.5

MAX_CONNECTIONS = 4096

# Fields of a hash read at a time.
HASH_SCAN_SIZE = 2_000

SENTINEL_SCHEME = "redis+sentinel"
_SENTINEL_PORT = 26379


class SentinelAddress(NamedTuple):
    """The parts of `redis+sentinel://user:password@host:26379,host/MASTER/0?sentinel_password=…`."""

    sentinels: list[tuple[str, int]]
    master: str
    db: int
    credentials: dict[str, str]
    sentinel_credentials: dict[str, str]


def connect(
    url: str, *, timeout: float = TIMEOUT, connect_timeout: float = TIMEOUT, name: str | None = None
) -> redis.Redis:
    """Returns a client whose replies are bytes.

    `timeout` (seconds) limits each reply, so it must be longer than a blocking pop may block.
    """
    options: dict[str, Any] = _options(timeout, connect_timeout, name) | {
        "retry": Retry(NoBackoff(), 0)
    }
    if not url.startswith(f"{SENTINEL_SCHEME}://"):
        return redis.Redis.from_url(url, **options)
    client: redis.Redis = _connect_to_master(Sentinel, url, options)
    return client


def connect_async(
    url: str, *, timeout: float = TIMEOUT, connect_timeout: float = TIMEOUT, name: str | None = None
) -> redis.asyncio.Redis:
    """Like `connect`, for an event loop; the client belongs to the loop that uses it first."""
    options: dict[str, Any] = _options(timeout, connect_timeout, name) | {
        "retry": AsyncRetry(NoBackoff(), 0)
    }
    if not url.startswith(f"{SENTINEL_SCHEME}://"):
        return redis.asyncio.Redis.from_url(url, **options)
    client: redis.asyncio.Redis = _connect_to_master(AsyncSentinel, url, options)
    return client


def _connect_to_master(sentinel: Any, url: str, options: dict[str, Any]) -> Any:
    """Returns a client that asks the sentinels for the master whenever it connects."""
    address = parse_sentinel_url(url)
    watchers = sentinel(
        address.sentinels, sentinel_kwargs=options | address.sentinel_credentials, **options
    )
    return watchers.master_for(address.master, db=address.db, **address.credentials)


def parse_sentinel_url(url: str) -> SentinelAddress:
    """Raises ValueError if host or master name is missing, or a number is not one."""
    parts = urlsplit(url)
    login, _, hosts = parts.netloc.rpartition("@")
    master, _, db = parts.path.strip("/").partition("/")
    if not hosts or not master:
        raise ValueError("expected redis+sentinel://host:26379,host:26379/MASTER/0")
    query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    user, _, password = login.partition(":")
    return SentinelAddress(
        sentinels=[_host_and_port(host) for host in hosts.split(",") if host],
        master=unquote(master),
        db=int(db or 0),
        credentials=_drop_empty(username=unquote(user), password=unquote(password)),
        sentinel_credentials=_drop_empty(
            username=query.get("sentinel_username"), password=query.get("sentinel_password")
        ),
    )


def _host_and_port(text: str) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    return parts.hostname or "", parts.port or _SENTINEL_PORT


def _drop_empty(**credentials: str | None) -> dict[str, str]:
    return {key: value for key, value in credentials.items() if value}


def _options(timeout: float, connect_timeout: float, name: str | None) -> dict[str, Any]:
    # A slot that waits for work holds a connection, and there may be more slots than the library's
    # limit of 100. RESP2 needs no handshake on a new connection, and every server supports it.
    return {
        "max_connections": MAX_CONNECTIONS,
        "socket_timeout": timeout,
        "socket_connect_timeout": connect_timeout,
        "client_name": name,
        "protocol": 2,
    }


# What Redis says when it cannot serve us now, in errors for which redis-py has no class.
REFUSALS = (
    "READONLY",
    "read only",
    "LOADING",
    "MISCONF",
    "OOM",
    "out of memory",
    "MASTERDOWN",
    "NOREPLICAS",
    "NOPERM",
    "BUSY ",
    "cluster node",  # a script reaches for a key of another node
)


def call_redis(command: Callable[[], Any]) -> Any:
    """Runs `command`; raises `StoreUnavailable` if Redis refuses it, hangs or is down."""
    try:
        return command()
    except redis.RedisError as error:
        raise translate(error) from error


class translate_errors:
    """Like `call_redis`, for a `with` block.

    It is a class so that type checkers see that it swallows no exception.
    """

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None
    ) -> None:
        if isinstance(error, redis.RedisError):
            raise translate(error) from error


def scan_hash(connection: redis.Redis, key: str) -> Iterator[tuple[bytes, bytes]]:
    """Yields every field that a hash has throughout, with its value; possibly more than once.

    Raises `StoreUnavailable`.
    """
    cursor, ended = 0, False
    while not ended:
        with translate_errors():
            page: Any = connection.hscan(key, cursor, count=HASH_SCAN_SIZE)
        cursor, fields = page
        ended = cursor == 0
        yield from fields.items()


def translate(error: redis.RedisError) -> Exception:
    """Turns a Redis error into `StoreUnavailable`; our own mistakes, such as a wrong type, stay.

    redis-py has classes for some refusals and cuts their code off the text; errors inside a script
    look different again.
    """
    by_class = not isinstance(error, redis.ResponseError) or isinstance(
        error,
        redis.ReadOnlyError
        | redis.OutOfMemoryError
        | NoPermissionError
        | redis.AuthenticationError
        | AskError  # and its child MovedError: a cluster sends us elsewhere
        | ClusterDownError
        | ClusterCrossSlotError,
    )
    if by_class or any(code in str(error) for code in REFUSALS):
        return StoreUnavailable(f"Redis: {type(error).__name__}")
    return error
