"""Requests that came in through a source file and are stored, as the door stores them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import redis as redis_py
from msgspec import structs
from ulid import ULID

from service.intake.submissions import submissions
from service.sources.normalize import judge
from service.sources.redact import scrub
from service.sources.request import Request
from service.sources.schema import Source
from tests.redis.test_accept import accept
from worker.contract import Submission

Client = Callable[[], AbstractAsyncContextManager[Any]]
AT = 1_700_000_000.0


def arrived(source: Source, request: Request, at: float = AT) -> list[Submission]:
    """What the door makes of a request; without duplicate keys, so that each is stored."""
    made = submissions(
        source,
        request,
        judge(source, request, at),
        scrub(source, request),
        key=None,
        now=at,
        new_id=lambda: str(ULID()),
    )
    return [structs.replace(one, duplicate_key=None) for one in made]


def store(aredis: Client, redis: redis_py.Redis, kept: list[Submission]) -> list[str]:
    asyncio.run(accept(aredis, redis, kept))
    return [one.id for one in kept]
