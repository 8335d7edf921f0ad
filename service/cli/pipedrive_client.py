"""A Pipedrive client for commands, within the workers' rate limits where their Redis responds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from service.cli import setup
from service.local.redis import find_redis_url, responds
from worker.delivery.client_factory import build_auth
from worker.encryption import Cipher
from worker.errors import LeadlineError
from worker.pipedrive.auth import ApiToken
from worker.pipedrive.client import CallReport, Pipedrive, Unlimited, build_http, build_tls
from worker.pipedrive.metadata import MetadataLookup, read_metadata
from worker.pipedrive.rate_limiter import (
    ApiLimits,
    RateLimiter,
    WaitingRateLimiter,
    limits_of_plan,
)
from worker.settings.table import Settings
from worker.store.connection import connect

CALL_TIMEOUT_SECONDS = 20.0
NO_CREDENTIALS = (
    "leadline: no Pipedrive credentials: set PIPEDRIVE_API_TOKEN, or PIPEDRIVE_CLIENT_ID,"
    " PIPEDRIVE_CLIENT_SECRET and PIPEDRIVE_REFRESH_TOKEN",
    "  for the sandbox of `leadline up` or `leadline sandbox`, with the port that it prints:",
    "  PIPEDRIVE_API_TOKEN=sandbox-token PIPEDRIVE_BASE_URL=http://127.0.0.1:8090"
    " PIPEDRIVE_PLAN=unlimited",
)


def find_answering_redis(settings: Settings) -> str | None:
    """The URL of the workers' Redis if it responds. Starts none."""
    url = find_redis_url(settings)
    return url if url and responds(url) else None


@contextmanager
def build_client(
    settings: Settings,
    store: str | None,
    on_call: Callable[[CallReport], None] | None = None,
) -> Iterator[Pipedrive]:
    """A client with the credentials of the settings, which must be set.

    `store` is the URL of the workers' Redis or None. OAuth needs it for the shared tokens.
    `on_call` is told of each call that is made.
    """
    with ExitStack() as stack:
        http = stack.enter_context(build_http(build_tls()))
        base = settings.pipedrive_base_url
        if store is None and settings.pipedrive_api_token:
            yield Pipedrive(
                http,
                base,
                ApiToken(settings.pipedrive_api_token),
                Unlimited(),
                on_call,
                timeout=CALL_TIMEOUT_SECONDS,
            )
            return
        redis = stack.enter_context(connect(store or "", timeout=setup.STORE_TIMEOUT_SECONDS))
        auth = build_auth(settings, redis, Cipher(settings.encryption_keys))
        yield Pipedrive(
            http,
            base,
            auth,
            WaitingRateLimiter(RateLimiter(redis, _limits(settings)), time.sleep),
            on_call,
            timeout=CALL_TIMEOUT_SECONDS,
        )


def daily_tokens(settings: Settings) -> int | None:
    """The tokens of a day, by the plan; None for an unlimited one."""
    limits = _limits(settings)
    return limits.daily_tokens if limits else None


def _limits(settings: Settings) -> ApiLimits | None:
    return limits_of_plan(
        settings.pipedrive_plan,
        settings.pipedrive_seats,
        settings.pipedrive_daily_tokens,
        oauth=settings.uses_oauth,
    )


@contextmanager
def open_client() -> Iterator[Pipedrive]:
    """A client for one command. No credentials or a LeadlineError end it with 1 and advice."""
    settings = setup.load_settings()
    if not settings.has_credentials:
        setup.exit_with_error(*NO_CREDENTIALS)
    with ExitStack() as stack:
        store = find_answering_redis(settings)
        if store is None and settings.uses_oauth:
            store = stack.enter_context(setup.redis_url(settings))
        try:
            yield stack.enter_context(build_client(settings, store))
        except LeadlineError as error:
            setup.exit_with_error(f"leadline: {error}; {error.advice}")


def build_lookup(client: Pipedrive) -> MetadataLookup:
    """The account's names; each kind is read when it is first needed."""
    return MetadataLookup(lambda kind: read_metadata(kind, client, time.time()))
