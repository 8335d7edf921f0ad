"""Requests through a source file, stored as the intake stores them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import redis as redis_py
from msgspec import structs
from ulid import ULID

from service.intake.submissions import build_submissions
from service.sources.normalize import process_request
from service.sources.redact import redact_request
from service.sources.request import InboundRequest
from service.sources.schema import Source
from tests.redis.test_accept import accept
from worker.contract import Submission

Client = Callable[[], AbstractAsyncContextManager[Any]]
AT = 1_700_000_000.0


def build_submissions_of(
    source: Source, request: InboundRequest, at: float = AT
) -> list[Submission]:
    """What the intake makes of a request; without duplicate keys, so that each one is stored."""
    built = build_submissions(
        source,
        request,
        process_request(source, request, at),
        redact_request(source, request),
        key=None,
        now=at,
        new_id=lambda: str(ULID()),
    )
    return [structs.replace(one, duplicate_key=None) for one in built]


def store(aredis: Client, redis: redis_py.Redis, items: list[Submission]) -> list[str]:
    asyncio.run(accept(aredis, redis, items))
    return [one.id for one in items]
