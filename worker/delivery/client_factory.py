"""The Pipedrive clients of one worker process, and the guard that each delivery call passes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from worker.encryption import Cipher
from worker.errors import LeaseLost, NotSent
from worker.metrics import PIPEDRIVE_REQUESTS, PIPEDRIVE_TOKENS
from worker.pipedrive.auth import ApiToken, Auth, OAuth
from worker.pipedrive.client import CallReport, HttpClient, Pipedrive, build_http, build_tls
from worker.pipedrive.guarded_http import build_guarded_http
from worker.pipedrive.metadata_cache import MetadataCache
from worker.pipedrive.rate_limiter import ApiLimits, RateLimiter, WaitingRateLimiter, limits_of_plan
from worker.queue.slots import InFlightLimit

if TYPE_CHECKING:
    import redis

    from worker.delivery.delivery import Delivery
    from worker.metrics import Meter
    from worker.pipedrive.calls import Call
    from worker.settings.table import Settings

# The time limit of one call to Pipedrive; well below the lease, which is renewed right before each
# create.
CALL_TIMEOUT_SECONDS = 20.0


class PipedriveClientFactory:
    """Makes clients that share one TLS context, one rate limiter and one metadata cache.

    Each caller gets its own HTTP client. `daily_tokens` are the plan's, None if it has no limit.
    `pause` sleeps for the given seconds while a call waits
    for its turn, and returns True if the process is to stop.
    """

    def __init__(
        self,
        settings: Settings,
        store: redis.Redis,
        meter: Meter,
        clock: Callable[[], float] = time.time,
        pause: Callable[[float], object] = time.sleep,
    ) -> None:
        self._settings = settings
        self._pause = pause
        self._meter = meter
        self._tls = build_tls()
        self._auth = build_auth(settings, store, Cipher(settings.encryption_keys))
        limits = limits_of_plan(
            settings.pipedrive_plan,
            settings.pipedrive_seats,
            settings.pipedrive_daily_tokens,
            oauth=settings.uses_oauth,
        )
        self.daily_tokens = limits.daily_tokens if limits else None
        self._limiter = RateLimiter(store, limits)
        self.in_flight = InFlightLimit(in_flight_places(limits, settings.slots))
        self.metadata = MetadataCache(store, self.new_client(), clock)

    def new_client(self, delivery: Delivery | None = None) -> Pipedrive:
        """Return a client; with `delivery`, one that reports to it and passes its `CreateGuard`."""

        def on_call(report: CallReport) -> None:
            self._meter.count(
                PIPEDRIVE_REQUESTS, call=report.call, status=str(report.status or report.outcome)
            )
            if report.outcome != NotSent.code:
                self._meter.count(PIPEDRIVE_TOKENS, report.cost, call=report.call)
            if delivery is not None:
                delivery.record_call(report)

        return Pipedrive(
            self.new_http(),
            self._settings.pipedrive_base_url,
            self._auth,
            WaitingRateLimiter(self._limiter, self._pause)
            if delivery is None
            else self._guard(delivery),
            on_call,
            CALL_TIMEOUT_SECONDS,
        )

    def new_http(self) -> HttpClient:
        """Return an HTTP client that uses the process's one TLS context."""
        return build_http(self._tls)

    def new_guarded_http(self) -> HttpClient:
        """Return an HTTP client for URLs that the source file names."""
        return build_guarded_http(self._tls, allow_private=self._settings.allow_private_urls)

    def _guard(self, delivery: Delivery) -> CreateGuard:
        waiting_limiter = WaitingRateLimiter(
            self._limiter,
            self._pause,
            is_first_call=lambda: not delivery.has_begun,
            submission_id=lambda: delivery.submission_id,
            is_unverified=lambda: delivery.is_unverified,
        )
        return CreateGuard(self._limiter, waiting_limiter, delivery, self.in_flight)


class CreateGuard:
    """Guards each call of a delivery: applies the rate limit, and checks the lease of a create.

    The lease is checked last, right before the create leaves the process. Once a call may go, the
    delivery also gives up its place among those that wait for their first call.
    """

    def __init__(
        self,
        limiter: RateLimiter,
        waiting_limiter: WaitingRateLimiter,
        delivery: Delivery,
        in_flight: InFlightLimit,
    ) -> None:
        self._limiter = limiter
        self._waiting_limiter = waiting_limiter
        self._delivery = delivery
        self._in_flight = in_flight

    def before(self, call: Call) -> None:
        """Raise `LeaseLost` or what the rate limiter raises; then nothing may be sent."""
        self._waiting_limiter.before(call)
        self._in_flight.leave()
        if call.create:
            try:
                self._delivery.require_lease(CALL_TIMEOUT_SECONDS)
            except LeaseLost:
                self._limiter.release_unsent(call)
                raise

    def after(self, call: Call, status: int | None, headers: Mapping[str, str]) -> None:
        self._limiter.after(call, status, headers)


def in_flight_places(limits: ApiLimits | None, slots: int) -> int | None:
    """Return how many deliveries of a process may wait for their first call; None for no limit.

    That is enough to fill every window of the rate limit, and keeps the queue short.
    """
    return None if limits is None else max(2, min(slots, limits.calls_per_window // 10))


def build_auth(settings: Settings, store: redis.Redis, cipher: Cipher) -> Auth:
    """Return the credentials from the settings; raise ValueError if there are none."""
    if settings.pipedrive_api_token:
        return ApiToken(settings.pipedrive_api_token)
    if not settings.uses_oauth:
        raise ValueError("no Pipedrive credentials")
    return OAuth(
        store,
        build_http(build_tls()),
        settings.pipedrive_client_id or "",
        settings.pipedrive_client_secret or "",
        settings.pipedrive_refresh_token or "",
        settings.pipedrive_oauth_url,
        cipher.encrypt,
        cipher.decrypt,
        time.time,
    )
